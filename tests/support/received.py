"""Makes received records for tests: an order's life as a list, with a log time for each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from backbone.eventlog.port import LogRecord, NewRecord
from backbone.eventlog.received import tick_to_log, to_log
from schemas.events import AnyEvent, OrderPlaced, StatusEvent
from schemas.identifiers import DEFAULT_WORKSPACE, receipt_digest
from schemas.records import ApplicableRecord, EventRecord, OperatorRecord, SourceStamp, TickRecord
from schemas.statuses import OrderStatus, Role
from schemas.times import TimeMark

START_MS = 1_790_000_000_000
_ids = count(1)


def source(role: Role | str, *parties: str, uid: str | None = None, **stamp: Any) -> SourceStamp:
    """A source's stamp; without parties it speaks for all."""
    name = uid or f"{role}-{'-'.join(parties) or 'all'}"
    return SourceStamp(uid=f"uid-{name}", name=name, role=Role(role), parties=parties or None, **stamp)


def status(value: OrderStatus | str, occurred_us: int | None = None, **fields: Any) -> StatusEvent:
    """A status event; without a time it is marked missing."""
    mark = TimeMark.MISSING if occurred_us is None else None
    return StatusEvent(status=OrderStatus(value), occurred_us=occurred_us, occurred_mark=mark, **fields)


def placed(**parties: str) -> OrderPlaced:
    """An announcement that names parties."""
    return OrderPlaced.model_validate({"parties": parties, "occurred_mark": TimeMark.MISSING})


def event_record(order_id: str, event: AnyEvent, by: SourceStamp, *, event_id: str | None = None) -> ApplicableRecord:
    """The record that ingress would make, with salt and keys that depend on nothing but the arguments."""
    event_id = event_id or f"evt-{next(_ids)}"
    digest = receipt_digest(by.uid.encode(), order_id, event_id)
    common: dict[str, Any] = {
        "event_id": event_id,
        "workspace": DEFAULT_WORKSPACE,
        "order_id": order_id,
        "source": by,
        "event": event,
        "receipt_digest": digest,
        "salt": digest,
        "payload": "e30=",
        "payload_digest": hashlib.sha256(digest.encode()).hexdigest(),
    }
    if by.role is Role.OPERATOR:
        return OperatorRecord(**common, actor=by.name, why="asked by the restaurant")
    return EventRecord(**common)


def tick() -> TickRecord:
    """A tick with an id of its own."""
    return TickRecord(event_id=f"tick-{next(_ids)}")


def logged(
    records: Sequence[tuple[ApplicableRecord | TickRecord, int]], *, partition: int = 0, start: int = 0
) -> list[LogRecord]:
    """Records as the log of one partition holds them; each comes with its log time, ms after START_MS."""
    return [
        LogRecord(partition, offset, START_MS + after_ms, new.key, new.value, new.headers)
        for offset, (new, after_ms) in enumerate(
            ((new_record(record, partition=partition), after_ms) for record, after_ms in records), start
        )
    ]


def new_record(
    record: ApplicableRecord | TickRecord, *, partitions: int = 1, partition: int | None = None
) -> NewRecord:
    """The record ready to append, in the partition of its order (ticks need `partition`)."""
    if isinstance(record, TickRecord):
        return tick_to_log(record, partition or 0)
    new = to_log(record, partitions)
    return new if partition is None else replace(new, partition=partition)
