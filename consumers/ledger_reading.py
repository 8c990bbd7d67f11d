"""Loads into a ledger what a batch may touch: a handful of look-ups by many keys, whatever the batch's size.

Held events come first, since those that are due or belong to the batch's orders bring further orders and receipts.
Everything is read behind the fence, in its transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.bulk import select_rows
from backbone.store.tables import (
    held_events,
    order_details,
    order_external_ids,
    orders,
    receipts,
    reused_event_ids,
)
from consumers.ledger import Details, HeldEvent, Ledger, Receipt
from consumers.lifecycle.table import MAY_ANNOUNCE
from consumers.logged_event import LoggedEvent, read_event
from consumers.order_rows import ORDER_COLUMNS, order_state
from schemas.errors import RecordUnknown
from schemas.events import OrderAmended, OrderPlaced, StatusEvent
from schemas.statuses import OrderStatus
from schemas.verdicts import Reason, ReceiptState, Verdict

_HELD = ("workspace", "offset", "deadline_ms", "received_ms", "record")
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


async def load_ledger(
    connection: AsyncConnection, ledger: Ledger, events: Sequence[LoggedEvent], *, last_log_ms: int
) -> None:
    """Everything that folding `events` into the ledger can ask for. `last_log_ms` is the batch's latest log time."""
    by_workspace: dict[str, list[LoggedEvent]] = {}
    for event in events:
        by_workspace.setdefault(event.record.workspace, []).append(event)
    await _load_due(connection, ledger, max(ledger.watermark_ms, last_log_ms))
    for workspace, own in by_workspace.items():
        order_ids = {event.record.order_id for event in own if _may_release(event)}
        await _load_held_of(connection, ledger, workspace, order_ids)
    await _load_held_counts(connection, ledger, {event.record.source.uid for event in events})
    for held in ledger.held.values():
        by_workspace.setdefault(held.logged.record.workspace, []).append(held.logged)
    for workspace, own in by_workspace.items():
        await _load_orders(connection, ledger, workspace, own)
        await _load_receipts(connection, ledger, workspace, own)


def _may_release(logged: LoggedEvent) -> bool:
    """Whether events held for the order may be decided again after this one: it may announce it or change its parties.

    Only then are they loaded: a source may have a thousand waiting for one order, and go on posting.
    """
    event = logged.record.event
    if isinstance(event, StatusEvent):
        return event.status is OrderStatus.NEW and logged.record.source.role in MAY_ANNOUNCE
    return isinstance(event, OrderPlaced | OrderAmended)


async def _load_due(connection: AsyncConnection, ledger: Ledger, watermark_ms: int) -> None:
    columns = [held_events.c[name] for name in _HELD]
    rows = await connection.execute(
        select(*columns).where(held_events.c.partition == ledger.partition, held_events.c.deadline_ms <= watermark_ms)
    )
    _load_held(ledger, (tuple(row) for row in rows))


async def _load_held_of(connection: AsyncConnection, ledger: Ledger, workspace: str, order_ids: set[str]) -> None:
    rows = await select_rows(
        connection,
        held_events,
        _HELD,
        fixed={"workspace": workspace},
        many=("order_id", sorted(order_ids)),
    )
    _load_held(ledger, rows)


def _load_held(ledger: Ledger, rows: Iterable[tuple[Any, ...]]) -> None:
    for _, offset, deadline_ms, received_ms, value in rows:
        if offset in ledger.held:
            continue
        logged = read_event(offset, received_ms, bytes(value))
        if not isinstance(logged, LoggedEvent):
            raise RecordUnknown(f"partition {ledger.partition}: the held record at offset {offset} is no event")
        ledger.load(HeldEvent(logged, deadline_ms))


async def _load_held_counts(connection: AsyncConnection, ledger: Ledger, source_uids: set[str]) -> None:
    if not source_uids:
        return
    counts = await connection.execute(
        select(held_events.c.source_uid, func.count())
        .where(held_events.c.partition == ledger.partition, held_events.c.source_uid.in_(sorted(source_uids)))
        .group_by(held_events.c.source_uid)
    )
    ledger.held_by_source = Counter({row[0]: int(row[1]) for row in counts})


async def _load_orders(
    connection: AsyncConnection, ledger: Ledger, workspace: str, events: Sequence[LoggedEvent]
) -> None:
    fixed = {"workspace": workspace}
    order_ids = sorted({event.record.order_id for event in events})
    for row in await select_rows(connection, orders, ORDER_COLUMNS, fixed=fixed, many=("order_id", order_ids)):
        ledger.orders[(workspace, row[1])] = order_state(row)
    detailed = sorted(
        {event.record.order_id for event in events if isinstance(event.record.event, OrderPlaced | OrderAmended)}
    )
    columns = ("order_id", "details", "erased")
    for row in await select_rows(connection, order_details, columns, fixed=fixed, many=("order_id", detailed)):
        ledger.details[(workspace, row[0])] = Details(orjson.loads(row[1]), bool(row[2]))
    names = ("order_id", "external_id")
    for row in await select_rows(connection, order_external_ids, names, fixed=fixed, many=("order_id", detailed)):
        ledger.details.setdefault((workspace, row[0]), Details()).external_ids.add(row[1])


async def _load_receipts(
    connection: AsyncConnection, ledger: Ledger, workspace: str, events: Sequence[LoggedEvent]
) -> None:
    fixed = {"workspace": workspace}
    digests = sorted({event.record.receipt_digest for event in events})
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
