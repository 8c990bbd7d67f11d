"""Loads into a ledger what a batch may touch: a handful of look-ups by many keys, whatever the batch's size.

Held events come first, since those that are due or belong to the batch's orders bring further orders and receipts.
Everything is read behind the fence, in its transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.bulk import select_rows
from backbone.store.tables import (
    dead_letters,
    held_events,
    order_details,
    order_external_ids,
    orders,
    receipts,
    reused_event_ids,
)
from consumers.dead_letter import DeadLetter, Pair, with_content
from consumers.ledger import Ledger
from consumers.ledger_entries import Details, HeldEvent, HoldKind, Receipt
from consumers.lifecycle.table import MAY_ANNOUNCE
from consumers.logged_event import (
    LogEntry,
    LoggedControl,
    LoggedEvent,
    OrderKey,
    ReceiptKey,
    order_key_of,
    read_event,
)
from consumers.order_rows import ORDER_COLUMNS, order_state
from consumers.waiting_rows import HELD_FIELDS, count_held, count_parked, due_rows
from schemas.dead_letters import DeadLetterState, Parks
from schemas.errors import RecordUnknown
from schemas.events import EventType
from schemas.statuses import OrderStatus
from schemas.verdicts import Reason, ReceiptState, Verdict

_DETAILED: frozenset[EventType] = frozenset({"announcement", "amendment"})
"""Events that bring details and name parties."""
DEAD_LETTER_COLUMNS = tuple(column.name for column in fields(DeadLetter))
RECEIPT_COLUMNS = (
    "order_id",
    "source_uid",
    "event_id",
    "first_offset",
    "first_received_ms",
    "last_offset",
    "content_digest",
    "state",
    "verdict",
    "reason",
    "from_status",
    "to_status",
    "foreign",
    "revision",
    "repeats",
    "decided_ms",
)


@dataclass(slots=True)
class _Wanted:
    """What a batch may touch, collected before it is looked up. Orders and receipts are by workspace."""

    orders: set[OrderKey] = field(default_factory=set)
    releasing: set[OrderKey] = field(default_factory=set)
    """Orders whose waiting events may be decided again, or park."""
    acted_on: set[OrderKey] = field(default_factory=set)
    """Orders of a person's act: what is parked may be let go or stripped too. Only then is it loaded: thousands of
    events may be parked behind one dead letter, and more come."""
    detailed: set[OrderKey] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    receipts: set[ReceiptKey] = field(default_factory=set)

    def add(self, entry: LogEntry) -> None:
        """What one entry of the log may touch."""
        if (key := order_key_of(entry)) is None:
            return
        self.orders.add(key)
        if isinstance(entry, LoggedEvent):
            self.add_event(entry)
            if _may_release(entry):
                self.releasing.add(key)
        elif isinstance(entry, LoggedControl):
            self.acted_on.add(key)
            self.detailed.add(key)

    def add_event(self, logged: LoggedEvent) -> None:
        """What deciding an event may touch."""
        self.orders.add(logged.order_key)
        self.sources.add(logged.record.source.uid)
        self.receipts.add(logged.receipt_key)
        if logged.record.event.type in _DETAILED:
            self.detailed.add(logged.order_key)

    def add_letter(self, letter: DeadLetter) -> None:
        """What a person's act on a dead letter may touch, as far as its row tells (see `rehearsal.load_more`)."""
        if letter.digest is not None and letter.source_uid is not None:
            self.sources.add(letter.source_uid)
            self.receipts.add((letter.workspace, letter.digest))


