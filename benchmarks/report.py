"""What people see while a run goes on: the plan of its time, and each figure's tables as soon as it is measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.model import Figure, TargetLine
from benchmarks.plans import Options, Plan
from benchmarks.tables import TextTable, notes_of, tables_of, targets_table


def print_plan(console: Console, plans: Sequence[Plan], options: Options) -> None:
    """Which figures there will be, and about when the run ends."""
    table = Table(title="to be measured", title_justify="left")
    table.add_column("figure")
    table.add_column("what")
    table.add_column("about", justify="right")
    seconds = [plan.work(options).seconds for plan in plans]
    for plan, each in zip(plans, seconds, strict=True):
        table.add_row(plan.name, plan.title, duration_text(each))
    table.add_row("", "all of it", duration_text(sum(seconds)), end_section=True)
    console.print(table)


def print_figure(console: Console, figure: Figure) -> None:
    """All tables of a figure and its notes."""
    console.print(figure.title, style="bold", highlight=False)
    for table in tables_of(figure):
        _print_table(console, table)
    for note in notes_of(figure):
        console.print(f"  {note}", markup=False, highlight=False)
    console.print()


def print_targets(console: Console, lines: Sequence[TargetLine]) -> None:
    """The run in one table."""
    if lines:
        console.print("targets", style="bold", highlight=False)
        _print_table(console, targets_table(lines))


def duration_text(seconds: float) -> str:
    """Seconds as 0:05, 12:34."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _print_table(console: Console, text: TextTable) -> None:
    table = Table(title=text.title or None, title_justify="left")
    for number, column in enumerate(text.columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in _plain(text.rows):
        table.add_row(*row)
    console.print(table)


def _plain(rows: Iterable[tuple[str, ...]]) -> list[list[str]]:
    return [[cell.replace("**", "") for cell in row] for row in rows]
