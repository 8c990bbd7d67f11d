"""A figure as tables of text, the same for the terminal and for Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.model import Cell, Chart, Comparison, Figure, Listing, TargetLine
from benchmarks.summary import Summary, summarise


@dataclass(frozen=True, slots=True)
class TextTable:
    """Ready to print; all columns but the first are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables_of(figure: Figure) -> list[TextTable]:
    """All that the figure has: rates, ratios, charts, listings."""
    tables = []
    if figure.measured:
        tables.append(_rates(figure))
    if figure.comparisons:
        columns = ("ratio", "of rates", "lowest to highest", "target", "", "of own CPU")
        tables.append(TextTable("", columns, tuple(_compared(figure, one) for one in figure.comparisons)))
    tables += [_chart(chart) for chart in figure.charts]
    tables += [_listing(listing) for listing in figure.listings]
    if figure.targets:
        tables.append(targets_table(figure.targets))
    return tables


def notes_of(figure: Figure) -> list[str]:
    """What has to be said below the tables."""
    limited = [
        f"{name}: the other cores were full, its own was not; it could do more" for name in figure.limited_elsewhere()
    ]
    return figure.notes + limited + [f"not measured: {failure}" for failure in figure.failures]


def targets_table(lines: Iterable[TargetLine]) -> TextTable:
    """One line a target, met or **missed**."""
    rows = tuple(
        (line.text, with_unit(line.value, line.unit), wanted_text(line), "met" if line.met else "**missed**")
        for line in lines
    )
    return TextTable("", ("figure", "measured (lowest to highest)", "target", ""), rows)


def markdown_lines(table: TextTable) -> list[str]:
    """The table's title, if it has one, and the table, with an empty line before each."""
    lines = ["", f"**{table.title}**"] if table.title else []
    lines += ["", f"| {' | '.join(table.columns)} |", f"|---{'|---:' * (len(table.columns) - 1)}|"]
    return lines + [f"| {' | '.join(row)} |" for row in table.rows]


def number_text(value: float) -> str:
    """Three digits or so: 12,345, 123, 12.3, 1.23, 0.123."""
    size = abs(value)
    if size == int(size) or size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.3f}"


def cell_text(cell: Cell) -> str:
    """A summary of one value, or of equal ones, is that value; a dash for nothing."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if not isinstance(cell, Summary):
        return number_text(cell)
    if cell.low == cell.high:
        return number_text(cell.median)
    return f"{number_text(cell.median)} ({number_text(cell.low)} to {number_text(cell.high)})"


def with_unit(cell: Cell, unit: str) -> str:
    """The cell's text and its unit."""
    return f"{cell_text(cell)} {unit}".rstrip()


def wanted_text(line: TargetLine) -> str:
    """A target as in `≥ 3,000 events/s`."""
    wanted = f"{line.wanted:.2f}" if not line.unit and line.wanted < 10 else number_text(line.wanted)
    return f"{'≥' if line.at_least else '≤'} {wanted} {line.unit}".rstrip()


def _rates(figure: Figure) -> TextTable:
    rounds = max(len(measured) for measured in figure.measured.values())
    rows = []
    for name, measured in figure.measured.items():
        rate = summarise([one.rate for one in measured])
        rows.append(
            (
                name,
                f"{rate.median:,.0f}",
                f"{rate.low:,.0f} to {rate.high:,.0f}",
                f"{summarise([one.cpu_us for one in measured]).median:,.0f}",
                f"{summarise([one.busy for one in measured]).median:.0%}",
                f"{summarise([one.others_busy for one in measured]).median:.0%}",
            )
        )
    columns = (f"median of {rounds} rounds", figure.unit, "lowest to highest", "own CPU µs each")
    return TextTable("", (*columns, "own core", "other cores"), tuple(rows))


def _compared(figure: Figure, comparison: Comparison) -> tuple[str, ...]:
    ratio, target = figure.ratio(comparison), comparison.target
    return (
        f"{comparison.of} / {comparison.to}",
        f"{ratio.median:.2f}",
        f"{ratio.low:.2f} to {ratio.high:.2f}",
        "-" if target is None else f"≥ {target:.2f}",
        "" if target is None else "met" if ratio.median >= target else "**missed**",
        f"{figure.cpu_ratio(comparison).median:.2f}",
    )


def _chart(chart: Chart) -> TextTable:
    found = [{point.x: point.y for point in series.points} for series in chart.series]
    rows = tuple((number_text(x), *(cell_text(points.get(x)) for points in found)) for x in sorted(set().union(*found)))
    title = f"{chart.title} ({chart.y_label})"
    return TextTable(title, (chart.x_label, *(series.name for series in chart.series)), rows)


def _listing(listing: Listing) -> TextTable:
    rows: Sequence[tuple[str, ...]] = [tuple(cell_text(cell) for cell in row) for row in listing.rows]
    return TextTable(listing.title, listing.columns, tuple(rows))
