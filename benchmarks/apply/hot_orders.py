"""A topic whose events fall on few orders or on many, over a store that knows all of them.

The orders are announced beforehand, straight into the tables, so that a run begins with the first event and the tables
are the same size however many orders the events fall on. The mixture is the same too: half of the events are facts
(an ETA, which change nothing), a quarter are the order's next step (a repetition once it is delivered), a quarter
amend its details.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import Any

import asyncpg
import orjson

from backbone.eventlog.partitioner import partition_of
from backbone.eventlog.port import LogRecord, NewRecord
from benchmarks.apply.prepared import UPSERTED, PreparedBatch, prepare
from benchmarks.apply.records import make_source
from schemas.events import FactEvent, OrderAmended, OrderPlaced, StatusEvent
from schemas.identifiers import DEFAULT_WORKSPACE, record_key
from schemas.statuses import OrderStatus, Role
from service.dialects.port import ParsedEvent
from service.ingress.stamping import stamp

KNOWN = 100_000
"""Orders that the store knows before the first event."""
_CHAIN = (
    OrderStatus.ACCEPTED_BY_RESTAURANT,
    OrderStatus.COOKING,
    OrderStatus.READY,
    OrderStatus.TAKEN_BY_COURIER,
    OrderStatus.DELIVERED,
)
_SEED = 21


def order_name(number: int) -> str:
    """The id of an order of this topic."""
    return f"HOT-{number:07d}"


class HotOrders:
    """Endless events of so many orders, drawn evenly."""

    def __init__(self, orders: int, *, partitions: int) -> None:
        self._orders = orders
        self._partitions = partitions
        self._random = Random(_SEED)
        self._platform = make_source(Role.PLATFORM)
        self._steps: Counter[int] = Counter()

    def records(self, count: int) -> Iterator[NewRecord]:
        """The next records."""
        for number in range(count):
            order = self._random.randrange(self._orders)
            event = self._event(number, order)
            parsed = ParsedEvent(order_name(order), f"evt_{number:09d}", event)
            raw = orjson.dumps({"order_id": parsed.order_id, "event": event.model_dump(mode="json")})
            yield stamp([parsed], self._platform, raw, partitions=self._partitions)[0].record

    def _event(self, number: int, order: int) -> FactEvent | StatusEvent | OrderAmended:
        occurred_us = int(datetime.now(UTC).timestamp() * 1e6)
        if number % 4 == 1:
            step = min(self._steps[order], len(_CHAIN) - 1)
            self._steps[order] += 1
            return StatusEvent(status=_CHAIN[step], occurred_us=occurred_us)
        if number % 4 == 3:
            return OrderAmended(details={"customer": {"phone": f"+1{number:010d}"}}, occurred_us=occurred_us)
        return FactEvent(code="ETA_CHANGED", comment=f"in {number % 60} minutes", occurred_us=occurred_us)


def announcement() -> PreparedBatch:
    """The rows of one announced order, as the applier would write them."""
    source, details = make_source(Role.PLATFORM), {"customer": {"name": "A. Customer", "phone": "+10000000000"}}
    event = OrderPlaced(parties={"restaurant": "restaurant-1", "courier": "courier-1"}, details=details)
    new = stamp([ParsedEvent(order_name(0), "evt_announced", event)], source, b"{}", partitions=1)[0].record
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return prepare([LogRecord(0, 0, now_ms, new.key, new.value, new.headers)], batch_size=1)[0]


async def announce(connection: asyncpg.Connection, count: int, *, partitions: int) -> None:
    """Puts so many orders into an empty store, as announced, each in its partition; their receipts and trail are left
    out, since no decision reads them.
    """
    rows = announcement().upserted
    for table in ("orders", "order_parties", "order_details"):
        columns = UPSERTED[table]
        for values in zip(*rows[table], strict=True):
            first = dict(zip(columns, values, strict=True))
            copies = [tuple({**first, **_named(number, first, partitions)}.values()) for number in range(count)]
            await connection.copy_records_to_table(table, records=copies, columns=columns)
    await connection.execute("ANALYZE")


def _named(number: int, row: dict[str, Any], partitions: int) -> dict[str, Any]:
    order_id = order_name(number)
    if "partition" not in row:
        return {"order_id": order_id}
    return {"order_id": order_id, "partition": partition_of(record_key(DEFAULT_WORKSPACE, order_id), partitions)}
