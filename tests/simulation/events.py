"""From a plan's events and acts to records of the received log."""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from typing import Any

import orjson

from backbone.eventlog.partitioner import partition_of
from backbone.eventlog.port import NewRecord
from backbone.eventlog.received import act_to_log
from schemas.cloudevents import RECEIVED_TYPE, cloudevent_headers
from schemas.events import AnyEvent, FactEvent, OrderAmended, OrderPlaced, StatusEvent
from schemas.identifiers import DEFAULT_WORKSPACE, record_key
from schemas.records import ApplicableRecord, DiscardRecord, Erasable, EraseRecord, ReplayRecord
from schemas.statuses import OrderStatus, Role
from schemas.times import TimeMark
from tests.simulation.generator import SOURCES
from tests.simulation.plans import Act, Event, Garbage, Poison
from tests.support.received import START_MS, event_record

_POISON_US: dict[Poison, int] = {"": 0, "fails": 100, "kills": 200, "kills_reader": 300}
"""Poison shows in the microseconds of the sender's time: nothing else of an event is left alone by an erasure."""


def make_record(event: Event) -> ApplicableRecord:
    """The record that ingress would have made of it."""
    by = SOURCES[event.source]
    return event_record(event.order, _content(event), by, event_id=event.id)


def _content(event: Event) -> AnyEvent:
    """Whatever can be erased is in it. An operator says why, which is kept where others' comments are."""
    occurred_us, mark = _occurred(event)
    comment = None if SOURCES[event.source].role is Role.OPERATOR else f"about {event.id}"
    common: dict[str, Any] = {"occurred_us": occurred_us, "occurred_mark": mark, "comment": comment}
    if event.what == "status":
        said = {"reason": f"because of {event.id}", "attributes": (f"part of {event.id}",)}
        return StatusEvent.model_validate({"status": OrderStatus(event.status), **common, **said})
    if event.what == "fact":
        return FactEvent.model_validate({"code": "courier_assigned", **common})
    named = {"restaurant": event.restaurant, "courier": event.courier}
    common["parties"] = {slot: party for slot, party in named.items() if party}
    extra = {"details": {"remarks": f"of {event.id}"}, "external_ids": (f"x-{event.id}",)}
    kind = OrderPlaced if event.what == "placed" else OrderAmended
    return kind.model_validate({**common, **extra})


def _occurred(event: Event) -> tuple[int | None, TimeMark | None]:
    poison_us = _POISON_US[event.poison] + event.times if event.poison else 0
    if event.occurred_ms is None:
        return (poison_us or None), TimeMark.MISSING if not poison_us else TimeMark.IMPLAUSIBLE
    return (START_MS + event.occurred_ms) * 1000 + poison_us, None


def poison_of(occurred_us: int | None) -> tuple[Poison, int]:
    """The poison that was mixed into an event's time, and how often it works (0: always)."""
    us = (occurred_us or 0) % 1000
    name = max((name for name, least in _POISON_US.items() if us >= least), key=_POISON_US.__getitem__)
    return name, us - _POISON_US[name] if name else 0


def garbage(deed: Garbage, partitions: int) -> NewRecord:
    """What nobody can read, under the key of an order."""
    key = record_key(DEFAULT_WORKSPACE, deed.order)
    headers = cloudevent_headers(
        event_id=f"garbage-{deed.order}", event_type=RECEIVED_TYPE, source="/sources/broken", subject=deed.order
    )
    return NewRecord(partition_of(key, partitions), key, b'{"kind":"event","order_id":', headers)


def open_dead_letters(reader: sqlite3.Connection) -> int:
    """How many wait for a person."""
    count: int = reader.execute("SELECT COUNT(*) FROM dead_letters WHERE state = 'open'").fetchone()[0]
    return count


def make_act(deed: Act, event_id: str, reader: sqlite3.Connection, partitions: int) -> NewRecord | None:
    """A person's act on what the store shows at this moment; None where there is no dead letter to act on."""
    common: dict[str, Any] = {
        "event_id": event_id,
        "workspace": DEFAULT_WORKSPACE,
        "actor": "somebody",
        "why": "to see what happens",
    }
    if deed.act == "erase":
        classes = tuple(Erasable) if deed.number == 0 else (list(Erasable)[deed.number % len(Erasable)],)
        return act_to_log(EraseRecord(**common, order_id=deed.order, classes=classes), partitions)
    found = reader.execute(
        'SELECT "partition", in_hand_offset, event_offset, order_id, received_ms, content_digest, record '
        "FROM dead_letters ORDER BY state <> 'open', \"partition\", seq"
    ).fetchall()
    if not found:
        return None
    still_open = open_dead_letters(reader)
    partition, in_hand, event, order_id, received_ms, content, value = found[deed.number % (still_open or len(found))]
    common |= {"order_id": order_id, "in_hand_offset": in_hand, "event_offset": event}
    if deed.act == "discard":
        return act_to_log(DiscardRecord(**common), partitions, partition=partition)
    carried = {"received_ms": received_ms, "content": content or "", "original": b64encode(value or b"").decode()}
    return act_to_log(ReplayRecord(**common, **carried), partitions, partition=partition)


def describe_act(deed: Act, new: NewRecord) -> str:
    """What a person wants."""
    named = orjson.loads(new.value)
    if deed.act == "erase":
        return f"{named['event_id']}: erase {' and '.join(named['classes'])} of {named['order_id']}"
    return f"{named['event_id']}: {deed.act} the pair ({named['in_hand_offset']}, {named['event_offset']})"
