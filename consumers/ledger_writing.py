"""Writes what a batch changed: one statement a table, in the fenced transaction.

Rows go in sorted by key, so that two workers can never wait for each other in a circle.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.bulk import delete_rows, insert_rows
from backbone.store.tables import (
    event_payloads,
    held_events,
    order_details,
    order_external_ids,
    order_parties,
    orders,
    receipts,
    reused_event_ids,
    trail,
)
from consumers.ledger import Ledger
from consumers.ledger_reading import RECEIPT_COLUMNS
from consumers.logged_event import LoggedEvent
from consumers.order_rows import ORDER_COLUMNS, order_row
from schemas.events import StatusEvent
from schemas.outcomes import TrailRow
from schemas.records import OperatorRecord, dump_record

_TRAIL = tuple(field.name for field in fields(TrailRow))
_trail_values = attrgetter(*_TRAIL)
_receipt_values = attrgetter(*RECEIPT_COLUMNS)
_HELD = (
    "workspace",
    "partition",
    "offset",
    "order_id",
    "source_uid",
    "digest",
    "kind",
    "deadline_ms",
    "received_ms",
    "record",
)
_PAYLOADS = (
    "workspace",
    "partition",
    "offset",
    "order_id",
    "payload",
    "salt",
    "comment",
    "cancel_reason",
    "attributes",
)


async def write_changes(connection: AsyncConnection, ledger: Ledger) -> None:
    """All changes of the ledger. Raises what the database raises; the transaction is then the caller's to roll back."""
    changes, partition = ledger.changes, ledger.partition
    await insert_rows(
        connection, trail, (*_TRAIL, "hash"), [(*_trail_values(row), row_hash) for row, row_hash in changes.rows]
    )
    await insert_rows(
        connection,
        event_payloads,
        _PAYLOADS,
        [_payload_row(partition, logged) for logged in changes.arrivals],
    )
    await insert_rows(
        connection,
        receipts,
        ("workspace", "digest", "partition", *RECEIPT_COLUMNS),
        [(*key, partition, *_receipt_values(ledger.receipts[key])) for key in sorted(changes.receipts)],
        on_conflict="update",
    )
    await insert_rows(
        connection,
        reused_event_ids,
        ("workspace", "digest", "offset", "partition", "content_digest", "repeat"),
        [
            (*logged.receipt_key, logged.offset, partition, logged.content, is_repeat)
            for logged, is_repeat in changes.reused
        ],
    )
    await _write_orders(connection, ledger)
    await _write_held(connection, ledger)


async def _write_orders(connection: AsyncConnection, ledger: Ledger) -> None:
    changes = ledger.changes
    await insert_rows(
        connection,
        orders,
        ORDER_COLUMNS,
        [order_row(ledger.orders[key], ledger.partition) for key in sorted(changes.orders)],
        on_conflict="update",
    )
    await insert_rows(
        connection,
        order_parties,
        ("workspace", "slot", "party", "order_id", "former", "announced_ms"),
        sorted(_party_rows(ledger)),
        on_conflict="update",
    )
    await insert_rows(
        connection,
        order_external_ids,
        ("workspace", "external_id", "order_id"),
        sorted(changes.external_ids),
        on_conflict="ignore",
    )
    await insert_rows(
        connection,
        order_details,
        ("workspace", "order_id", "details", "erased"),
        [
            (*key, orjson.dumps(ledger.details[key].content).decode(), ledger.details[key].erased)
            for key in sorted(changes.details)
        ],
        on_conflict="update",
    )


def _party_rows(ledger: Ledger) -> list[tuple[Any, ...]]:
    rows: dict[tuple[str, str, str, str], tuple[Any, ...]] = {}
    for key in ledger.changes.renamed:
        order = ledger.orders[key]
        for slot, gone in order.former.items():
            for party in gone:
                rows[(key[0], slot, party, key[1])] = (True, order.announced_ms)
        for slot, party in order.parties.items():
            rows[(key[0], slot, party, key[1])] = (False, order.announced_ms)
    return [(*key, *row) for key, row in rows.items()]


async def _write_held(connection: AsyncConnection, ledger: Ledger) -> None:
    changes, partition = ledger.changes, ledger.partition
    await delete_rows(
        connection, held_events, fixed={"partition": partition}, many=("offset", sorted(changes.released))
    )
    rows = []
    for offset in sorted(changes.held):
        held = ledger.held[offset]
        record = held.logged.record
        rows.append(
            (
                record.workspace,
                partition,
                offset,
                record.order_id,
                record.source.uid,
                record.receipt_digest,
                "foreign",
                held.deadline_ms,
                held.logged.log_ms,
                dump_record(record.model_copy(update={"payload": None})),  # its body lies in event_payloads
            )
        )
    await insert_rows(connection, held_events, _HELD, rows)


def _payload_row(partition: int, logged: LoggedEvent) -> tuple[Any, ...]:
    record, event = logged.record, logged.record.event
    reason, attributes = (event.reason, event.attributes) if isinstance(event, StatusEvent) else (None, ())
    return (
        record.workspace,
        partition,
        logged.offset,
        record.order_id,
        logged.payload,
        record.salt,
        record.why if isinstance(record, OperatorRecord) and event.comment is None else event.comment,
        reason,
        orjson.dumps(attributes).decode(),
    )
