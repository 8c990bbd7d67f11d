"""`mealtrail order …`: an order's history for people, and a person's correction."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from backbone.store.dead_letters import DeadLetterReadings
from backbone.store.readings import SEES_ALL, Readings
from schemas.dead_letters import DeadLetterState
from schemas.errors import NotFound, Unavailable
from schemas.identifiers import normalise_id
from service.cli.exits import ExitCode
from service.cli.interrupts import run_command
from service.cli.operator_move import Moved, move_order
from service.cli.options import AsJson, StatusArgument, checked_reason, seconds_option
from service.cli.output import print_document, print_line, stdout_console
from service.cli.parts import command_settings, login_user, open_parts
from service.cli.receipt_line import describe_receipt
from service.cli.timeline import held_document, print_timeline, set_aside_document
from service.queries.rendering import order_document, receipt_document, trail_document

orders_app = typer.Typer(help="Look at an order, or correct it.", no_args_is_help=True)

_MOST_LETTERS = 20
"""Dead letters that an order is shown with; the list has them all."""
OrderId = Annotated[str, typer.Argument(metavar="ID")]


@orders_app.command("show")
def show_order(order_id: OrderId, as_json: AsJson = False) -> None:
    """Show an order and all that happened to it, oldest first, with the events that wait for it or were set aside.

    Exits 1 when the order is not announced but events wait for it, 5 when there is nothing of it.
    """
    wanted = _checked(order_id)

    async def run() -> dict[str, Any]:
        async with open_parts(command_settings()) as parts:
            readings = Readings(parts.store)
            order = await readings.order(wanted, SEES_ALL)
            held = [held_document(event) for event in await readings.held(wanted)]
            letters, more = await DeadLetterReadings(parts.store).page(
                state=DeadLetterState.OPEN, order_id=wanted, limit=_MOST_LETTERS
            )
            waiting: dict[str, Any] = {"held": held, "set_aside": [set_aside_document(letter) for letter in letters]}
            if more is not None:
                waiting["more_set_aside"] = True
            if order is None:
                if not held and not letters:
                    raise NotFound(f"there is no order {wanted!r}")
                return {"order_id": wanted, "status": None, "items": [], **waiting}
            history = await readings.history(wanted, SEES_ALL) or []
            return {**order_document(order), "items": [trail_document(entry) for entry in history], **waiting}

    document = run_command(run)
    if as_json:
        print_document(document)
    else:
        print_timeline(stdout_console(), document)
    if document["status"] is None:
        raise typer.Exit(ExitCode.NEGATIVE)


@orders_app.command("move")
def move(
    order_id: OrderId,
    status: StatusArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with your name in the audit trail.")],
    wait: Annotated[
        float, typer.Option("--wait", parser=seconds_option, metavar="SECONDS", help="Wait so long for the verdict.")
    ] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Move an order by hand: any status of its chain, backward and out of CANCELLED too.

    The move goes through the event log like everything else, and a consumer must be running to apply it. Exits 0 when
    it was applied, 1 when it was rejected, 4 when no verdict came in time (it stays in the log and will be applied).
    """
    wanted = _checked(order_id)
    why = checked_reason(reason)

    async def run() -> Moved:
        async with open_parts(command_settings()) as parts:
            return await move_order(parts, wanted, status, why=why, actor=login_user(), wait_s=wait)

    moved = run_command(run)
    document = {
        "order_id": wanted,
        "event_id": moved.event_id,
        "receipt_id": moved.receipt_id,
        "receipt": None if moved.receipt is None else receipt_document(moved.receipt, moved.receipt_id),
    }
    receipt = document["receipt"]
    if as_json:
        print_document(document)
    elif isinstance(receipt, dict):
        print_line(f"{wanted}  {describe_receipt(receipt, order_id=wanted, source='the operator')}")
    if not isinstance(receipt, dict) or receipt["state"] != "final":
        raise Unavailable(
            f"the move of {wanted} is in the log, but no verdict came within {wait:g} s: is a consumer running, or has "
            "its partition stopped? It will be applied then; there is no need to repeat it"
        )
    if receipt["verdict"] == "rejected":
        raise typer.Exit(ExitCode.NEGATIVE)


def _checked(order_id: str) -> str:
    try:
        return normalise_id(order_id)
    except ValueError as error:
        raise typer.BadParameter(f"the order id {error}", param_hint="ID") from error
