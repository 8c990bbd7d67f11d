"""Verifying the trail's chains: every row's hash is computed again from its fields and the hash before it.

A changed row no longer fits its own hash; a removed one leaves a gap in the numbers; a cut tail no longer reaches the
head that the partition's offsets row remembers. A partition whose trail and offsets row are both gone is missed where
an order or a receipt still names it. What a wholly rewritten store hides, only an anchor outside can show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

import structlog
from sqlalchemy import Connection, Row, func, inspect, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.engine import Store
from backbone.store.migration import PARTITIONS, kept_setting
from backbone.store.tables import kept_settings, offsets, orders, receipts, trail
from backbone.store.trail_rows import ROW_COLUMNS, read_row
from schemas.canonical import GENESIS
from schemas.outcomes import hash_row

PAGE_ROWS = 5000
_log = structlog.get_logger("mealtrail.audit")


class BadRow(TypedDict):
    """Where a chain stops being true, and how."""

    partition: int
    seq: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What was verified. `rows` counts those found good; a partition is read no further than its first bad row.

    `heads` has the last seq and hash (hex) of each partition whose chain is good and not empty.
    """

    rows: int
    partitions: int
    ok: bool
    first_bad: BadRow | None
    heads: dict[int, tuple[int, str]]


@dataclass(slots=True)
class _Chain:
    """A partition's chain as far as it is verified."""

    partition: int
    seq: int = 0
    hash: bytes = GENESIS

    def bad(self, seq: int, problem: str) -> BadRow:
        return BadRow(partition=self.partition, seq=seq, problem=problem)


async def verify_chains(store: Store, *, progress: Callable[[int], None] | None = None) -> AuditReport:
    """Recompute all chains and compare them with what is stored. Changes nothing; may run beside live consumers.

    `progress` is called with the number of rows done, a page at a time. Each partition is read in one snapshot.
    Raises StoreUnavailable.
    """
    if missing := await _missing_table(store):
        absent = BadRow(partition=0, seq=1, problem=f"the table {missing} is missing")
        return AuditReport(rows=0, partitions=0, ok=False, first_bad=absent, heads={})
    rows, first_bad = 0, None
    kept = await _kept_partitions(store)
    partitions = await _partitions(store, kept)
    heads: dict[int, tuple[int, str]] = {}
    for partition in partitions:
        chain = _Chain(partition)
        before = rows

        def advance(seq: int, before: int = before) -> None:
            if progress is not None:
                progress(before + seq)

        try:
            async with store.snapshot() as connection:
                bad = await _verify_partition(connection, chain, advance)
        except DBAPIError as error:
            bad = await _unreadable_row(store, chain)
            if bad is None:
                raise
            _log.warning("trail_row_unreadable", partition=partition, seq=bad["seq"], exc_info=error)
        if bad is None and kept is not None and not 0 <= partition < kept:
            bad = chain.bad(1, f"there is no such partition: the log was made with {kept}")
        rows += chain.seq
        first_bad = first_bad or bad
        if bad is None and chain.seq:
            heads[partition] = (chain.seq, chain.hash.hex())
    return AuditReport(rows=rows, partitions=len(partitions), ok=first_bad is None, first_bad=first_bad, heads=heads)


async def _missing_table(store: Store) -> str | None:
    """The first table that verifying needs and that is not there."""
    needed = (trail, offsets, orders, receipts, kept_settings)

    def look(connection: Connection) -> str | None:
        there = inspect(connection)
        return next((table.name for table in needed if not there.has_table(table.name)), None)

    async with store.reading() as connection:
        return await connection.run_sync(look)


async def _kept_partitions(store: Store) -> int | None:
    kept = await kept_setting(store, PARTITIONS)
    return int(kept) if kept is not None and kept.isdecimal() else None


