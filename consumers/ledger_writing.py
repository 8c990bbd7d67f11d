"""Writes what a batch changed: one statement a table, in the fenced transaction.

Rows go in sorted by key, so that two workers can never wait for each other in a circle.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.bulk import delete_rows, insert_rows
from backbone.store.tables import (
    dead_letters,
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
from consumers.erased_rows import erase_external_ids, erase_rows
from consumers.ledger import Ledger
from consumers.ledger_entries import HeldEvent
from consumers.ledger_reading import DEAD_LETTER_COLUMNS, RECEIPT_COLUMNS
from consumers.logged_event import LoggedEvent
from consumers.order_rows import ORDER_COLUMNS, order_row
from consumers.stripping import ERASED
from schemas.outcomes import TrailRow
from schemas.records import ApplicableRecord, dump_record

TRAIL_COLUMNS = TrailRow._fields
_receipt_values = attrgetter(*RECEIPT_COLUMNS)
HELD_COLUMNS = (
    "workspace",
    "partition",
    "offset",
    "order_id",
    "source_uid",
    "digest",
    "kind",
    "deadline_ms",
    "content_digest",
    "received_ms",
    "record",
)
PAYLOAD_COLUMNS = (
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
PARTY_COLUMNS = ("workspace", "slot", "party", "order_id", "former", "announced_ms")


async def write_changes(connection: AsyncConnection, ledger: Ledger) -> None:
    """All changes of the ledger. Raises what the database raises; the transaction is then the caller's to roll back."""
    changes, partition = ledger.changes, ledger.partition
    await insert_rows(connection, trail, (*TRAIL_COLUMNS, "hash"), [(*row, row_hash) for row, row_hash in changes.rows])
    await insert_rows(
        connection,
        event_payloads,
        PAYLOAD_COLUMNS,
        [payload_row(partition, logged) for logged in changes.arrivals],
        on_conflict="ignore",  # a replayed event has come before
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
    if changes.dead_letters:
        await _write_dead_letters(connection, ledger)
    for erasure in changes.erasures:
        await erase_rows(connection, partition, erasure)


async def _write_orders(connection: AsyncConnection, ledger: Ledger) -> None:
    changes = ledger.changes
    await insert_rows(
        connection,
        orders,
        ORDER_COLUMNS,
        [order_row(ledger.orders[key], ledger.partition, ledger.is_parked(key)) for key in sorted(changes.orders)],
        on_conflict="update",
    )
    await insert_rows(
        connection,
        order_parties,
        PARTY_COLUMNS,
        sorted(_party_rows(ledger)),
        on_conflict="update",
    )
    for erasure in changes.erasures:
        await erase_external_ids(connection, erasure)
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
    rows = [held_row(partition, ledger.held[offset]) for offset in sorted(changes.held | changes.reheld)]
    await insert_rows(connection, held_events, HELD_COLUMNS, rows, on_conflict="update" if changes.reheld else "fail")


def held_row(partition: int, held: HeldEvent) -> tuple[Any, ...]:
    """A waiting event as a row in the order of HELD_COLUMNS."""
    logged, record = held.logged, held.logged.record
    return (
        record.workspace,
        partition,
        logged.offset,
        record.order_id,
        record.source.uid,
        record.receipt_digest,
        held.kind.value,
        held.deadline_ms,
        logged.content,
        logged.log_ms,
        dump_record(record.model_copy(update={"payload": None})),  # its body lies in event_payloads
    )


async def _write_dead_letters(connection: AsyncConnection, ledger: Ledger) -> None:
    letters = [ledger.dead_letters[pair] for pair in sorted(ledger.changes.dead_letters)]
    columns = ("workspace", "partition", *(name for name in DEAD_LETTER_COLUMNS if name != "workspace"))
    rows = [
        (letter.workspace, ledger.partition, *(getattr(letter, name) for name in columns[2:])) for letter in letters
    ]
    await insert_rows(connection, dead_letters, columns, rows, on_conflict="update")


def payload_row(partition: int, logged: LoggedEvent) -> tuple[Any, ...]:
    """What an event brought that may be erased, as a row in the order of PAYLOAD_COLUMNS."""
    record, event = logged.record, logged.record.event
    reason, attributes = (event.reason, event.attributes) if event.type == "status" else (None, ())
    return (
        record.workspace,
        partition,
        logged.offset,
        record.order_id,
        logged.payload,
        record.salt or None,  # an erased one is empty
        event.comment if event.comment is not None else _why(record),
        reason,
        orjson.dumps(attributes).decode(),
    )


def _why(record: ApplicableRecord) -> str | None:
    """Why an operator did it. Of a record that was erased before it is written, what an erasure leaves of a row."""
    return record.why if record.kind == "operator" and record.why != ERASED else None
