"""`mealtrail audit verify`: recomputes the trail's hash chains and names the first row that does not fit."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy.exc import DBAPIError

from backbone.store.audit import AuditReport, verify_chains
from backbone.store.readings import Readings
from service.cli.exits import ExitCode
from service.cli.options import AsJson
from service.cli.output import print_document, print_line, stderr_console
from service.cli.parts import command_settings, open_parts

audit_app = typer.Typer(help="Prove that the trail is what was written.", no_args_is_help=True)


@audit_app.callback()
def audit() -> None:
    """Prove that the trail is what was written."""


@audit_app.command("verify")
def verify(as_json: AsJson = False) -> None:
    """Recompute every partition's hash chain. Exits 1 when a row was changed, removed or added."""

    async def run() -> AuditReport:
        async with open_parts(command_settings()) as parts:
            with _progress(await _expected_rows(Readings(parts.store))) as show:
                return await verify_chains(parts.store, progress=show)

    report = asyncio.run(run())
    if as_json:
        print_document(
            {
                "rows": report.rows,
                "partitions": report.partitions,
                "ok": report.ok,
                "first_bad": report.first_bad,
                "heads": {str(p): {"seq": seq, "hash": head} for p, (seq, head) in report.heads.items()},
            }
        )
    elif report.ok:
        print_line(f"ok: {report.rows} rows in {report.partitions} partitions, every hash fits")
    else:
        bad = report.first_bad
        where = "" if bad is None else f": partition {bad['partition']}, row {bad['seq']}: {bad['problem']}"
        print_line(f"NOT ok{where}")
    if not report.ok:
        raise typer.Exit(ExitCode.NEGATIVE)


async def _expected_rows(readings: Readings) -> int | None:
    try:
        return sum((await readings.heads()).values())
    except DBAPIError:  # what is broken there is for the verification to name
        return None


@contextmanager
def _progress(rows: int | None) -> Iterator[Callable[[int], None] | None]:
    """A bar on standard error where someone is looking, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr_console(), transient=True) as progress:
        task = progress.add_task("verify", total=rows)
        yield lambda done: progress.update(task, completed=done)
