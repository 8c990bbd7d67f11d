"""What the documents say is held against the code: links, settings, codes, fields, and the code that they show."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics import MetricWrapperBase

from backbone.metrics import Metrics
from backbone.settings import Settings
from schemas import errors
from schemas.canonical import GENESIS
from schemas.outcomes import Outcome, TrailRow, hash_row, outcome_document
from schemas.verdicts import Reason, Verdict
from service.cli.dead_letter_acts import Act
from service.cli.demo_script import DemoScript
from service.cli.schema_files import schema_documents
from service.queries import rendering
from tests.support.chains import trail_row
from tests.support.documents import OUTCOMES, README, ROOT, run_code

DOCUMENTS = sorted(
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
)
OPERATIONS = ROOT / "docs/operations.md"
HTTP_API = ROOT / "docs/http-api.md"
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_ELSEWHERE = frozenset({"MEALTRAIL_SEND_SECRET", "MEALTRAIL_SEND_TOKEN", "MEALTRAIL_READ_TOKEN"})
"""Variables that only `mealtrail send` reads."""


def name_of(document: Path) -> str:
    """A document's path from the root, for test ids."""
    return str(document.relative_to(ROOT))


def anchors_of(document: Path) -> set[str]:
    """The anchors that a renderer makes of a document's headings."""
    text = _FENCED.sub("", document.read_text("utf-8"))
    titles = re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def table_cells(document: Path, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head."""
    text = document.read_text("utf-8").split(f"\n{heading}\n", 1)[1]
    lines = re.split(r"\n#{1,6} ", text, maxsplit=1)[0].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[2:]


def first_cells(document: Path, heading: str) -> list[str]:
    """What stands between backticks in the first column of the table under a heading."""
    return [name for cells in table_cells(document, heading) for name in re.findall(r"`([^`]+)`", cells[0])]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_relative_links_resolve(document: Path) -> None:
    """Every relative link leads to a file that is there, and to a heading where it names one."""
    broken = []
    for target in _LINK.findall(_FENCED.sub("", document.read_text("utf-8"))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (document.parent / path).resolve() if path else document
        if not there.exists() or (anchor and anchor not in anchors_of(there)):
            broken.append(target)
    assert not broken, f"{name_of(document)}: {broken}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_named_settings_exist(document: Path) -> None:
    """No document names a MEALTRAIL_ variable that nothing reads."""
    known = {f"MEALTRAIL_{name.upper()}" for name in Settings.model_fields} | _ELSEWHERE
    named = set(re.findall(r"MEALTRAIL_[A-Z_]*[A-Z]", document.read_text("utf-8")))
    unknown = {name for name in named - known if not name.startswith("MEALTRAIL_TEST_")}
    # The compose file has variables of its own for passwords.
    compose = (ROOT / "compose.yaml").read_text("utf-8")
    assert not {name for name in unknown if f"{{{name}" not in compose}


def test_the_settings_table_is_complete_and_its_defaults_are_true() -> None:
    """docs/operations.md lists every setting once, with the default that the code has."""
    documented = {cells[0].strip("`"): cells[1] for cells in table_cells(OPERATIONS, "## Settings")}
    expected = {}
    for name, field in Settings.model_fields.items():
        default = field.default
        if default is None or default == ():
            text = ""
        elif isinstance(default, bool):
            text = f"`{str(default).lower()}`"
        elif isinstance(default, Path):
            text = f"`./{default}`"
        else:
            text = f"`{default}`" if default != "" else ""
        expected[f"MEALTRAIL_{name.upper()}"] = text
    assert documented == expected


def test_http_error_codes_are_documented() -> None:
    """Each code that an answer may carry has its row, with the status that it comes with."""
    documented = {cells[1].strip("`"): int(cells[0]) for cells in table_cells(HTTP_API, "## Errors")}
    refusals = {
        kind.code: kind.status for kind in errors.RequestRefused.__subclasses__() if kind.code != "request_refused"
    }
    unavailable: tuple[type[errors.MealtrailError], ...] = (errors.Unavailable, *errors.Unavailable.__subclasses__())
    outages = {kind.code: 503 for kind in unavailable}
    of_the_server = {"method_not_allowed": 405, "request_timeout": 408, "internal_error": 500}
    assert documented == refusals | outages | of_the_server


def test_verdicts_and_reasons_are_documented() -> None:
    """The HTTP document explains every verdict with a row and names every reason."""
    text = HTTP_API.read_text("utf-8")
    shown = {verdict.value for verdict in Verdict if verdict is not Verdict.DUPLICATE}
    assert set(first_cells(HTTP_API, "## Read a receipt")) == shown
    assert not {reason.value for reason in Reason if f"`{reason.value}`" not in text}


def test_stop_codes_are_documented() -> None:
    """Each code that a partition can stop with says what to do."""
    codes = {kind.code for kind in errors.PartitionStopped.__subclasses__()} | {"internal_error"}
    assert set(first_cells(OPERATIONS, "## A stopped partition")) == codes


def test_acts_of_administration_are_documented() -> None:
    """docs/operations.md lists every act that a command writes, and none that nobody does."""
    texts = [path.read_text("utf-8") for name in ("backbone", "service") for path in (ROOT / name).rglob("*.py")]
    writers = "\n".join(text for text in texts if "record_act(" in text)
    written = set(re.findall(r'"((?:account|order|source|store|token)\.[a-z]+)"', writers))
    written |= {f"dead_letter.{act}" for act in Act}
    section = OPERATIONS.read_text("utf-8").split("**The administration's own trail.**", 1)[1].split("\n\n", 1)[0]
    assert set(re.findall(r"`([a-z_]+\.[a-z]+)`", section)) == written


def test_named_metrics_exist() -> None:
    """No document names a metric that is not declared."""
    declared = set(Metrics().registry._names_to_collectors)
    for document in DOCUMENTS:
        named = set(re.findall(r"`(mealtrail_[a-z_]+)", document.read_text("utf-8")))
        assert named <= declared, f"{name_of(document)}: {sorted(named - declared)}"


def test_the_metrics_table_is_complete() -> None:
    """docs/operations.md lists every metric once, in the order of backbone/metrics.py, with its kind and its labels."""
    expected = []
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            [family] = metric.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            expected.append([f"`{name}`", family.type, ", ".join(f"`{label}`" for label in metric._labelnames)])
    rows = table_cells(OPERATIONS, "### Every metric")
    assert [row[:3] for row in rows] == expected
    assert all(row[3] for row in rows)


def test_the_index_names_every_page() -> None:
    """docs/README.md has a line for each page beside it, and each line says for whom."""
    index = (ROOT / "docs/README.md").read_text("utf-8")
    lines = dict(re.findall(r"^\| \[[^\]]+\]\(([^)]+)\) \| (.+) \|$", index, re.MULTILINE))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - set(lines) == {"README.md"}


@pytest.mark.parametrize("package", ["consumers", "tests/support"])
def test_the_map_of_a_package_names_every_room(package: str) -> None:
    """Its docstring names each module once or more, and nothing that is not there."""
    there = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
    there |= {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    docstring = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text("utf-8")))
    assert set(re.findall(r"`([a-z_]+)`", docstring or "")) == there


def test_declared_metrics_are_used() -> None:
    """No metric stands at zero for ever: each is set or counted somewhere."""
    declaring = ROOT / "backbone/metrics.py"
    code = "\n".join(
        path.read_text("utf-8")
        for package in ("backbone", "consumers", "service")
        for path in (ROOT / package).rglob("*.py")
        if path != declaring
    )
    declared = [name for name, value in vars(Metrics()).items() if isinstance(value, MetricWrapperBase)]
    assert len(declared) > 10
    assert not [name for name in declared if not re.search(rf"metrics\.{name}\b", code)]


def test_the_published_schemas_are_what_the_code_has() -> None:
    """docs/schemas/ holds what `mealtrail schemas export docs/schemas` writes: no schema changes unseen."""
    there = {path.name: path.read_bytes() for path in (ROOT / "docs/schemas").iterdir()}
    assert there == schema_documents(), "run `mealtrail schemas export docs/schemas` and review the difference"


def test_outcome_fields_are_documented() -> None:
    """The table of fields has every field of an outcome, once."""
    documented = first_cells(OUTCOMES, "## Fields")
    in_first_column = [name for name in documented if name in Outcome.model_fields]
    assert sorted(in_first_column) == sorted(Outcome.model_fields)


def test_history_fields_are_documented() -> None:
    """The HTTP document names every field that an item of a history has."""
    text = HTTP_API.read_text("utf-8").split("## Read its history", 1)[1].split("## List orders", 1)[0]
    names = re.findall(r'"([a-z_]+)": .*\bentry\.', inspect.getsource(rendering.trail_document))
    assert len(names) > 15
    assert not [name for name in names if f"`{name}`" not in text]


def test_the_readme_shows_the_commands_that_make_run_prints() -> None:
    """The session in the README is what `mealtrail up --demo` prints, for the addresses that the README assumes."""
    script = DemoScript(
        url="http://127.0.0.1:8080",
        env_file=Path("var/demo.env"),
        command=".venv/bin/mealtrail",
        now=datetime(2025, 6, 1, 12, tzinfo=UTC),
    )
    assert f"```sh\n{script.text()}\n```" in README.read_text("utf-8"), "put this into README.md:\n" + script.text()


def chain(count: int, **fields: Any) -> list[dict[str, Any]]:
    """Outcomes of one partition as they are published."""
    documents, head = [], GENESIS
    for seq in range(1, count + 1):
        row = trail_row(3, seq, **fields)
        head = hash_row(head, row)
        documents.append(outcome_document(row, head))
    return documents


@pytest.fixture
def verify() -> Callable[[list[dict[str, Any]]], dict[int, tuple[int, str]]]:
    """The function that docs/outcomes.md gives to its readers."""
    return run_code(OUTCOMES, "verify")["verify"]  # type: ignore[no-any-return]


def test_the_documented_verification_accepts_a_true_chain(verify: Callable[..., Any]) -> None:
    """Rows as the relay publishes them verify, with letters from outside ASCII and empty fields too."""
    documents = chain(5, order_id='заказ-№1 "é"', occurred_us=None, occurred_mark="missing")
    assert verify(documents) == {3: (5, documents[-1]["hash"])}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows[2].update(to_status="DELIVERED"),
        lambda rows: rows[2].update(hash="00" * 32),
        lambda rows: rows.pop(1),
        lambda rows: rows.insert(1, rows[0]),
        lambda rows: rows.reverse(),
    ],
)
def test_the_documented_verification_finds_what_was_changed(
    verify: Callable[..., Any], spoil: Callable[[list[dict[str, Any]]], object]
) -> None:
    """A changed field, a changed hash, a missing, repeated or moved row are all found."""
    documents = chain(4)
    spoil(documents)
    with pytest.raises(ValueError, match="does not follow"):
        verify(documents)


@given(
    order_id=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20),
    offset=st.integers(0, 2**53),
)
def test_the_documented_verification_prints_as_we_do(order_id: str, offset: int) -> None:
    """Python's own JSON gives the canonical bytes for whatever an id may hold."""
    row: TrailRow = trail_row(0, 1)._replace(order_id=order_id, offset=offset)
    document = outcome_document(row, hash_row(GENESIS, row))
    assert run_code(OUTCOMES, "verify")["verify"]([document]) == {0: (1, document["hash"])}


def test_the_documented_reader_can_be_loaded() -> None:
    """The example for readers is code that runs; the integration test reads a real topic with it."""
    assert callable(run_code(OUTCOMES, "reader")["outcomes"])
