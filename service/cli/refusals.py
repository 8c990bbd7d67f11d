"""`mealtrail source refusals`: why requests to post were turned away."""

from __future__ import annotations

from typing import Annotated

import typer

from backbone.store.sources import Refusal
from schemas.times import rfc3339_millis
from service.cli.interrupts import run_command
from service.cli.options import AsJson
from service.cli.output import print_document, print_table
from service.cli.parts import command_settings, open_parts
from service.cli.walltimes import short_time


def show_refusals(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One source; all if unset; ? is unknown names.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show why requests to post were refused with 400, 401, 413, 415 or 429, counted by source and reason.

    Of a 401 the sender is never told the reason. Times are UTC; --json has them in full.
    """

    async def run() -> list[Refusal]:
        async with open_parts(command_settings()) as parts:
            return await parts.sources().refusals(name)

    found = run_command(run)
    if as_json:
        print_document(
            {
                "refusals": [
                    {
                        "source": refusal.source,
                        "reason": refusal.reason,
                        "count": refusal.count,
                        "first_at": rfc3339_millis(refusal.first_at),
                        "last_at": rfc3339_millis(refusal.last_at),
                        "last_remote": refusal.last_remote,
                    }
                    for refusal in found
                ]
            }
        )
        return
    print_table(
        ("source", "reason", "count", "first", "last", "from"),
        (
            (
                refusal.source,
                refusal.reason,
                str(refusal.count),
                short_time(refusal.first_at),
                short_time(refusal.last_at),
                refusal.last_remote or "",
            )
            for refusal in found
        ),
        empty="nothing was refused",
        whole=("reason", "count", "first", "last"),
    )
