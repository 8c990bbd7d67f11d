"""Whoever is paged finds a page: every code that stops something has its section in docs/runbook.md."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from backbone.eventlog.port import NewRecord
from consumers.runner import STOP_CODES
from schemas import errors
from schemas.refusals import Why
from schemas.topics import RECEIVED, topic_specs
from tests.support.logs import embedded_log

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = (ROOT / "docs/runbook.md").read_text("utf-8")
HEADINGS: list[str] = re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)
IDENTITY = (
    errors.LogGap,
    errors.LogReplaced,
    errors.LogMismatch,
    errors.PartitionSetInvalid,
    errors.HistoryLost,
    errors.StoreRebuilding,
)
STOPS = sorted({*STOP_CODES, *(kind.code for kind in IDENTITY), errors.SchemaOutdated.code})


def section(heading: str) -> str:
    """The text under a heading."""
    return RUNBOOK.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def heading_of(code: str) -> str:
    """The heading that names a code."""
    return next(heading for heading in HEADINGS if code in heading.split(" and "))


@pytest.mark.parametrize("code", STOPS)
def test_every_stop_has_its_section(code: str) -> None:
    """With what one sees, what it means, and what to do; and a line in the table at the top."""
    text = section(heading_of(code))
    for part in ("**You see**", "**It means**", "**Do:**"):
        assert part in text, f"{code}: {part}"
    assert f"`{code}`" in RUNBOOK.split("\n## ", 1)[0]


@pytest.mark.parametrize(
    "heading",
    [
        "topics behind the store",
        "an older store",
        "relay lag",
        "watermark ahead",
        "disk full or read-only",
        "secret key missing",
        "Kafka down",
        "PostgreSQL down",
        "A lost database",
        "An erased order",
        "The record at an offset",
        "A partner gets 401",
    ],
)
def test_every_alarm_has_its_section(heading: str) -> None:
    """Those that are no code of a stop."""
    assert heading in HEADINGS


@pytest.mark.parametrize("why", Why)
def test_every_refusal_is_explained(why: Why) -> None:
    """One line a reason: what it means, what to do. What `source refusals` prints is found there."""
    (line,) = [line for line in section("A partner gets 401").splitlines() if line.startswith(f"| `{why}` |")]
    assert all(cell.strip() for cell in line.strip("|").split("|"))
    assert line.count("|") == 4


def test_every_message_that_names_a_section_names_one_that_is_there() -> None:
    """What the code prints about docs/runbook.md leads somewhere."""
    named = set()
    for package in ("backbone", "consumers", "service", "schemas"):
        for path in (ROOT / package).rglob("*.py"):
            text = re.sub(r'"\s*\n\s*f?"', "", path.read_text("utf-8"))
            named |= set(re.findall(r"docs/runbook\.md, ([a-z_]+(?: and [a-z_]+)*)", text))
    assert len(named) >= 5
    assert named <= set(HEADINGS)


def test_the_table_leads_to_every_section() -> None:
    """Each section but the plain summaries is linked from the top."""
    table = RUNBOOK.split("\n## ", 1)[0]
    anchors = set(re.findall(r"\]\(#([^)]+)\)", table))
    wanted = {heading.lower().replace(" ", "-") for heading in HEADINGS if heading != "A lost database"}
    assert wanted == anchors


async def test_the_documented_look_into_the_embedded_log_shows_the_record(tmp_path: Path) -> None:
    """The statement of the section is true of the file, also while it is open for writing."""
    log = embedded_log(tmp_path)
    await log.start()
    try:
        await log.create_topics(topic_specs(prefix="", partitions=4, replication=1, min_insync=1))
        await log.append(RECEIVED, [NewRecord(3, b"default:A-1", f"value {number}".encode()) for number in range(3)])
        command = re.search(r'sqlite3 -readonly "\$MEALTRAIL_DATA_DIR/(.+?)" "(.+?)"\n', RUNBOOK, re.DOTALL)
        assert command is not None
        file, statement = command.groups()
        connection = sqlite3.connect(f"file:{tmp_path / file}?mode=ro", uri=True)
        try:
            [(_, key, value)] = connection.execute(statement.replace("1042", "1"))
        finally:
            connection.close()
    finally:
        await log.stop()
    assert (key, value) == ("default:A-1", "value 1")
