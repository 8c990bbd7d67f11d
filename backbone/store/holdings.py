"""What the store holds of an order that an erasure would take away.

Read for people before and after an erasure, and by retention to find what is old. Nothing here erases: that is a
record in the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, Table, and_, case, func, literal, or_, select

from backbone.store.engine import Store
from backbone.store.tables import (
    courier_positions,
    dead_letters,
    event_payloads,
    held_events,
    order_details,
    order_external_ids,
    orders,
    trail,
)
from schemas.dead_letters import PROCESS_DIED_READING
from schemas.identifiers import DEFAULT_WORKSPACE
from schemas.records import Erasable
from schemas.statuses import Role

_ORDERS_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """How much of one order is left that could be erased, by kind. Numbers count rows that have something left."""

    bodies: int = 0
    """Events whose request body, or the salt of its digest, is there."""
    notes: int = 0
    """Events with a comment, a reason or attributes."""
    details: int = 0
    external_ids: int = 0
    positions: int = 0
    waiting: int = 0
    """Events without a verdict yet."""
    set_aside: int = 0
    """Dead letters."""
    in_records: frozenset[Erasable] = frozenset()
    """The classes of which something is in the records of events that wait or were set aside."""

    def has(self, erasable: Erasable) -> bool:
        """Whether something of that class is left."""
        if erasable in self.in_records:
            return True
        if erasable is Erasable.PAYLOADS:
            return self.bodies > 0
        return self.notes + self.details + self.external_ids + self.positions > 0

    def as_document(self) -> dict[str, int]:
        """As it is printed."""
        return {name: getattr(self, name) for name in _KINDS}


_KINDS = ("bodies", "notes", "details", "external_ids", "positions", "waiting", "set_aside")
NOTHING = Holdings()


class HoldingsReadings:
    """Reads one workspace. All methods raise StoreUnavailable and may be repeated."""

    def __init__(self, store: Store, workspace: str = DEFAULT_WORKSPACE) -> None:
        self._store = store
        self._workspace = workspace

    async def holdings(self, order_ids: Sequence[str]) -> dict[str, Holdings]:
        """What is left of each order; those of which nothing is left are not in it."""
        found: dict[str, Counter[str]] = {}
        in_records: dict[str, set[Erasable]] = {}
        async with self._store.reading() as connection:
            for some in _chunks(order_ids):
                for name, query in self._counts(some).items():
                    for order_id, count in await connection.execute(query):
                        found.setdefault(order_id, Counter())[name] = count
                for name, table in (("waiting", held_events), ("set_aside", dead_letters)):
                    records = select(table.c.order_id, _kept(table)).where(
                        self._are_of(table, some), table.c.record.is_not(None)
                    )
                    for order_id, record in await connection.execute(records):
                        if left := classes_in(bytes(record)):
                            found.setdefault(order_id, Counter())[name] += 1
                            in_records.setdefault(order_id, set()).update(left)
        return {
            order_id: Holdings(**counts, in_records=frozenset(in_records.get(order_id, ())))
            for order_id, counts in found.items()
        }

    async def left_before(self, places: Mapping[str, tuple[int, int]]) -> dict[str, set[Erasable]]:
        """The classes of which something is left of each order's events that lie before a record of its partition,
        named by partition and offset. What shows no offset (details, other ids, positions) is not looked at.
        """
        left: dict[str, set[Erasable]] = {}
        async with self._store.reading() as connection:
            for order_id, (partition, offset) in places.items():
                found = left.setdefault(order_id, set())
                own = event_payloads.c
                earlier = (self._are_of(event_payloads, [order_id]), own.partition == partition, own.offset < offset)
                for erasable, has in ((Erasable.PAYLOADS, has_body()), (Erasable.PERSONAL, has_note())):
                    if await connection.scalar(select(own.offset).where(*earlier, has).limit(1)) is not None:
                        found.add(erasable)
                for table, at in ((held_events, held_events.c.offset), (dead_letters, dead_letters.c.event_offset)):
                    records = select(_kept(table)).where(
                        self._are_of(table, [order_id]), table.c.partition == partition, at < offset
                    )
                    for record in await connection.scalars(records.where(table.c.record.is_not(None))):
                        found |= classes_in(bytes(record))
        return left

    async def known(self, order_ids: Sequence[str]) -> set[str]:
        """Those of which the store has an order or an event, erased or not."""
        seen: set[str] = set()
        async with self._store.reading() as connection:
            for some in _chunks(order_ids):
                for table in (orders, trail, held_events, dead_letters):
                    query = select(table.c.order_id).where(self._are_of(table, some)).distinct()
                    seen.update(await connection.scalars(query))
        return seen

    async def carriers(self, order_ids: Sequence[str]) -> dict[str, set[str]]:
        """Other orders under which a request body is kept that told of these orders too: `{carrier: {order}}`.

        A request may hold events of several orders, and its body is kept once, with its first event. Looking for it
        goes over the whole trail, and only where an order has an event that came behind another one.
        """
        digests: dict[str, set[str]] = {}
        of_event = _is_of(trail, event_payloads)
        async with self._store.reading() as connection:
            for some in _chunks(order_ids):
                behind = (
                    select(trail.c.payload_digest, trail.c.order_id)
                    .join_from(trail, event_payloads, of_event)
                    .where(
                        self._are_of(trail, some),
                        event_payloads.c.payload.is_(None),
                        trail.c.role != Role.OPERATOR.value,
                    )
                    .distinct()
                )
                for digest, order_id in await connection.execute(behind):
                    digests.setdefault(digest, set()).add(order_id)
            found: dict[str, set[str]] = {}
            for some in _chunks(sorted(digests)):
                carrying = (
                    select(trail.c.order_id, trail.c.payload_digest)
                    .join_from(trail, event_payloads, of_event)
                    .where(trail.c.payload_digest.in_(some), event_payloads.c.payload.is_not(None))
                    .distinct()
                )
                for carrier, digest in await connection.execute(carrying):
                    found.setdefault(carrier, set()).update(digests[digest])
        return {carrier: told - {carrier} for carrier, told in found.items() if carrier not in set(order_ids)}

    async def set_aside(self, places: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
        """Those of the records, each named by partition and offset, whose own handling failed for good."""
        wanted = set(places)
        own = dead_letters.c
        query = select(own.partition, own.in_hand_offset).where(
            own.workspace == self._workspace, own.in_hand_offset == own.event_offset, own.state == "open"
        )
        async with self._store.reading() as connection:
            return wanted & {(partition, offset) for partition, offset in await connection.execute(query)}

    def _are_of(self, table: Table, order_ids: Sequence[str]) -> ColumnElement[bool]:
        return and_(table.c.workspace == self._workspace, table.c.order_id.in_(order_ids))

    def _counts(self, some: Sequence[str]) -> Mapping[str, Select[Any]]:
        def count(table: Table, *conditions: ColumnElement[bool]) -> Select[Any]:
            return (
                select(table.c.order_id, func.count())
                .where(self._are_of(table, some), *conditions)
                .group_by(table.c.order_id)
            )

        return {
            "bodies": count(event_payloads, has_body()),
            "notes": count(event_payloads, has_note()),
            "details": count(order_details, order_details.c.details != "{}"),
            "external_ids": count(order_external_ids),
            "positions": count(courier_positions),
        }


def _kept(table: Table) -> ColumnElement[bytes]:
    """The record's value; nothing of one that is not to be parsed, and it may hold anything then."""
    if table is not dead_letters:
        return held_events.c.record
    return case((dead_letters.c.error == PROCESS_DIED_READING, literal(b"")), else_=dead_letters.c.record)


