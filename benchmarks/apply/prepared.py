"""The rows that mealtrail writes for a stretch of the log, made beforehand, for a program that only writes them.

The records are folded in memory by the product's own code, batch by batch, as the applier would meet them; what each
batch changed becomes lists that a driver takes as they are. So the bound writes the very rows that the applier writes,
with decisions made and hashes computed before its clock starts.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import orjson

from backbone.eventlog.port import LogRecord
from backbone.eventlog.received import event_id_of
from consumers.applier import parse_records
from consumers.fold import fold
from consumers.ledger import Ledger
from consumers.ledger_entries import Changes
from consumers.ledger_reading import RECEIPT_COLUMNS
from consumers.ledger_writing import PARTY_COLUMNS, PAYLOAD_COLUMNS, TRAIL_COLUMNS, payload_row
from consumers.order_rows import ORDER_COLUMNS, order_row

COPIED: dict[str, tuple[str, ...]] = {"trail": (*TRAIL_COLUMNS, "hash"), "event_payloads": PAYLOAD_COLUMNS}
"""Tables whose rows are always new, and their columns: rows as tuples, for COPY."""
UPSERTED: dict[str, tuple[str, ...]] = {
    "receipts": ("workspace", "digest", "partition", *RECEIPT_COLUMNS),
    "orders": ORDER_COLUMNS,
    "order_parties": PARTY_COLUMNS,
    "order_details": ("workspace", "order_id", "details", "erased"),
}
"""Tables whose rows may be there, and their columns: one list a column, for UNNEST."""

_receipt_values = attrgetter(*RECEIPT_COLUMNS)


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """What one transaction writes."""

    partition: int
    start: int
    end: int
    head: tuple[str | None, int, int, bytes]
    """Of the offsets row: last event id, watermark, seq, hash."""
    workspace: str
    order_ids: list[str]
    """Orders that its events name, sorted: what a decision would have to lock and read."""
    copied: dict[str, list[tuple[Any, ...]]]
    upserted: dict[str, list[list[Any]]]


def prepare(records: Iterable[LogRecord], *, batch_size: int) -> list[PreparedBatch]:
    """All batches of the records (each partition's from its first on, in order), the partitions taking turns.

    Raises ValueError for records that would leave anything but verdicts: held events, dead letters and erasures have no
    counterpart here.
    """
    of_partition: dict[int, list[LogRecord]] = {}
    for record in records:
        of_partition.setdefault(record.partition, []).append(record)
    prepared = [
        _prepare_partition(partition, records_of, batch_size) for partition, records_of in sorted(of_partition.items())
    ]
    turns = max(map(len, prepared), default=0)
    return [batches[turn] for turn in range(turns) for batches in prepared if turn < len(batches)]


def _prepare_partition(partition: int, records: Sequence[LogRecord], batch_size: int) -> list[PreparedBatch]:
    ledger, batches = Ledger(partition=partition), []
    for begin in range(0, len(records), batch_size):
        ledger.changes = Changes()
        batch = records[begin : begin + batch_size]
        for entry in parse_records(partition, batch):
            fold(ledger, entry)
        batches.append(_prepare_batch(ledger, batch))
    return batches


def _prepare_batch(ledger: Ledger, records: Sequence[LogRecord]) -> PreparedBatch:
    changes, partition = ledger.changes, ledger.partition
    strange = (changes.held, changes.reused, changes.dead_letters, changes.erasures, changes.external_ids)
    if any(strange):
        raise ValueError(f"partition {partition}: a batch does more than to move orders")
    keys = sorted({_order_key(record) for record in records})
    upserted = {
        "receipts": [(*key, partition, *_receipt_values(ledger.receipts[key])) for key in sorted(changes.receipts)],
        "orders": [order_row(ledger.orders[key], partition) for key in sorted(changes.orders)],
        "order_parties": [
            (key[0], slot, party, key[1], False, order.announced_ms)
            for key in sorted(changes.renamed)
            for order in [ledger.orders[key]]
            for slot, party in sorted(order.parties.items())
        ],
        "order_details": [
            (*key, orjson.dumps(ledger.details[key].content).decode(), False) for key in sorted(changes.details)
        ],
    }
    trail_values = attrgetter(*TRAIL_COLUMNS)
    return PreparedBatch(
        partition=partition,
        start=records[0].offset,
        end=records[-1].offset + 1,
        head=(event_id_of(records[-1].headers), ledger.watermark_ms, ledger.seq, ledger.hash),
        workspace=keys[0][0],
        order_ids=[order_id for _, order_id in keys],
        copied={
            "trail": [(*trail_values(row), row_hash) for row, row_hash in changes.rows],
            "event_payloads": [payload_row(partition, logged) for logged in changes.arrivals],
        },
        upserted={table: [list(column) for column in zip(*rows, strict=True)] for table, rows in upserted.items()},
    )


def _order_key(record: LogRecord) -> tuple[str, str]:
    assert record.key is not None
    workspace, _, order_id = record.key.decode().partition(":")
    return workspace, order_id


def save(batches: Sequence[PreparedBatch], path: Path) -> None:
    """Keeps batches in a file for another process."""
    with path.open("wb") as file:
        for batch in batches:
            pickle.dump(batch, file, pickle.HIGHEST_PROTOCOL)


def load(path: Path) -> list[PreparedBatch]:
    """The batches of a file that `save` wrote."""
    batches: list[PreparedBatch] = []
    with path.open("rb") as file:
        while file.peek(1):
            batches.append(pickle.load(file))
    return batches