async def _partitions(store: Store, kept: int | None) -> list[int]:
    """Partitions that have an offsets row or trail rows (the latter by hopping over the index, not by a scan), and
    those of the log's that have neither and were in use.

    A partition gets its offsets row from its first owner, so one that nobody ever owned has none and that is right. One
    that an order or a receipt names had an owner.
    """
    async with store.reading() as connection:
        found = set(await connection.scalars(select(offsets.c.partition)))
        last = await connection.scalar(select(func.min(trail.c.partition)))
        while last is not None:
            found.add(last)
            last = await connection.scalar(select(func.min(trail.c.partition)).where(trail.c.partition > last))
        for partition in range(kept or 0):
            if partition not in found and await _is_named(connection, partition):
                found.add(partition)
    return sorted(found)


async def _is_named(connection: AsyncConnection, partition: int) -> bool:
    """Whether an order or a receipt lies in the partition. A scan where none does: for one that looks unused."""
    for table in (orders, receipts):
        if (
            await connection.scalar(select(table.c.partition).where(table.c.partition == partition).limit(1))
            is not None
        ):
            return True
    return False


async def _verify_partition(
    connection: AsyncConnection, chain: _Chain, advance: Callable[[int], None]
) -> BadRow | None:
    query = select(*ROW_COLUMNS).where(trail.c.partition == chain.partition).order_by(trail.c.seq).limit(PAGE_ROWS)
    while True:
        # The first page has no lower bound: a row numbered 0 or less is as wrong as a gap.
        rest = query.where(trail.c.seq > chain.seq) if chain.seq else query
        page = (await connection.execute(rest)).all()
        for values in page:
            if problem := _extend(chain, values):
                return problem
        advance(chain.seq)
        if len(page) < PAGE_ROWS:
            break
    head = (
        await connection.execute(select(offsets.c.seq, offsets.c.hash).where(offsets.c.partition == chain.partition))
    ).one_or_none()
    if head is None and not chain.seq:
        return chain.bad(1, "orders or receipts name the partition, and its trail and its offsets row are gone")
    bad = _compare_head(chain, None if head is None else (head.seq, head.hash))
    if bad is None and not chain.seq:
        ordered = select(orders.c.order_id).where(orders.c.partition == chain.partition).limit(1)
        if await connection.scalar(ordered) is not None:  # no order comes to be without a row
            return chain.bad(1, "orders lie in the partition, and its trail is empty")
    return bad


async def _unreadable_row(store: Store, chain: _Chain) -> BadRow | None:
    """The first row after the chain's that the database cannot give us, such as text that is no UTF-8 on SQLite."""
    own = trail.c.partition == chain.partition
    async with store.snapshot() as connection:
        numbers = select(trail.c.seq).where(own, trail.c.seq > chain.seq).order_by(trail.c.seq).limit(PAGE_ROWS)
        for seq in (await connection.scalars(numbers)).all():
            try:
                values = (await connection.execute(select(*ROW_COLUMNS).where(own, trail.c.seq == seq))).one()
            except DBAPIError as error:
                return chain.bad(seq, f"the row cannot be read: {type(error.orig).__name__}")
            if problem := _extend(chain, values):
                return problem
    return None


def _extend(chain: _Chain, values: Row[Any]) -> BadRow | None:
    row, stored = read_row(values)
    if row.seq != chain.seq + 1:
        return chain.bad(chain.seq + 1, f"the row is missing; {row.seq} stands in its place")
    try:
        computed = hash_row(chain.hash, row)
    except (OverflowError, TypeError, ValueError) as error:  # JSONEncodeError is a TypeError
        return chain.bad(row.seq, f"the row's fields cannot be hashed: {error}")
    if computed != stored:
        return chain.bad(row.seq, "the row's hash does not fit its fields and the row before it")
    chain.seq, chain.hash = row.seq, computed
    return None


def _compare_head(chain: _Chain, head: tuple[int, bytes] | None) -> BadRow | None:
    if head is None:
        return chain.bad(1, "the partition has a trail and no offsets row")
    seq, stored = head
    if seq > chain.seq:
        return chain.bad(chain.seq + 1, f"the tail is cut: rows up to {seq} were written")
    if seq < chain.seq:
        return chain.bad(seq + 1, f"the row lies beyond the partition's head, which is {seq}")
    if stored != chain.hash:
        return chain.bad(seq, "the hash of the partition's head is not the last row's")
    return None
