"""A full topic: the lives of many orders, interleaved, as ingress would have put them there.

The bodies are parsed by the native dialect and stamped by ingress's own code. A few hundred orders are under way at any
time, so every stretch of the log has the same mixture: announcements, moves, about 2% of exact repeats (a partner that
did not hear our answer) and about 2% of moves that come too late to be legal.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from random import Random

import orjson
from multidict import CIMultiDict, CIMultiDictProxy

from backbone.eventlog.port import EventLog, NewRecord
from backbone.store.sources import Source
from schemas.identifiers import DEFAULT_WORKSPACE
from schemas.records import DEFAULT_HOLD_MS, DEFAULT_SKEW_MS
from schemas.statuses import Policy, Role
from service.dialects.native import NativeDialect
from service.dialects.port import Inbound, ParsedEvent
from service.ingress.announcements import read_announcement
from service.ingress.stamping import stamp

UNDER_WAY = 300
RESTAURANTS = COURIERS = 8
_MOVES = (
    (Role.RESTAURANT, "ACCEPTED_BY_RESTAURANT"),
    (Role.RESTAURANT, "COOKING"),
    (Role.RESTAURANT, "READY"),
    (Role.COURIER, "TAKEN_BY_COURIER"),
    (Role.COURIER, "DELIVERED"),
)
_REPEATED, _ILLEGAL = 0.03, 0.02
_CHUNK = 2000
_SEED = 20


def make_source(role: Role, *parties: str) -> Source:
    """A source as the store would give it; without parties it speaks for all."""
    name = "-".join([role.value, *parties])
    return Source(
        workspace=DEFAULT_WORKSPACE,
        uid=f"uid-{name}",
        name=name,
        dialect="native",
        role=role,
        parties=parties or None,
        policy=Policy.FORWARD,
        hold_ms=DEFAULT_HOLD_MS,
        skew_ms=DEFAULT_SKEW_MS,
        rate=1000,
        auth="standard-webhooks",
        url=None,
        receipt_key=secrets.token_bytes(32),
        secrets=(),
        token_hashes=(),
        created_at=0,
        disabled_at=None,
    )


class Story:
    """Endless orders, one record at a time."""

    def __init__(self, *, partitions: int) -> None:
        self._partitions = partitions
        self._random = Random(_SEED)
        self._native = NativeDialect()
        self._platform = make_source(Role.PLATFORM)
        self._sources = {
            (role, number): make_source(role, f"{role.value}-{number}")
            for role, count in ((Role.RESTAURANT, RESTAURANTS), (Role.COURIER, COURIERS))
            for number in range(count)
        }
        self._orders = 0
        self._events = 0

    def records(self, count: int) -> Iterator[NewRecord]:
        """The next records. They are made as they are asked for."""
        under_way: list[Iterator[NewRecord]] = [self._order() for _ in range(UNDER_WAY)]
        for _ in range(count):
            place = self._random.randrange(UNDER_WAY)
            record = next(under_way[place], None)
            if record is None:
                under_way[place] = self._order()
                record = next(under_way[place])
            yield record

    def _order(self) -> Iterator[NewRecord]:
        self._orders += 1
        order_id = f"ORDER-{self._orders:07d}"
        number = self._orders % RESTAURANTS
        yield self._announcement(order_id, number)
        for role, status in _MOVES:
            record = self._move(order_id, self._sources[role, number], status)
            yield record
            if self._random.random() < _REPEATED:
                yield record
        if self._random.random() < _ILLEGAL * (len(_MOVES) + 1):
            yield self._move(order_id, self._sources[Role.RESTAURANT, number], "COOKING")

    def _announcement(self, order_id: str, number: int) -> NewRecord:
        body = {
            "order_id": order_id,
            "restaurant": f"{Role.RESTAURANT.value}-{number}",
            "courier": f"{Role.COURIER.value}-{number}",
            "fulfilment": "delivery",
            "placed_at": datetime.now(UTC).isoformat(),
            "details": {
                "customer": {"name": "A. Customer", "phone": "+10000000000", "address": "1 Long Street"},
                "items": [{"id": "soup", "price": "4.50", "quantity": "2", "total_price": "9.00"}],
            },
        }
        raw = orjson.dumps(body)
        return self._stamped(read_announcement(raw, self._platform), self._platform, raw)

    def _move(self, order_id: str, source: Source, status: str) -> NewRecord:
        self._events += 1
        body = {
            "order_id": order_id,
            "status": status,
            "occurred_at": datetime.now(UTC).isoformat(),
            "comment": "ring twice, the bell is quiet",
            "attributes": ["contactless", "no-cutlery"],
        }
        raw = orjson.dumps(body)
        headers = CIMultiDictProxy(CIMultiDict({"webhook-id": f"evt_{self._events:09d}"}))
        parsed = self._native.parse(Inbound(headers, raw, "/v1/webhooks/bench", 0), source).events[0]
        return self._stamped(parsed, source, raw)

    def _stamped(self, parsed: ParsedEvent, source: Source, raw: bytes) -> NewRecord:
        return stamp([parsed], source, raw, partitions=self._partitions)[0].record


async def fill(log: EventLog, topic: str, records: Iterable[NewRecord]) -> int:
    """Appends the records to the topic and tells how many they were. Raises LogUnavailable."""
    waiting, count = iter(records), 0
    while chunk := list(itertools.islice(waiting, _CHUNK)):
        await log.append(topic, chunk)
        count += len(chunk)
    return count
