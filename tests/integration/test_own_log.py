"""Commands that append ask whose log it is: settings that join two deployments change neither."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from backbone.eventlog.embedded_file import FILE_NAME
from backbone.store.holdings import Holdings
from backbone.store.opening import STORE_FILE
from schemas.records import Erasable
from service.cli.erase_act import _is_left
from tests.integration.test_cli import CommandLine, wait_for
from tests.integration.test_dead_letters_cli import PLATFORM, append
from tests.support.received import Broken, event_record, placed

REASON = ("--reason", "asked by letter 17")
ACTS = {
    "erase": ("erase", "order", "o1", *REASON, "--yes"),
    "move": ("order", "move", "o1", "CANCELLED", *REASON),
    "replay": ("dead-letters", "replay", "--all", *REASON),
    "discard": ("dead-letters", "discard", "--all", *REASON),
}


def has_dead_letter(line: CommandLine) -> bool:
    """Whether something was set aside."""
    return bool(line.json("dead-letters", "list")["items"])


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandLine, CommandLine]:
    """Two deployments with an order and a dead letter each; both servers have ended."""
    made = []
    for name in ("own", "other"):
        line = CommandLine(tmp_path_factory.mktemp(name))
        line.up()
        try:
            append(line, "o1", event_record("o1", placed(restaurant="r1"), PLATFORM), Broken("o1", b"{"))
            wait_for(partial(has_dead_letter, line), "the dead letter")
        finally:
            line.end()
        made.append(line)
    return made[0], made[1]


def move_log(line: CommandLine, place: Path) -> None:
    """The log's files, put away or back."""
    place.mkdir(exist_ok=True)
    source, target = (place, line.data_dir) if (place / FILE_NAME).exists() else (line.data_dir, place)
    for path in source.glob(f"{FILE_NAME}*"):
        path.rename(target / path.name)


def acts_and_records(line: CommandLine) -> tuple[int, int]:
    """How many acts are on record, and how many records the log has."""
    with closing(sqlite3.connect(line.data_dir / STORE_FILE)) as connection:
        acts = connection.execute("SELECT COUNT(*) FROM admin_acts").fetchone()[0]
    if not (line.data_dir / FILE_NAME).exists():
        return acts, 0
    with closing(sqlite3.connect(line.data_dir / FILE_NAME)) as connection:
        return acts, connection.execute("SELECT COUNT(*) FROM records").fetchone()[0]


@pytest.mark.parametrize("act", ACTS)
def test_an_act_with_another_deployments_log_is_refused(
    stopped: tuple[CommandLine, CommandLine], act: str, tmp_path: Path
) -> None:
    """Nothing is appended to the other log, and no act recorded in the own store."""
    own, other = stopped
    move_log(own, tmp_path / "own")
    move_log(other, own.data_dir)
    try:
        before = acts_and_records(own)
        done = own.run(*ACTS[act])
        assert (done.returncode, "log_mismatch" in done.stderr) == (3, True), done
        assert acts_and_records(own) == before
    finally:
        move_log(own, other.data_dir)
        move_log(own, tmp_path / "own")


@pytest.mark.parametrize("act", ACTS)
def test_an_act_without_a_log_makes_none(stopped: tuple[CommandLine, CommandLine], act: str, tmp_path: Path) -> None:
    """An empty one would hide from the next start that the log is lost."""
    own, _ = stopped
    move_log(own, tmp_path / "own")
    try:
        before = acts_and_records(own)
        done = own.run(*ACTS[act])
        assert (done.returncode, "is missing" in done.stderr) == (3, True), done
        assert acts_and_records(own) == before
        assert not (own.data_dir / FILE_NAME).exists()
    finally:
        move_log(own, tmp_path / "own")


def test_an_act_with_a_log_that_lost_its_end_is_refused(stopped: tuple[CommandLine, CommandLine]) -> None:
    """The record would get an offset that the store has passed, and count as applied at once."""
    own, _ = stopped
    with closing(sqlite3.connect(own.data_dir / FILE_NAME)) as connection:
        connection.execute("CREATE TEMP TABLE kept AS SELECT * FROM partitions")
        connection.execute("UPDATE partitions SET next_offset = MIN(next_offset, 1), first_offset = 0")
        connection.commit()
        try:
            done = own.run(*ACTS["erase"])
            assert (done.returncode, "is not the log" in done.stderr) == (3, True), done
        finally:
            connection.execute("DELETE FROM partitions")
            connection.execute("INSERT INTO partitions SELECT * FROM kept")
            connection.commit()


@pytest.mark.parametrize(
    ("asked", "found", "details", "expected"),
    [
        (set(Erasable), set(), (1, 0), False),
        (set(Erasable), {Erasable.PAYLOADS}, (0, 0), True),
        ({Erasable.PERSONAL}, {Erasable.PAYLOADS}, (1, 0), False),
        ({Erasable.PERSONAL}, set(), (1, 1), True),
        ({Erasable.PAYLOADS}, set(), (1, 1), False),
        (set(Erasable), set(), (0, 1), False),
    ],
)
def test_what_outlived_its_erasure_is_not_called_erased(
    asked: set[Erasable], found: set[Erasable], details: tuple[int, int], expected: bool
) -> None:
    """Something of an asked class from before the record; details that came to an unknown order later do not count."""
    before, after = ({"o1": Holdings(details=number)} for number in details)
    assert _is_left(asked, {"o1": found}, before, after, "o1") is expected
