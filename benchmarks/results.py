"""What a run leaves behind in benchmarks/results/: one JSON document of every measurement, all tables as Markdown, the
short block for the README, and a plot. Written anew after each figure, so that a run that is ended has what it had.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import orjson

from benchmarks import ROOT
from benchmarks.model import Figure
from benchmarks.plot import draw
from benchmarks.tables import markdown_lines, notes_of, tables_of, targets_table

RESULTS = ROOT / "benchmarks" / "results"
LAST_TABLES, LAST_TARGETS, LAST_PLOT = "last.md", "last-targets.md", "last.svg"


@dataclass(slots=True, kw_only=True)
class Run:
    """One run so far."""

    when: datetime
    machine: dict[str, str | int]
    conditions: list[str]
    figures: list[Figure] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """What could not be measured, by name, and why."""
    left_out: list[str] = field(default_factory=list)
    """Figures that nobody asked for."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each figure took."""

    @property
    def file_name(self) -> str:
        """Of its JSON document, the same however far the run is."""
        name = "".join(c if c.isalnum() or c in "-." else "-" for c in str(self.machine["name"])) or "machine"
        return f"{self.when:%Y%m%dT%H%M%S}-{name}.json"


def write_results(run: Run, folder: Path = RESULTS) -> Path:
    """Writes all of it; returns the JSON document's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / run.file_name
    path.write_bytes(orjson.dumps(document(run), option=orjson.OPT_INDENT_2))
    (folder / LAST_TABLES).write_text(tables_markdown(run))
    (folder / LAST_TARGETS).write_text(targets_markdown(run))
    (folder / LAST_PLOT).write_text(draw(run.figures))
    return path


def document(run: Run) -> dict[str, object]:
    """The run for machines."""
    return {
        "when": run.when.isoformat(timespec="seconds"),
        "machine": run.machine,
        "conditions": run.conditions,
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
                "targets": [{**asdict(line), "met": line.met} for line in figure.target_lines()],
            }
            for figure in run.figures
        ],
        "failed": run.failed,
        "left_out": run.left_out,
        "seconds": run.seconds,
    }


def tables_markdown(run: Run) -> str:
    """Every table of the run."""
    lines = [*_heading(run), "", *(f"- {condition}" for condition in run.conditions)]
    for figure in run.figures:
        lines += ["", f"### {figure.title}"]
        for table in tables_of(figure):
            lines += markdown_lines(table)
        notes = notes_of(figure)
        lines += ["", *(f"- {note}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def targets_markdown(run: Run) -> str:
    """The run in one table: every target that it measured, met or missed."""
    lines = _heading(run)
    targets = [line for figure in run.figures for line in figure.target_lines()]
    if targets:
        lines += markdown_lines(targets_table(targets))
    return "\n".join(lines) + "\n"


def _heading(run: Run) -> list[str]:
    machine = run.machine
    place = f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gib']} GiB, {machine['system']}"
    lines = [f"Measured {run.when:%Y-%m-%d} on {place}, Python {machine['python']}."]
    for what, names in (("Could not be measured", list(run.failed)), ("Left out of this run", run.left_out)):
        lines += ["", f"{what}: {', '.join(names)}."] if names else []
    return lines
