"""`python -m benchmarks [--only NAME] [--full]`: measures, prints tables, keeps the results.

Exits 0 whatever the figures are, 1 when something could not be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from datetime import UTC, datetime

import asyncpg
import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import ROOT
from benchmarks.documents import PublishingError, publish_last
from benchmarks.durable_postgres import measure_commits
from benchmarks.figures import PLANS
from benchmarks.machine import describe_machine, on_cores, share_cores
from benchmarks.model import Figure
from benchmarks.parts import Parts, running_parts
from benchmarks.plans import Options, Plan, choose
from benchmarks.processes import MeasurementError
from benchmarks.report import duration_text, print_figure, print_plan, print_targets
from benchmarks.results import Run, write_results
from schemas.errors import MealtrailError
from tests.support.sources import UnavailableError

_WIDTH = 120  # of tables that go to a file
_UNMEASURED = (
    MeasurementError,
    MealtrailError,
    UnavailableError,
    OSError,  # and TimeoutError, which is one
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
)


def main() -> int:
    """Reads the options and measures, or puts the last results into the documents."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure against hand-written peers.")
    parser.add_argument("--only", default="", metavar="NAME[,NAME]", help="these figures alone")
    parser.add_argument("--full", action="store_true", help="the long figures too")
    parser.add_argument("--rounds", type=int, default=4, help="how often each contender is measured (default 4)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one measurement (default 3)")
    parser.add_argument(
        "--most-late-ms", type=float, default=50.0, help="how late an open loop may send (default 50); see the docs"
    )
    parser.add_argument("--rows", type=int, default=10_000_000, help="most rows in growth (default 10,000,000)")
    parser.add_argument("--events", type=int, default=1_000_000, help="events in memory (default 1,000,000)")
    parser.add_argument("--list", action="store_true", help="name the figures, measure nothing")
    parser.add_argument(
        "--readme", action="store_true", help="put the last results into the documents, measure nothing"
    )
    asked = parser.parse_args()
    if asked.rounds < 1 or asked.seconds <= 0 or asked.most_late_ms <= 0:
        parser.error("--rounds, --seconds and --most-late-ms must be positive")
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    if asked.readme:
        return _publish(console)
    try:
        plans = choose(PLANS, only=[name for name in asked.only.split(",") if name], full=asked.full)
    except ValueError as error:
        parser.error(str(error))
    options = Options(
        rounds=asked.rounds,
        seconds=asked.seconds,
        full=asked.full,
        most_late_ms=asked.most_late_ms,
        most_rows=asked.rows,
        events=asked.events,
    )
    print_plan(console, PLANS if asked.list else plans, options)
    if asked.list:
        return 0
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # it warns about every topic that was made just now
    try:
        return asyncio.run(_measure(console, plans, options))
    except _UNMEASURED as error:
        console.print(f"not measured: {error}", markup=False, highlight=False)
        return 1


def _publish(console: Console) -> int:
    try:
        changed = publish_last()
    except PublishingError as error:
        console.print(str(error), markup=False, highlight=False)
        return 1
    for path in changed:
        console.print(f"written: {path.relative_to(ROOT)}", markup=False, highlight=False)
    return 0


async def _measure(console: Console, plans: list[Plan], options: Options) -> int:
    """Measures what was asked for; a figure that fails is named and leaves the others alone. Returns the exit code."""
    cores, began = share_cores(), time.monotonic()
    left_out = [plan.name for plan in PLANS if plan not in plans]
    run = Run(when=datetime.now(UTC), machine=describe_machine(), conditions=[cores.describe()], left_out=left_out)
    console.print(f"{run.machine['processor']}, {run.machine['cores']} cores; {cores.describe()}", highlight=False)
    with on_cores(cores.others), running_parts(cores) as parts:
        commits = await measure_commits(parts.postgres.admin_url)
        run.conditions += [
            f"Kafka: {parts.kafka.source}",
            f"PostgreSQL {commits.version}: {parts.postgres.source}; {commits.describe()}",
            f"{options.rounds} rounds, {options.seconds:g} s a measurement at saturation",
        ]
        for condition in run.conditions[1:]:
            console.print(condition, markup=False, highlight=False)
        if not commits.durable:
            raise MeasurementError("this PostgreSQL does not keep what it commits; rates of it would mean nothing")
        for plan in plans:
            figure_began = time.monotonic()
            try:
                run.figures.append(await _one_figure(console, plan, parts, options))
            except _UNMEASURED as error:
                run.failed[plan.name] = str(error)
                console.print(f"{plan.name} was not measured: {error}", markup=False, highlight=False)
            else:
                print_figure(console, run.figures[-1])
            run.seconds[plan.name] = round(time.monotonic() - figure_began, 1)
            path = write_results(run)
            console.print(f"{duration_text(time.monotonic() - began)} so far, kept in {path.relative_to(ROOT)}")
    print_targets(console, [line for figure in run.figures for line in figure.target_lines()])
    failures = [*run.failed, *(f"{figure.name}, {failure}" for figure in run.figures for failure in figure.failures)]
    for failure in failures:
        console.print(f"not measured: {failure}", markup=False, highlight=False)
    return 1 if failures else 0


async def _one_figure(console: Console, plan: Plan, parts: Parts, options: Options) -> Figure:
    work = plan.work(options)
    console.print(f"{plan.name}: {plan.title}, about {duration_text(work.seconds)}", style="bold", highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(plan.name, total=work.steps)

        def report(text: str) -> None:
            progress.console.print(f"  {plan.name}  {text}", markup=False, highlight=False)
            progress.update(task, advance=1)

        return await plan.measure(parts, options, report)


if __name__ == "__main__":
    sys.exit(main())
