"""What a run leaves behind: tables for people, one JSON document for machines, the last table as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks import ROOT
from benchmarks.rounds import Comparison, Figure
from benchmarks.summary import summarise

RESULTS = ROOT / "benchmarks" / "results"


def print_figure(console: Console, figure: Figure) -> None:
    """Both tables of a figure and its notes."""
    for title, columns, rows in _tables(figure):
        table = Table(title=title, title_justify="left")
        for number, column in enumerate(columns):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for note in _notes(figure):
        console.print(f"  {note}", highlight=False)
    console.print()


def _tables(figure: Figure) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    rounds = max(len(measured) for measured in figure.measured.values())
    rates: list[tuple[str, ...]] = []
    for name, measured in figure.measured.items():
        rate = summarise([one.rate for one in measured])
        rates.append(
            (
                name,
                f"{rate.median:,.0f}",
                f"{rate.low:,.0f} to {rate.high:,.0f}",
                f"{summarise([one.cpu_us for one in measured]).median:,.0f}",
                f"{summarise([one.busy for one in measured]).median:.0%}",
                f"{summarise([one.others_busy for one in measured]).median:.0%}",
            )
        )
    rate_columns = (
        f"median of {rounds} rounds",
        figure.unit,
        "lowest to highest",
        "own CPU µs each",
        "own core",
        "other cores",
    )
    compared = [_compared(figure, comparison) for comparison in figure.comparisons]
    return [
        (figure.title, rate_columns, rates),
        ("", ("ratio", "of rates", "lowest to highest", "target", "", "of own CPU"), compared),
    ]


def _notes(figure: Figure) -> list[str]:
    limited = [
        f"{name}: the other cores were full, its own was not; it could do more" for name in figure.limited_elsewhere()
    ]
    return figure.notes + limited


def _compared(figure: Figure, comparison: Comparison) -> tuple[str, ...]:
    ratio, target = figure.ratio(comparison), comparison.target
    return (
        f"{comparison.of} / {comparison.to}",
        f"{ratio.median:.2f}",
        f"{ratio.low:.2f} to {ratio.high:.2f}",
        "-" if target is None else f"≥ {target:.2f}",
        "" if target is None else "met" if ratio.median >= target else "missed",
        f"{figure.cpu_ratio(comparison).median:.2f}",
    )


def write_results(
    figures: Sequence[Figure], machine: dict[str, str | int], conditions: Sequence[str], when: datetime
) -> Path:
    """Writes the run's JSON document, and `last.md` with its tables; returns the document's path."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    document = {
        "when": when.isoformat(timespec="seconds"),
        "machine": machine,
        "conditions": list(conditions),
        "figures": [
            {
                **asdict(figure),
                "ratios": [
                    {
                        **asdict(comparison),
                        "rates": asdict(figure.ratio(comparison)),
                        "own_cpu": asdict(figure.cpu_ratio(comparison)),
                    }
                    for comparison in figure.comparisons
                ],
            }
            for figure in figures
        ],
    }
    name = "".join(c if c.isalnum() or c in "-." else "-" for c in str(machine["name"])) or "machine"
    path = RESULTS / f"{when:%Y%m%dT%H%M%S}-{'-'.join(figure.name for figure in figures)}-{name}.json"
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    (RESULTS / "last.md").write_text(_markdown(figures, machine, conditions, when))
    return path


def _markdown(
    figures: Sequence[Figure], machine: dict[str, str | int], conditions: Sequence[str], when: datetime
) -> str:
    lines = [f"Measured {when:%Y-%m-%d} on {machine['cores']} cores of {machine['processor']}.", ""]
    lines += [f"- {condition}" for condition in conditions]
    for figure in figures:
        lines += ["", f"### {figure.title}"]
        for _, columns, rows in _tables(figure):
            lines += ["", f"| {' | '.join(columns)} |", f"|---{'|---:' * (len(columns) - 1)}|"]
            lines += [f"| {' | '.join(row)} |" for row in rows]
        lines += ["", *(f"- {note}" for note in _notes(figure))]
    return "\n".join(lines) + "\n"