def classes_in(record: bytes) -> set[Erasable]:
    """The classes of which a record's value has something. One that cannot be read may hold anything."""
    try:
        document = orjson.loads(record)
    except orjson.JSONDecodeError:
        return set(Erasable)
    if not isinstance(document, dict) or "original" in document:
        return set(Erasable)
    event = document.get("event")
    told = event if isinstance(event, dict) else {}
    left = {Erasable.PAYLOADS} if any(document.get(name) for name in ("payload", "salt")) else set()
    if any(told.get(name) for name in ("comment", "reason", "attributes", "details", "external_ids")):
        left.add(Erasable.PERSONAL)
    return left


def has_body() -> ColumnElement[bool]:
    """The condition that an event's payload row has something of class `payloads`."""
    return or_(event_payloads.c.payload.is_not(None), event_payloads.c.salt.is_not(None))


def has_note() -> ColumnElement[bool]:
    """The condition that an event's payload row has something of class `personal`."""
    own = event_payloads.c
    return or_(own.comment.is_not(None), own.cancel_reason.is_not(None), own.attributes != "[]")


def _is_of(one: Table, other: Table) -> ColumnElement[bool]:
    return and_(
        one.c.workspace == other.c.workspace, one.c.partition == other.c.partition, one.c.offset == other.c.offset
    )


def _chunks(values: Iterable[str]) -> Iterable[list[str]]:
    rest = iter(values)
    while some := list(islice(rest, _ORDERS_AT_ONCE)):
        yield some