async def load_ledger(
    connection: AsyncConnection,
    ledger: Ledger,
    entries: Sequence[LogEntry],
    *,
    last_log_ms: int,
    aside: Collection[Pair] = (),
) -> None:
    """Everything that folding `entries` into the ledger can ask for, with these pairs set aside. `last_log_ms` is the
    batch's latest log time.
    """
    wanted = _Wanted()
    for entry in entries:
        wanted.add(entry)
    await _load_due(connection, ledger, entries, aside, max(ledger.watermark_ms, last_log_ms))
    wanted.orders |= {held.logged.order_key for held in ledger.held.values()}
    wanted.releasing |= _parked_by(ledger, entries, aside)
    await _load_held_of(connection, ledger, wanted)
    for held in ledger.held.values():
        wanted.add_event(held.logged)
    if ledger.dead_seq:
        await _load_dead_letters(connection, ledger, wanted)
        await _load_parked_counts(connection, ledger)
    ledger.held_by_source = await count_held(connection, ledger.partition, wanted.sources)
    await _load_orders(connection, ledger, wanted)
    await load_receipts(connection, ledger, wanted.receipts)


def _parked_by(ledger: Ledger, entries: Sequence[LogEntry], aside: Collection[Pair]) -> set[OrderKey]:
    """The orders that these pairs park: that of the event, which is in the batch, or due, or of the order in hand."""
    if not aside:
        return set()
    in_batch = {entry.offset: order_key_of(entry) for entry in entries}
    parked = {in_batch.get(offset) for pair in aside if pair[0] in in_batch for offset in pair}
    due = {offset for _, offset in aside} & set(ledger.held)
    return {key for key in parked if key is not None} | {ledger.held[offset].logged.order_key for offset in due}


def _may_release(logged: LoggedEvent) -> bool:
    """Whether events held for the order may be decided again after this one: it may announce it or change its parties.

    Only then are they loaded: a source may have a thousand waiting for one order, and go on posting. Those of strict
    sources wait for any change of their order, and are few.
    """
    event = logged.record.event
    if event.type == "status":
        return event.status is OrderStatus.NEW and logged.record.source.role in MAY_ANNOUNCE
    return event.type in _DETAILED


