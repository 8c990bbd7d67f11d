"""How far something long has come, for somebody who is looking at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from service.cli.output import stderr_console


class Bars:
    """One bar for each name, from the first time that it is told of."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def reach(self, name: str, done: int, total: int | None = None) -> None:
        """So many are done now, of so many; None where that is not known, or is as it was."""
        task = self._task(name)
        self._progress.update(task, completed=done, total=total)
        self._show_rate(task)

    def advance(self, name: str, more: int) -> None:
        """So many more are done."""
        task = self._task(name)
        self._progress.advance(task, more)
        self._show_rate(task)

    def _task(self, name: str) -> TaskID:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=None, rate="")
        return self._tasks[name]

    def _show_rate(self, wanted: TaskID) -> None:
        speed = next(task.speed for task in self._progress.tasks if task.id == wanted)
        self._progress.update(wanted, rate="" if speed is None else f"{speed:,.0f}/s")


@contextmanager
def progress_bars() -> Iterator[Bars | None]:
    """Bars on standard error while the block runs; None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr_console(), transient=True) as progress:
        yield Bars(progress)
