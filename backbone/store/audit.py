"""Verifying the trail's chains: every row's hash is computed again from its fields and the hash before it.

A changed row no longer fits its own hash; a removed one leaves a gap in the numbers; a cut tail no longer reaches the
head that the partition's offsets row remembers. What a wholly rewritten store hides, only an anchor outside can show.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

import orjson
from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.engine import Store
from backbone.store.tables import offsets, trail
from backbone.store.trail_rows import ROW_COLUMNS, read_row
from schemas.canonical import GENESIS
from schemas.outcomes import hash_row

PAGE_ROWS = 5000


class BadRow(TypedDict):
    """Where a chain stops being true, and how."""

    partition: int
    seq: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What was verified. `rows` counts those found good; a partition is read no further than its first bad row."""

    rows: int
    partitions: int
    ok: bool
    first_bad: BadRow | None


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
    rows, first_bad = 0, None
    partitions = await _partitions(store)
    for partition in partitions:
        chain = _Chain(partition)
        before = rows

        def advance(seq: int, before: int = before) -> None:
            if progress is not None:
                progress(before + seq)

        async with store.reading() as connection:
            if store.dialect == "postgresql":
                await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            bad = await _verify_partition(connection, chain, advance)
        rows += chain.seq
        first_bad = first_bad or bad
    return AuditReport(rows=rows, partitions=len(partitions), ok=first_bad is None, first_bad=first_bad)


async def _partitions(store: Store) -> list[int]:
    """Partitions that have an offsets row or trail rows; the latter by hopping over the index, not by a scan."""
    async with store.reading() as connection:
        found = set(await connection.scalars(select(offsets.c.partition)))
        last: int | None = -1
        while last is not None:
            beyond = select(func.min(trail.c.partition)).where(trail.c.partition > last)
            last = await connection.scalar(beyond)
            if last is not None:
                found.add(last)
    return sorted(found)


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
    return _compare_head(chain, None if head is None else (head.seq, head.hash))


def _extend(chain: _Chain, values: Row[Any]) -> BadRow | None:
    row, stored = read_row(values)
    if row.seq != chain.seq + 1:
        return chain.bad(chain.seq + 1, f"the row is missing; {row.seq} stands in its place")
    try:
        computed = hash_row(chain.hash, row)
    except (OverflowError, ValueError, orjson.JSONEncodeError) as error:
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
