"""`python -m benchmarks [--only ingress|apply]`: measures, prints ratios, keeps the results.

Exits 0 whatever the figures are, 1 when something could not be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.apply.figure import ApplyOptions, measure_apply
from benchmarks.durable_postgres import measure_commits
from benchmarks.ingress.figure import IngressOptions, measure_ingress
from benchmarks.machine import describe_machine, on_cores, share_cores
from benchmarks.parts import Parts, running_parts
from benchmarks.processes import MeasurementError
from benchmarks.report import print_figure, write_results
from benchmarks.rounds import Figure, Measurement, Report
from schemas.errors import MealtrailError
from tests.support.sources import UnavailableError

FIGURES = ("ingress", "apply")
_CONTENDERS = 3
_WIDTH = 120  # of tables that go to a file


def main() -> int:
    """Reads the options and measures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure against hand-written peers.")
    parser.add_argument("--only", choices=FIGURES, help="one figure alone")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender is measured (default 5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement (default 4)")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # it warns about every topic that was made just now
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    try:
        return asyncio.run(_measure(console, options))
    except (MeasurementError, UnavailableError) as error:
        console.print(f"not measured: {error}", markup=False, highlight=False)
        return 1


async def _measure(console: Console, options: argparse.Namespace) -> int:
    """Measures what was asked for; a figure that fails is named and leaves the others alone. Returns the exit code."""
    cores, machine, when = share_cores(), describe_machine(), datetime.now(UTC)
    console.print(f"{machine['processor']}, {machine['cores']} cores; {cores.describe()}", highlight=False)
    with on_cores(cores.others), running_parts(cores) as parts:
        commits = await measure_commits(parts.postgres.admin_url)
        conditions = [
            cores.describe(),
            f"Kafka: {parts.kafka.source}",
            f"PostgreSQL {commits.version}: {parts.postgres.source}; {commits.describe()}",
        ]
        for condition in conditions[1:]:
            console.print(condition, highlight=False)
        if not commits.durable:
            raise MeasurementError("this PostgreSQL does not keep what it commits; rates of it would mean nothing")
        figures, asked = [], [name for name in FIGURES if options.only in (None, name)]
        for name in asked:
            try:
                figures.append(await _one_figure(console, name, parts, options))
            except (MeasurementError, MealtrailError) as error:
                console.print(f"{name} was not measured: {error}", markup=False, highlight=False)
            else:
                print_figure(console, figures[-1])
    if figures:
        path = write_results(figures, machine, conditions, when)
        console.print(f"kept in {path.relative_to(path.parents[2])}", highlight=False)
    return 0 if len(figures) == len(asked) else 1


async def _one_figure(console: Console, name: str, parts: Parts, options: argparse.Namespace) -> Figure:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{name}: set-up", total=options.rounds * _CONTENDERS)

        def report(number: int, contender: str, measurement: Measurement) -> None:
            text = f"{name} round {number}  {contender:<24} {measurement.rate:>9,.0f}/s  {measurement.cpu_us:>6,.0f} µs"
            progress.console.print(text, highlight=False)
            progress.update(task, advance=1, description=f"{name}: round {number}")

        return await _measurers(parts, options)[name](report)


def _measurers(
    parts: Parts, options: argparse.Namespace
) -> dict[str, Callable[[Report], Coroutine[None, None, Figure]]]:
    ingress = IngressOptions(rounds=options.rounds, seconds=options.seconds)
    apply = ApplyOptions(rounds=options.rounds, seconds=options.seconds)
    return {
        "ingress": lambda report: measure_ingress(parts, ingress, report),
        "apply": lambda report: measure_apply(parts, apply, report),
    }


if __name__ == "__main__":
    sys.exit(main())
