"""What `make bench` writes: tables, targets met or missed, documents, a picture; and what it chooses to measure."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import orjson
import pytest

from benchmarks.documents import BEGIN, END, PICTURE, PublishingError, publish_last, put_between
from benchmarks.figures import PLANS
from benchmarks.machine import Cores
from benchmarks.model import Chart, Comparison, Figure, Listing, Measurement, Point, Series, TargetLine
from benchmarks.plans import Options, Plan, Work, choose
from benchmarks.plot import draw
from benchmarks.report import duration_text
from benchmarks.results import (
    LAST_PLOT,
    LAST_TABLES,
    LAST_TARGETS,
    Run,
    tables_markdown,
    targets_markdown,
    write_results,
)
from benchmarks.several.cores import cores_for
from benchmarks.summary import Summary, summarise
from benchmarks.tables import cell_text, notes_of, number_text, tables_of, wanted_text


def _measurement(rate: float) -> Measurement:
    return Measurement(rate=rate, cpu_us=1e6 / rate, busy=1.0, others_busy=0.5)


def _figure() -> Figure:
    """One of everything."""
    return Figure(
        name="speed",
        title="Speed of all",
        unit="requests/s",
        comparisons=(Comparison("ours", "theirs", 1.05), Comparison("theirs", "ours")),
        measured={"ours": [_measurement(100.0), _measurement(120.0)], "theirs": [_measurement(100.0)] * 2},
        charts=[
            Chart(
                title="by size",
                x_label="batch",
                y_label="events/s",
                series=(
                    Series("ours", (Point(1, Summary(5.0, 4.0, 6.0)), Point(1000, summarise([50.0])))),
                    Series("theirs", (Point(1, summarise([1.0])),)),
                ),
            )
        ],
        listings=[Listing("waits", ("rate", "p99 ms", "p99.9 ms"), (("50", Summary(2.5, 2.0, 3.0), None),))],
        targets=[
            TargetLine(text="p99", value=summarise([20.0]), wanted=20.0, at_least=False, unit="ms"),
            TargetLine(text="sustained", value=summarise([2999.0]), wanted=3000.0, unit="events/s"),
        ],
        notes=["said"],
        failures=["5,000/s: overloaded"],
    )


def _run() -> Run:
    machine: dict[str, str | int] = {
        "name": "a host/1",
        "processor": "Fast One",
        "cores": 2,
        "memory_gib": 24,
        "system": "Linux 6",
        "python": "3.11.7",
    }
    when = datetime(2025, 6, 1, 12, 30, tzinfo=UTC)
    return Run(
        when=when,
        machine=machine,
        conditions=["durable"],
        figures=[_figure()],
        failed={"growth": "no disk"},
        left_out=["memory"],
    )


@pytest.mark.parametrize(
    ("value", "wanted", "at_least", "met"),
    [(1.05, 1.05, True, True), (1.04, 1.05, True, False), (20.0, 20.0, False, True), (20.1, 20.0, False, False)],
)
def test_a_target_is_met_from_its_very_value_on(value: float, wanted: float, at_least: bool, met: bool) -> None:
    """From above or from below."""
    assert TargetLine(text="", value=summarise([value]), wanted=wanted, at_least=at_least).met is met


def test_a_target_goes_by_the_median() -> None:
    """One good round does not meet it."""
    assert not TargetLine(text="", value=Summary(1.0, 0.5, 2.0), wanted=1.5).met


def test_ratios_with_a_target_come_before_other_targets() -> None:
    """Those for orientation have none."""
    assert [line.text for line in _figure().target_lines()] == ["speed: ours / theirs", "p99", "sustained"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (12345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.0567, "0.057"), (7.0, "7")],
)
def test_numbers_have_about_three_digits(value: float, text: str) -> None:
    """More would claim what no machine can keep."""
    assert number_text(value) == text


def test_cells_tell_their_spread_where_there_is_one() -> None:
    """Nothing is a dash."""
    assert cell_text(Summary(2.5, 2.0, 3.0)) == "2.50 (2 to 3)"
    assert cell_text(summarise([4.0, 4.0])) == "4"
    assert [cell_text(None), cell_text("x"), cell_text(1.5)] == ["-", "x", "1.50"]


def test_targets_are_told_with_their_direction() -> None:
    """A ratio keeps two digits, everything else its unit."""
    assert [wanted_text(line) for line in _figure().target_lines()] == ["≥ 1.05", "≤ 20 ms", "≥ 3,000 events/s"]


def test_a_figure_has_a_table_for_each_of_its_parts() -> None:
    """Rates, ratios, charts, listings, targets; a chart's missing point is a dash."""
    rates, ratios, chart, listing, targets = tables_of(_figure())
    assert rates.rows[0][:3] == ("ours", "110", "100 to 120")
    assert ratios.rows[0][:5] == ("ours / theirs", "1.10", "1.00 to 1.20", "≥ 1.05", "met")
    assert chart.rows == (("1", "5 (4 to 6)", "1"), ("1,000", "50", "-"))
    assert listing.rows == (("50", "2.50 (2 to 3)", "-"),)
    assert [row[-1] for row in targets.rows] == ["met", "**missed**"]
    assert notes_of(_figure()) == ["said", "not measured: 5,000/s: overloaded"]


def test_the_short_block_has_date_machine_and_every_target() -> None:
    """And names what could not be measured, and what nobody asked for."""
    assert targets_markdown(_run()) == (
        "Measured 2025-06-01 on 2 cores of Fast One, 24 GiB, Linux 6, Python 3.11.7.\n"
        "\n"
        "Could not be measured: growth.\n"
        "\n"
        "Left out of this run: memory.\n"
        "\n"
        "| figure | measured (lowest to highest) | target |  |\n"
        "|---|---:|---:|---:|\n"
        "| speed: ours / theirs | 1.10 (1 to 1.20) | ≥ 1.05 | met |\n"
        "| p99 | 20 ms | ≤ 20 ms | met |\n"
        "| sustained | 2,999 events/s | ≥ 3,000 events/s | **missed** |\n"
    )


