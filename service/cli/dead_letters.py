"""`mealtrail dead-letters …`: look at events that were set aside, try them again, or give them up."""

from __future__ import annotations

from typing import Annotated

import typer

from backbone.store.dead_letters import DeadLetterReadings, DeadLetterView, PairId
from schemas.dead_letters import DeadLetterState
from schemas.errors import NotFound, Unavailable
from schemas.identifiers import normalise_id
from service.cli.dead_letter_acts import Act, Done, Fate, act_on, choose
from service.cli.dead_letter_documents import (
    advice,
    done_document,
    event_document,
    flatten,
    letter_document,
    load_letter,
    payload_text,
)
from service.cli.exits import ExitCode
from service.cli.interrupts import run_command
from service.cli.options import AsJson, checked_reason, seconds_option
from service.cli.output import plain_text, print_document, print_line, print_remark, print_table
from service.cli.parts import command_settings, login_user, open_parts
from service.cli.walltimes import wall_time

dead_letters_app = typer.Typer(help="Events that were set aside: list, show, replay, discard.", no_args_is_help=True)

ListedState = Annotated[
    str, typer.Option("--state", metavar="STATE", help="open, replayed, discarded or all.", show_default=True)
]
OrderOption = Annotated[str | None, typer.Option("--order", metavar="ID", help="Those of one order.")]
Pairs = Annotated[
    list[str] | None, typer.Argument(metavar="PAIR", help="PARTITION:IN_HAND:EVENT, as `list` shows them.")
]
All = Annotated[bool, typer.Option("--all", help="Every open one.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with your name in the audit trail.")]
Wait = Annotated[
    float, typer.Option("--wait", parser=seconds_option, metavar="SECONDS", help="Wait so long for what becomes of it.")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for a consumer to apply it.")]


@dead_letters_app.command("list")
def list_letters(
    state: ListedState = DeadLetterState.OPEN.value,
    order: OrderOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 50,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Where the page before ended.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what was set aside, by partition, in the order in which it happened. Shows no personal data."""
    wanted = _state(state)
    order_id = None if order is None else _order(order)

    async def run() -> tuple[list[DeadLetterView], str | None]:
        async with open_parts(command_settings()) as parts:
            readings = DeadLetterReadings(parts.store)
            return await readings.page(state=wanted, order_id=order_id, cursor=cursor, limit=limit)

    found, following = run_command(run)
    if as_json:
        print_document({"items": [letter_document(letter) for letter in found], "next": following})
        return
    columns = ("pair", "order", "event", "error", "set aside", *(("state",) if wanted is None else ()))
    print_table(
        columns,
        (
            (
                str(letter.pair),
                letter.order_id,
                letter.event_id,
                letter.error,
                wall_time(letter.set_aside_ms),
                *((letter.state.value,) if wanted is None else ()),
            )
            for letter in found
        ),
        empty="no dead letters" if wanted is None else f"no {wanted.value} dead letters",
        whole=columns,
    )
    if following is not None:
        print_remark(f"more: --cursor {following}")


@dead_letters_app.command("show")
def show_letter(
    pair: Annotated[str, typer.Argument(metavar="PAIR", help="PARTITION:IN_HAND:EVENT, as `list` shows it.")],
    payload: Annotated[bool, typer.Option("--payload", help="The whole record too, personal data included.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter and what its event reports; personal data only with --payload. Exits 5 if there is none."""
    wanted = _pair(pair)

    async def run() -> tuple[DeadLetterView, bytes | None]:
        async with open_parts(command_settings()) as parts:
            readings = DeadLetterReadings(parts.store)
            letter = await readings.one(wanted)
            if letter is None:
                raise NotFound(f"there is no dead letter {wanted}")
            return letter, await readings.record(wanted)

    letter, value = run_command(run)
    record = load_letter(letter, value)
    document = {**letter_document(letter), "event": event_document(record)}
    if payload:
        document["record"] = None if value is None else value.decode("utf-8", "backslashreplace")
        document["payload"] = payload_text(record)
    if as_json:
        print_document(document)
        return
    for name, told in flatten(document).items():
        print_line(f"{name:<16} {'-' if told is None else plain_text(str(told)).plain}")
    print_line()
    for line in advice(letter):
        print_line(line)


@dead_letters_app.command("replay")
def replay(
    reason: Reason,
    pairs: Pairs = None,
    order: OrderOption = None,
    every: All = False,
    wait: Wait = 10.0,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Try events again that were set aside, as what they were and with the time they were logged first.

    Then what waited behind them goes on, in log order. One that fails again is set aside again. Exits 0 when all were
    decided, 1 when some were set aside again or cannot be replayed, 4 when a consumer did not get to them in time (they
    stay in the log). Safe to repeat.
    """
    _act(Act.REPLAY, pairs, order, every=every, reason=reason, wait_s=0.0 if no_wait else wait, as_json=as_json)


@dead_letters_app.command("discard")
def discard(
    reason: Reason,
    pairs: Pairs = None,
    order: OrderOption = None,
    every: All = False,
    wait: Wait = 10.0,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Give events up that were set aside: they are rejected (`discarded`), and what waited behind them goes on.

    Exit codes as of `replay`. Safe to repeat.
    """
    _act(Act.DISCARD, pairs, order, every=every, reason=reason, wait_s=0.0 if no_wait else wait, as_json=as_json)


def _act(
    act: Act, pairs: list[str] | None, order: str | None, *, every: bool, reason: str, wait_s: float, as_json: bool
) -> None:
    named = [_pair(text) for text in pairs or ()]
    if (bool(named), order is not None, every).count(True) != 1:
        raise typer.BadParameter("name dead letters, or an order with --order, or all with --all")
    order_id = None if order is None else _order(order)
    why = checked_reason(reason)

    async def run() -> list[Done]:
        async with open_parts(command_settings()) as parts:
            chosen = await choose(DeadLetterReadings(parts.store), named, order_id, everything=every)
            return await act_on(parts, chosen, act, why=why, actor=login_user(), wait_s=wait_s)

    done = run_command(run)
    if as_json:
        print_document({"items": [done_document(one) for one in done]})
    else:
        for one in done:
            again = f": {one.again}" if one.again is not None else ""
            words = f"{one.letter.pair}  {one.letter.order_id}  {one.letter.event_id}  {one.fate.value}{again}"
            print_line(plain_text(words).plain)
            for other in one.others:
                print_line(plain_text(f"  set aside behind it: {other.pair}  {other.event_id}  {other.error}").plain)
        if not done:
            print_line("no open dead letters")
    pending = sum(one.fate is Fate.PENDING for one in done)
    if pending and wait_s:
        raise Unavailable(
            f"{pending} of {len(done)} are in the log, but were not applied within {wait_s:g} s: is a consumer "
            "running, or has a partition stopped? They will be applied then; there is no need to repeat them"
        )
    if any(one.others or one.fate in {Fate.SET_ASIDE_AGAIN, Fate.ERASED} for one in done):
        raise typer.Exit(ExitCode.NEGATIVE)


def _state(text: str) -> DeadLetterState | None:
    if text == "all":
        return None
    try:
        return DeadLetterState(text)
    except ValueError as error:
        known = ", ".join(state.value for state in DeadLetterState)
        raise typer.BadParameter(f"{text!r} is none of {known}, all", param_hint="--state") from error


def _pair(text: str) -> PairId:
    try:
        return PairId.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="PAIR") from error


def _order(text: str) -> str:
    try:
        return normalise_id(text)
    except ValueError as error:
        raise typer.BadParameter(f"the order id {error}", param_hint="--order") from error
