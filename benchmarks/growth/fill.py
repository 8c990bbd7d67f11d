"""Fills a store with history: rows of every table, as mealtrail writes them, copied in the database itself.

A small stretch of the story is folded by the product (`benchmarks.apply.prepared`) and loaded beside the tables; then
each *copy* of it becomes older orders: names, digests, numbers, offsets and times moved, everything else as it is.
Copies go through the tables' own indexes, triggers and constraints, oldest first, as rows come in life.

Offsets of the fill are negative, so that a topic that begins at 0 goes on from it. Its hashes are real hashes in the
wrong places: nothing here is for `audit verify`.

Of the old orders almost all are delivered, one in 200 was never finished; the orders of the last copy are under way or
delivered, as the story left them. A third of all orders belongs to eight large restaurants and eight large couriers,
the rest to 800 small ones of each kind.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg

from backbone.eventlog.port import LogRecord
from backbone.store.tables import metadata
from benchmarks.apply.prepared import COPIED, UPSERTED, PreparedBatch, prepare
from benchmarks.apply.records import Story

BASE_ROWS = 10_000
"""About so many rows of the trail has one copy."""
SPAN_MS = 600_000
"""So long a time one copy covers."""
SMALL, LARGE_SHARE = 100, 3
"""Small restaurants for each large one; one in so many copies is of the large ones."""
UNFINISHED = 200
_EVENTS = 9_650  # give about BASE_ROWS rows
_AT_ONCE = 25  # copies in one transaction

_MOVED_MS = (
    "received_ms",
    "decided_ms",
    "previous_received_ms",
    "first_received_ms",
    "announced_ms",
    "step_received_ms",
)
_PLACES = ("offset", "first_offset", "last_offset")
_PARTIES = ("restaurant", "courier", "party")
_TABLES: dict[str, tuple[str, ...]] = {**COPIED, **UPSERTED}


@dataclass(frozen=True, slots=True)
class Filled:
    """What lies in the store."""

    rows: int
    copies: int
    order_ids: tuple[str, ...]
    """Of one copy; the order of copy n is called like it, a dot and n."""
    seconds: float

    def order_id(self, number: int, copy: int) -> str:
        """An order of the fill."""
        return f"{self.order_ids[number % len(self.order_ids)]}.{copy}"


def make_base(*, partitions: int, now_ms: int, events: int = _EVENTS) -> list[PreparedBatch]:
    """One copy, prepared. Its records come evenly over the span that ends now."""
    offsets: Counter[int] = Counter()
    records = []
    for number, new in enumerate(Story(partitions=partitions).records(events)):
        log_ms = now_ms - SPAN_MS + number * SPAN_MS // events
        records.append(LogRecord(new.partition, offsets[new.partition], log_ms, new.key, new.value, new.headers))
        offsets[new.partition] += 1
    return prepare(records, batch_size=len(records))


async def fill_store(
    connection: asyncpg.Connection,
    base: Sequence[PreparedBatch],
    *,
    rows: int,
    progress: Callable[[int], None] = lambda _done: None,
) -> Filled:
    """Fills an empty, migrated store up to about so many trail rows, as its owner, and analyses it."""
    began = time.monotonic()
    await _load_base(connection, base)
    of_copy = sum(len(batch.copied["trail"]) for batch in base)
    copies = max(1, round(rows / of_copy))
    for first in range(1, copies + 1, _AT_ONCE):
        last = min(first + _AT_ONCE - 1, copies)
        async with connection.transaction():
            await connection.execute("SET LOCAL synchronous_commit = off")
            for table in _TABLES:
                await connection.execute(copy_sql(table), first, last, copies)
        progress(last * of_copy)
    for batch in base:
        _, watermark_ms, seq, row_hash = batch.head
        head = (batch.partition, watermark_ms, seq * copies, row_hash)
        await connection.execute(
            "INSERT INTO offsets (partition, next, watermark_ms, published, seq, hash) VALUES ($1, 0, $2, $3, $3, $4)",
            *head,
        )
    await connection.execute("DROP SCHEMA fill CASCADE")
    await connection.execute("VACUUM ANALYZE")
    orders = itertools.chain.from_iterable(batch.upserted["orders"][1] for batch in base)
    return Filled(of_copy * copies, copies, tuple(orders), time.monotonic() - began)


async def _load_base(connection: asyncpg.Connection, base: Sequence[PreparedBatch]) -> None:
    await connection.execute("CREATE SCHEMA fill")
    await connection.execute("CREATE UNLOGGED TABLE fill.lengths (partition int PRIMARY KEY, rows int, events int)")
    lengths = [(batch.partition, len(batch.copied["trail"]), batch.end) for batch in base]
    await connection.copy_records_to_table("lengths", schema_name="fill", records=lengths)
    for table, columns in _TABLES.items():
        await connection.execute(f"CREATE UNLOGGED TABLE fill.{table} (LIKE public.{table})")
        for batch in base:
            rows = batch.copied[table] if table in batch.copied else list(zip(*batch.upserted[table], strict=True))
            await connection.copy_records_to_table(table, schema_name="fill", records=rows, columns=columns)
        await connection.execute(f"ANALYZE fill.{table}")


def copy_sql(table: str) -> str:
    """The statement that makes copies $1 to $2 of $3 of the table's rows."""
    columns = _TABLES[table]
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(_value(table, name) for name in columns)
    lengths = "JOIN fill.lengths USING (partition)" if "partition" in metadata.tables[table].c else ""
    return (
        f"INSERT INTO public.{table} ({names}) SELECT {values} "
        f"FROM generate_series($1::int, $2::int) AS copy CROSS JOIN fill.{table} AS base {lengths} "
        f"CROSS JOIN (SELECT $3::bigint AS copies) AS whole "
        f"ORDER BY copy, base.ctid"
    )


def _value(table: str, name: str) -> str:
    value, copies_later = f'base."{name}"', "(whole.copies - copy)"
    if name in _MOVED_MS:
        return f"{value} - {copies_later} * {SPAN_MS}"
    if name.endswith("_us"):
        return f"{value} - {copies_later} * {SPAN_MS * 1000}"
    if name in _PLACES:
        return f"{value} - ({copies_later} + 1) * lengths.events"
    if name in _PARTIES:
        return f"CASE WHEN copy % {LARGE_SHARE} = 0 THEN {value} ELSE {value} || '-' || (copy % {SMALL}) END"
    if table == "orders" and name == "status":
        finished = f"copy < whole.copies AND hashtext(base.order_id || copy) % {UNFINISHED} <> 0"
        return f"CASE WHEN {finished} THEN 'DELIVERED' ELSE {value} END"
    return {
        "order_id": f"{value} || '.' || copy",
        "digest": f"md5({value} || copy)",
        "seq": f"{value} + (copy - 1) * lengths.rows",
    }.get(name, value)