def test_the_long_block_has_everything() -> None:
    """Conditions, a heading a figure, titles of tables, notes."""
    text = tables_markdown(_run())
    for part in ("- durable", "### Speed of all", "**waits**", "| batch | ours | theirs |", "- said"):
        assert part in text


def test_results_are_written_for_people_and_machines(tmp_path: Path) -> None:
    """The document holds every measurement, every target and what failed; its name is of the run alone."""
    path = write_results(_run(), tmp_path)
    assert path.name == "20250601T123000-a-host-1.json"
    found = orjson.loads(path.read_bytes())
    assert found["figures"][0]["measured"]["ours"][1]["rate"] == 120.0
    assert [line["met"] for line in found["figures"][0]["targets"]] == [True, True, False]
    assert found["failed"] == {"growth": "no disk"}
    assert (tmp_path / LAST_PLOT).read_text().startswith("<?xml")


def test_the_same_figures_draw_the_same_picture() -> None:
    """Byte for byte, with its words as words, and without a date."""
    picture = draw([_figure()])
    assert picture == draw([_figure()])
    root = ET.fromstring(picture)
    words = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"Speed of all", "by size", "batch"} <= words
    assert "dc:date" not in picture


def test_a_run_without_figures_draws_an_empty_sheet() -> None:
    """When nothing could be measured there is still a result."""
    assert ET.fromstring(draw([])).tag.endswith("svg")


def _documents(folder: Path) -> Path:
    (folder / "docs").mkdir()
    for name in ("README.md", "docs/performance.md"):
        (folder / name).write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    return folder


def test_the_last_results_go_into_the_documents(tmp_path: Path) -> None:
    """Between the two comments, whatever stood there; the picture beside them. A second time changes nothing."""
    root, results = _documents(tmp_path), tmp_path / "results"
    write_results(_run(), results)
    assert root / PICTURE in publish_last(root, results)
    readme = (root / "README.md").read_text()
    assert readme == f"before\n\n{BEGIN}\n\n{(results / LAST_TARGETS).read_text().strip()}\n\n{END}\n\nafter\n"
    assert (results / LAST_TABLES).read_text().strip() in (root / "docs/performance.md").read_text()
    assert (root / PICTURE).read_text() == (results / LAST_PLOT).read_text()
    publish_last(root, results)
    assert (root / "README.md").read_text() == readme


def test_nothing_is_written_where_one_document_has_no_place(tmp_path: Path) -> None:
    """All or nothing; without results it says what to do."""
    root, results = _documents(tmp_path), tmp_path / "results"
    with pytest.raises(PublishingError, match="make bench comes first"):
        publish_last(root, results)
    write_results(_run(), results)
    (root / "docs/performance.md").write_text("no comments")
    with pytest.raises(PublishingError, match=r"docs/performance\.md needs the lines"):
        publish_last(root, results)
    assert "old" in (root / "README.md").read_text()


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, f"{BEGIN}{BEGIN}{END}"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    """Both comments, once, in order."""
    with pytest.raises(PublishingError):
        put_between(text, "new", name="x")


def _plan(name: str, *, only_full: bool = False) -> Plan:
    async def measure(*_: object) -> Figure:
        return Figure(name=name, title=name)

    return Plan(name=name, title=name, measure=measure, work=lambda _: Work(1, 1.0), only_full=only_full)


def test_long_figures_are_measured_when_asked_for() -> None:
    """With FULL=1 or by name; the order is the list's."""
    plans = [_plan("a"), _plan("b", only_full=True), _plan("c")]
    assert [plan.name for plan in choose(plans, only=[], full=False)] == ["a", "c"]
    assert [plan.name for plan in choose(plans, only=[], full=True)] == ["a", "b", "c"]
    assert [plan.name for plan in choose(plans, only=["c", "b"], full=False)] == ["b", "c"]
    with pytest.raises(ValueError, match="no figure is called d; there are a, b, c"):
        choose(plans, only=["d"], full=False)


def test_the_default_run_stays_under_a_quarter_of_an_hour() -> None:
    """By its own plan, with some time to spare for the servers' start; and every figure has a name of its own."""
    options = Options()
    assert sum(plan.work(options).seconds for plan in choose(PLANS, only=[], full=False)) <= 14.5 * 60
    assert len({plan.name for plan in PLANS}) == len(PLANS)
    assert all(plan.work(options).steps > 0 for plan in PLANS)


def test_durations_are_minutes_and_seconds() -> None:
    """Also beyond an hour, which a full run may take."""
    assert [duration_text(5), duration_text(754.4), duration_text(3600)] == ["0:05", "12:34", "60:00"]


@pytest.mark.parametrize(
    ("every", "measured", "others"),
    [({0, 1}, {0, 1}, {0, 1}), ({0, 1, 2}, {0, 1}, {2}), ({0, 1, 2, 3}, {0, 1}, {2, 3}), (set(), set(), set())],
)
def test_two_processes_get_a_core_each_where_there_are_enough(
    every: set[int], measured: set[int], others: set[int]
) -> None:
    """Where not, everybody shares all: then one process must not be better off than two."""
    cores = Cores(frozenset(sorted(every)[:1]), frozenset(sorted(every)[1:]))
    assert cores_for(2, cores) == Cores(frozenset(measured), frozenset(others))
