"""`mealtrail audit acts`: who changed what by command line, and what became of the moves among it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from backbone.clocks import SYSTEM_CLOCK
from backbone.store.acts import Act, read_acts
from schemas.times import micros, rfc3339_millis
from service.cli.durations import parse_duration
from service.cli.exits import ExitCode
from service.cli.interrupts import run_command
from service.cli.options import AsJson
from service.cli.output import print_document, print_table
from service.cli.parts import command_settings, open_parts
from service.cli.walltimes import wall_time

_SHOWN_ELSEWHERE = frozenset({"event_id"})


def acts(
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="A duration back from now (24h), or a time with its offset."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the acts of administration and people's moves of orders, oldest first. Times are UTC.

    A move is shown with its verdict. One that stands in the trail and of which no act is on record is marked. Exits 1
    when an act contradicts the trail or cannot be read: somebody wrote it anew.
    """
    since_ms = 0 if since is None else _since(since)

    async def run() -> list[Act]:
        async with open_parts(command_settings()) as parts:
            return await read_acts(parts.store, since_ms=since_ms)

    found = run_command(run)
    if as_json:
        print_document({"acts": [_document(act) for act in found]})
    else:
        print_table(
            ("at", "by", "act", "subject", "detail"),
            ((wall_time(act.at), act.actor, act.act, act.subject, _words(act)) for act in found),
            empty="no acts are on record",
            whole=("at",),
        )
    if not all(act.is_genuine for act in found):
        raise typer.Exit(ExitCode.NEGATIVE)


def _since(text: str) -> int:
    try:
        return SYSTEM_CLOCK.now_ms() - parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        wanted = "neither a duration (24h) nor a time (2026-11-21T21:00:00Z)"
        raise typer.BadParameter(f"{text!r} is {wanted}", param_hint="--since") from error
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no offset: write it with Z or +02:00", param_hint="--since")
    return micros(moment) // 1000


def _document(act: Act) -> dict[str, Any]:
    row = act.row
    return {
        "at": rfc3339_millis(act.at),
        "actor": act.actor,
        "act": act.act,
        "subject": act.subject,
        "detail": dict(act.detail),
        "recorded": act.recorded,
        "differs": list(act.differs),
        "unreadable": act.unreadable,
        "row": None if row is None else {name: getattr(row, name) for name in type(row).__dataclass_fields__},
    }


def _words(act: Act) -> str:
    parts = [f"{name}={value}" for name, value in act.detail.items() if name not in _SHOWN_ELSEWHERE]
    if act.row is not None:
        step = f"{act.row.from_status} -> {act.row.to_status}" if act.row.verdict == "applied" else act.row.reason or ""
        parts.append(f"{act.row.verdict} {step}".strip() + f" (partition {act.row.partition}, row {act.row.seq})")
    elif act.act == "order.move":
        parts.append("no verdict")
    if not act.recorded:
        parts.append("NO ACT ON RECORD")
    if act.differs:
        parts.append(f"DIFFERS FROM THE TRAIL: {' and '.join(act.differs)}")
    if act.unreadable:
        parts.append("UNREADABLE")
    return ", ".join(parts)
