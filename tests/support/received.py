"""Makes received records for tests: an order's life as a list, with a log time for each."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from backbone.eventlog.port import LogRecord, NewRecord
from backbone.eventlog.received import act_to_log, tick_to_log, to_log
from schemas.events import AnyEvent, OrderPlaced, StatusEvent
from schemas.identifiers import DEFAULT_WORKSPACE, receipt_digest, record_key
from schemas.records import (
    AnyRecord,
    ApplicableRecord,
    DiscardRecord,
    Erasable,
    EraseRecord,
    EventRecord,
    OperatorRecord,
    ReplayRecord,
    SourceStamp,
    TickRecord,
    digest_event,
    dump_record,
)
from schemas.statuses import OrderStatus, Role
from schemas.times import TimeMark

START_MS = 1_790_000_000_000
_ids = count(1)


@dataclass(frozen=True)
class Broken:
    """Bytes in the log that nobody can read; their key names an order, or none."""

    order_id: str | None
    value: bytes = b'{"kind":"event","event":'


LogItem = AnyRecord | Broken
"""Something that lies in a log."""
Timed = tuple[LogItem, int]
"""The same with its log time, ms after START_MS."""


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


def replayed(original: LogItem, pair: tuple[int, int], *, order: str, log_ms: int = START_MS) -> ReplayRecord:
    """A person's replay of a pair, with the original as the log has it."""
    value = original.value if isinstance(original, Broken) else dump_record(original)
    content = digest_event(original.event) if isinstance(original, EventRecord | OperatorRecord) else ""
    return ReplayRecord(
        **_act(order),
        in_hand_offset=pair[0],
        event_offset=pair[1],
        received_ms=log_ms,
        content=content,
        original=b64encode(value).decode(),
    )


def discarded(pair: tuple[int, int], *, order: str) -> DiscardRecord:
    """A person's discard of a pair."""
    return DiscardRecord(**_act(order), in_hand_offset=pair[0], event_offset=pair[1])


def erased(order: str, *classes: Erasable) -> EraseRecord:
    """A person's erasure of an order's data, of all classes unless some are named."""
    return EraseRecord(**_act(order), classes=classes or tuple(Erasable))


def _act(order: str) -> dict[str, Any]:
    return {
        "event_id": f"act-{next(_ids)}",
        "workspace": DEFAULT_WORKSPACE,
        "order_id": order,
        "actor": "ann",
        "why": "the release is repaired",
    }


def logged(records: Sequence[Timed], *, partition: int = 0, start: int = 0) -> list[LogRecord]:
    """Records as the log of one partition holds them; each comes with its log time, ms after START_MS."""
    return [
        LogRecord(partition, offset, START_MS + after_ms, new.key, new.value, new.headers)
        for offset, (new, after_ms) in enumerate(
            ((new_record(record, partition=partition), after_ms) for record, after_ms in records), start
        )
    ]


def new_record(record: LogItem, *, partitions: int = 1, partition: int | None = None) -> NewRecord:
    """The record ready to append, in the partition of its order (ticks and broken ones need `partition`)."""
    if isinstance(record, Broken):
        key = None if record.order_id is None else record_key(DEFAULT_WORKSPACE, record.order_id)
        return NewRecord(partition or 0, key, record.value, ())
    if isinstance(record, TickRecord):
        return tick_to_log(record, partition or 0)
    if isinstance(record, EventRecord | OperatorRecord):
        new = to_log(record, partitions)
    else:
        new = act_to_log(record, partitions)
    return new if partition is None else new._replace(partition=partition)
