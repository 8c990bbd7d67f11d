"""`mealtrail erase …`: takes personal data of orders away, for good, as records in the event log."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from backbone.store.customers import find_orders, names_customer, normal_forms
from backbone.store.holdings import NOTHING, Holdings, HoldingsReadings
from schemas.errors import NotFound, Unavailable
from schemas.identifiers import normalise_id
from schemas.records import Erasable
from service.cli.erase_act import Asked, Erased, erase_orders
from service.cli.exits import ExitCode
from service.cli.interrupts import run_command
from service.cli.options import AsJson, checked_reason, seconds_option
from service.cli.output import print_document, print_line, print_remark, print_table
from service.cli.parts import Parts, command_settings, login_user, open_parts
from service.cli.progress import progress_bars
from service.cli.walltimes import wall_time

erase_app = typer.Typer(help="Take personal data of orders away, for good.", no_args_is_help=True)

Classes = Annotated[
    list[Erasable] | None,
    typer.Option("--class", help="Only this class of data; may be given twice. All when it is not given."),
]
Reason = Annotated[
    str | None,
    typer.Option("--reason", help="Why, without personal data: it stays in the audit trail, with your name."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be erased, and erase nothing.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return once the log has the records, applied or not.")]
Wait = Annotated[
    float, typer.Option("--wait", parser=seconds_option, metavar="SECONDS", help="Wait so long for a consumer.")
]
BACKUPS = "Backups of the store and of the log still hold the data until they expire: see docs/privacy.md."


@dataclass(frozen=True, slots=True)
class _Wishes:
    """The options that both commands take."""

    classes: tuple[Erasable, ...]
    why: str
    yes: bool
    dry_run: bool
    wait_s: float | None
    as_json: bool


@erase_app.command("order")
def erase_order(
    ctx: typer.Context,
    order_ids: Annotated[list[str], typer.Argument(metavar="ID")],
    reason: Reason = None,
    classes: Classes = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    wait: Wait = 30.0,
    as_json: AsJson = False,
) -> None:
    """Erase the personal data of these orders. The trail and its hashes stay, and repeats are still recognised.

    Exits 0 when it is done, 4 when no consumer applied it in time (it stays in the log and will be applied), 5 when
    there is nothing of an order. May be repeated.
    """
    wishes = _wishes(ctx, reason, classes, yes=yes, dry_run=dry_run, wait=None if no_wait else wait, as_json=as_json)
    wanted = sorted({_checked(order_id) for order_id in order_ids})

    async def run() -> Erased | None:
        async with open_parts(command_settings()) as parts:
            unknown = set(wanted) - await HoldingsReadings(parts.store).known(wanted)
            if unknown:
                raise NotFound(f"there is nothing of {', '.join(map(repr, sorted(unknown)))}; nothing was erased")
            return await _erase(parts, wanted, wishes)

    _report(run_command(run), wishes)


@erase_app.command("customer")
def erase_customer(
    ctx: typer.Context,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="The customer's id, phone number or e-mail address.")],
    reason: Reason = None,
    classes: Classes = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    wait: Wait = 30.0,
    as_json: AsJson = False,
) -> None:
    """Find the orders whose details name this customer, and erase their personal data.

    Exits 5 when no order does, as when it is repeated: what was erased names nobody. Names and postal addresses find
    nobody: strangers share them. The value itself is kept nowhere.
    """
    wishes = _wishes(ctx, reason, classes, yes=yes, dry_run=dry_run, wait=None if no_wait else wait, as_json=as_json)
    if not normal_forms(value):
        raise typer.BadParameter("it is empty", param_hint="VALUE")
    if names_customer(wishes.why, value):
        raise typer.BadParameter("the reason stays for good and must not name the customer", param_hint="--reason")

    async def run() -> Erased | None:
        async with open_parts(command_settings()) as parts:
            with progress_bars() as bars:
                show = None if bars is None else partial(bars.reach, "looking through details")
                wanted = await find_orders(parts.store, value, progress=show)
            if not wanted:
                raise NotFound("no order's details name this customer")
            return await _erase(parts, wanted, wishes)

    _report(run_command(run), wishes)


async def _erase(parts: Parts, wanted: list[str], wishes: _Wishes) -> Erased | None:
    """Shows what there is, asks, and does it; None when nobody agreed."""
    readings = HoldingsReadings(parts.store)
    carriers = await readings.carriers(wanted) if Erasable.PAYLOADS in wishes.classes else {}
    orders = dict.fromkeys(wanted, wishes.classes)
    orders |= dict.fromkeys(sorted(carriers), (Erasable.PAYLOADS,))
    before = await readings.holdings(list(orders))
    if not wishes.as_json:
        _show(orders, before, carriers)
    if not wishes.dry_run and not wishes.yes and not _is_confirmed(len(orders)):
        return None
    asked = Asked(orders=orders, why=wishes.why, actor=login_user(), wait_s=wishes.wait_s)
    return await erase_orders(parts, asked, before, dry_run=wishes.dry_run)


def _is_confirmed(orders: int) -> bool:
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            "nobody can be asked here: say --yes, or look first with --dry-run", param_hint="--yes"
        )
    return typer.confirm(f"Erase this data of {orders} order{'s' if orders != 1 else ''} for good?", err=True)


def _show(orders: dict[str, tuple[Erasable, ...]], before: dict[str, Holdings], carriers: dict[str, set[str]]) -> None:
    """What each order holds. A kind of which no order has anything is left out, so that the rest fits."""
    held = {order_id: before.get(order_id, NOTHING).as_document() for order_id in orders}
    kinds = [kind for kind in NOTHING.as_document() if any(counts[kind] for counts in held.values())]
    print_table(
        ("order", "classes", *(kind.replace("_", " ") for kind in kinds or ("holds",))),
        (
            (order_id, ", ".join(classes), *([str(held[order_id][kind]) for kind in kinds] or ["nothing"]))
            for order_id, classes in orders.items()
        ),
        empty="no order",
        whole=("order",),
    )
    for carrier, told in sorted(carriers.items()):
        print_line(f"{carrier} is listed for a request body that told of {', '.join(sorted(told))} too")


def _report(erased: Erased | None, wishes: _Wishes) -> None:
    if erased is None:
        print_remark("nothing was erased")
        raise typer.Exit(ExitCode.NEGATIVE)
    if wishes.as_json:
        print_document({**erased.as_document(), "backups": BACKUPS})
    elif wishes.dry_run:
        print_line("dry run     nothing was erased")
        _tell_copies(erased)
    else:
        _tell(erased)
    if erased.failed:
        print_remark(
            f"the erasure of {', '.join(erased.failed)} was set aside: see `mealtrail dead-letters list`, and replay it"
        )
        raise typer.Exit(ExitCode.NEGATIVE)
    if erased.left:
        print_remark(
            f"NOT erased: consumers are past the record of {', '.join(erased.left)}, and data from before it is still "
            "there. Are they of this release? Keep the store as it is, and report it"
        )
        raise typer.Exit(ExitCode.NEGATIVE)
    if wishes.wait_s is not None and not wishes.dry_run and erased.pending:
        raise Unavailable(
            f"{len(erased.pending)} of {len(erased.orders)} erasures lie in the log and were not applied within "
            f"{wishes.wait_s:g} s: is a consumer running, or has a partition stopped? They will be applied then; "
            "there is no need to repeat them"
        )


def _tell(erased: Erased) -> None:
    done = len(erased.orders) - len(erased.pending) - len(erased.failed) - len(erased.left)
    print_line(f"erased      {done} of {len(erased.orders)} orders; {erased.rows_gone} rows have nothing left")
    if erased.rows_left:
        print_line(f"left        {erased.rows_left} rows: of classes not asked for, or of events that came meanwhile")
    _tell_copies(erased)


def _tell_copies(erased: Erased) -> None:
    """Where the data lie besides, and until when."""
    until = erased.raw_until_ms
    print_line(
        "log         the topics keep the bytes as they came until "
        + ("they are deleted: retention is unlimited there" if until is None else f"{wall_time(until)} UTC")
    )
    print_line(f"backups     {BACKUPS}")


def _wishes(
    ctx: typer.Context,
    reason: str | None,
    classes: list[Erasable] | None,
    *,
    yes: bool,
    dry_run: bool,
    wait: float | None,
    as_json: bool,
) -> _Wishes:
    if reason is None and not dry_run:
        ctx.fail("Missing option '--reason'.")  # in the words of commands that always want one
    why = "" if reason is None else checked_reason(reason)
    wanted = tuple(one for one in Erasable if not classes or one in classes)
    return _Wishes(wanted, why, yes, dry_run, wait, as_json)


def _checked(order_id: str) -> str:
    try:
        return normalise_id(order_id)
    except ValueError as error:
        raise typer.BadParameter(f"the order id {error}", param_hint="ID") from error