def _by_workspace(keys: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Order ids or receipt digests of each workspace, sorted."""
    found: dict[str, list[str]] = {}
    for workspace, name in sorted(keys):
        found.setdefault(workspace, []).append(name)
    return found


async def _load_due(
    connection: AsyncConnection,
    ledger: Ledger,
    entries: Sequence[LogEntry],
    aside: Collection[Pair],
    watermark_ms: int,
) -> None:
    rows = await due_rows(
        connection,
        ledger.partition,
        until_ms=watermark_ms,
        records=len(entries),
        order_ids={key[1] for entry in entries if (key := order_key_of(entry)) is not None},
        offsets={offset for _, offset in aside},
    )
    _load_held(ledger, rows)


async def _load_held_of(connection: AsyncConnection, ledger: Ledger, wanted: _Wanted) -> None:
    by_kind: tuple[tuple[set[OrderKey], dict[str, str]], ...] = (
        (wanted.acted_on, {}),
        (wanted.releasing - wanted.acted_on, {"kind": HoldKind.FOREIGN.value}),
        (wanted.orders - wanted.acted_on, {"kind": HoldKind.AHEAD.value}),
    )
    for keys, kind in by_kind:
        for workspace, order_ids in _by_workspace(keys).items():
            fixed = {"workspace": workspace, "partition": ledger.partition, **kind}
            rows = await select_rows(connection, held_events, HELD_FIELDS, fixed=fixed, many=("order_id", order_ids))
            _load_held(ledger, rows)


def _load_held(ledger: Ledger, rows: Iterable[tuple[Any, ...]]) -> None:
    for _, offset, deadline_ms, received_ms, kind, content, value in rows:
        if offset in ledger.held:
            continue
        logged = with_content(read_event(offset, received_ms, bytes(value)), content)
        if not isinstance(logged, LoggedEvent):
            raise RecordUnknown(f"partition {ledger.partition}: the held record at offset {offset} is no event")
        ledger.load(HeldEvent(logged, deadline_ms, HoldKind(kind)))


async def _load_dead_letters(connection: AsyncConnection, ledger: Ledger, wanted: _Wanted) -> None:
    for workspace, order_ids in _by_workspace(wanted.orders).items():
        own = {"workspace": workspace, "partition": ledger.partition}
        rows = await select_rows(connection, dead_letters, DEAD_LETTER_COLUMNS, fixed=own, many=("order_id", order_ids))
        for row in rows:
            letter = _dead_letter(row)
            ledger.load_dead_letter(letter)
            if letter.is_open and letter.order_key in wanted.acted_on:
                wanted.add_letter(letter)


def _dead_letter(row: tuple[Any, ...]) -> DeadLetter:
    named = dict(zip(DEAD_LETTER_COLUMNS, row, strict=True))
    return DeadLetter(
        **{
            **named,
            "state": DeadLetterState(named["state"]),
            "parks": Parks(named["parks"]),
            "record": None if named["record"] is None else bytes(named["record"]),
        }
    )


async def _load_parked_counts(connection: AsyncConnection, ledger: Ledger) -> None:
    parking = (letter for letter in ledger.dead_letters.values() if letter.is_open)
    keys = {letter.order_key for letter in parking if letter.parks is not Parks.NOTHING}
    for workspace, order_ids in _by_workspace(keys).items():
        parked = await count_parked(connection, ledger.partition, workspace, order_ids)
        ledger.parked_by_source.update({(workspace, order_id): counts for order_id, counts in parked.items()})


async def _load_orders(connection: AsyncConnection, ledger: Ledger, wanted: _Wanted) -> None:
    for workspace, order_ids in _by_workspace(wanted.orders).items():
        fixed = {"workspace": workspace}
        for row in await select_rows(connection, orders, ORDER_COLUMNS, fixed=fixed, many=("order_id", order_ids)):
            ledger.orders[(workspace, row[1])] = order_state(row)
    for workspace, order_ids in _by_workspace(wanted.detailed).items():
        await _load_details(connection, ledger, workspace, order_ids)


async def _load_details(connection: AsyncConnection, ledger: Ledger, workspace: str, order_ids: Sequence[str]) -> None:
    fixed, many = {"workspace": workspace}, ("order_id", order_ids)
    columns = ("order_id", "details", "erased")
    for row in await select_rows(connection, order_details, columns, fixed=fixed, many=many):
        ledger.details[(workspace, row[0])] = Details(orjson.loads(row[1]), bool(row[2]))
    names = ("order_id", "external_id")
    for row in await select_rows(connection, order_external_ids, names, fixed=fixed, many=many):
        ledger.details.setdefault((workspace, row[0]), Details()).external_ids.add(row[1])


async def load_receipts(connection: AsyncConnection, ledger: Ledger, keys: set[ReceiptKey]) -> None:
    """The receipts with these keys, as far as there are any."""
    for workspace, digests in _by_workspace(keys).items():
        await _load_receipts_of(connection, ledger, workspace, digests)


async def _load_receipts_of(
    connection: AsyncConnection, ledger: Ledger, workspace: str, digests: Sequence[str]
) -> None:
    fixed = {"workspace": workspace}
    columns = ("digest", *RECEIPT_COLUMNS)
    for row in await select_rows(connection, receipts, columns, fixed=fixed, many=("digest", digests)):
        named = dict(zip(columns, row, strict=True))
        digest = named.pop("digest")
        ledger.receipts[(workspace, digest)] = Receipt(
            **{
                **named,
                "state": ReceiptState(named["state"]),
                "verdict": named["verdict"] and Verdict(named["verdict"]),
                "reason": named["reason"] and Reason(named["reason"]),
                "from_status": named["from_status"] and OrderStatus(named["from_status"]),
                "to_status": named["to_status"] and OrderStatus(named["to_status"]),
                "foreign": bool(named["foreign"]),
            }
        )
    first_ones = {**fixed, "repeat": False}
    for digest, content in await select_rows(
        connection, reused_event_ids, ("digest", "content_digest"), fixed=first_ones, many=("digest", digests)
    ):
        ledger.receipts[(workspace, digest)].reused.add(content)
