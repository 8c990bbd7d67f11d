"""Verifying the trail: which partitions there are, and all their chains.

What one chain can show by itself stands in `audit_chain`. A partition whose trail and offsets row are both gone is
missed where an order, a receipt or an anchor still names it. What a wholly rewritten store hides, only something
outside can show: an anchor (`anchors`), or the outcomes topic (`audit_topic`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.audit_chain import PAGE_ROWS, Mark, PartitionResult, PartitionTask, verify_partition
from backbone.store.audit_pages import UNREADABLE, unreadable
from backbone.store.audit_report import BadRow, ChainsReport, PayloadCounts, sort_findings
from backbone.store.engine import Store
from backbone.store.kept_settings import PARTITIONS, kept_setting
from backbone.store.tables import admin_acts, event_payloads, kept_settings, offsets, orders, receipts, trail

__all__ = ["PAGE_ROWS", "BadRow", "ChainsReport", "Mark", "verify_chains"]

MOST_PARTITIONS = 100_000
"""More than any log has: such a number was not written by us."""


class Crew(Protocol):
    """Verifies several partitions at once, in other processes. May leave some out: they are then done here."""

    async def verify(
        self, tasks: Sequence[PartitionTask], rows: Mapping[int, int], advance: Callable[[int], None]
    ) -> dict[int, PartitionResult]:
        """Results by partition. `rows` says about how long each chain is."""


async def verify_chains(
    store: Store,
    *,
    marks: Mapping[int, Sequence[Mark]] | None = None,
    crew: Crew | None = None,
    progress: Callable[[int], None] | None = None,
) -> ChainsReport:
    """Recompute all chains and compare them with what is stored, and with `marks` by partition. Changes nothing; may
    run beside live consumers.

    `progress` is called with the number of rows done, a page at a time. Each partition is read in one snapshot.
    Raises StoreUnavailable.
    """
    if missing := await _missing_table(store):
        absent = BadRow(partition=0, seq=1, problem=f"the table {missing} is missing", check="chain")
        return ChainsReport(rows=0, partitions=0, bad=(absent,))
    kept, unreadable_kept = await _kept_partitions(store)
    marked = {partition: tuple(of) for partition, of in (marks or {}).items() if any(mark.seq for mark in of)}
    numbers, strange = await _partitions(store, kept, marked)
    tasks = [PartitionTask(partition, marked.get(partition, ())) for partition in numbers]
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        if progress is not None:
            progress(done)

    results = {} if crew is None else await crew.verify(tasks, await _lengths(store), advance)
    for task in tasks:
        if task.partition not in results:
            results[task.partition] = await verify_partition(store, task, advance)
    return _report([results[task.partition] for task in tasks], kept, [*unreadable_kept, *strange])


def _report(results: Sequence[PartitionResult], kept: int | None, beside: Sequence[BadRow]) -> ChainsReport:
    payloads = PayloadCounts()
    bad = list(beside)
    good = set(range(kept or 0))
    heads: dict[int, tuple[int, str]] = {}
    for result in results:
        payloads.add(result.payloads)
        bad += result.bad
        broken = any(found["check"] != "payload" for found in result.bad)
        if not broken and kept is not None and not 0 <= result.partition < kept:
            problem = f"there is no such partition: the log was made with {kept}"
            bad.append(BadRow(partition=result.partition, seq=1, problem=problem, check="chain"))
            broken = True
        (good.discard if broken else good.add)(result.partition)
        if not broken and result.seq:
            heads[result.partition] = (result.seq, result.hash)
    return ChainsReport(
        rows=sum(result.seq for result in results),
        partitions=len(results),
        good=frozenset(good),
        heads=heads,
        payloads=payloads,
        bad=sort_findings(bad),
    )


async def _missing_table(store: Store) -> str | None:
    """The first table that verifying needs and that is not there."""
    needed = (trail, offsets, orders, receipts, event_payloads, admin_acts, kept_settings)

    def look(connection: Connection) -> str | None:
        there = inspect(connection)
        return next((table.name for table in needed if not there.has_table(table.name)), None)

    async with store.reading() as connection:
        return await connection.run_sync(look)


async def _kept_partitions(store: Store) -> tuple[int | None, list[BadRow]]:
    """How many partitions the log was made with, where that is remembered; and the finding that it is no number."""
    try:
        kept = await kept_setting(store, PARTITIONS)
    except UNREADABLE as error:
        return None, [unreadable(f"the kept setting {PARTITIONS!r}", error, "chain")]
    if kept is None:
        return None, []
    if str(kept) == kept and kept.isascii() and kept.isdecimal() and 1 <= int(kept[:10]) <= MOST_PARTITIONS:
        return int(kept[:10]), []
    problem = f"the kept setting {PARTITIONS!r} is {kept!r}, which is no number of partitions"
    return None, [BadRow(partition=None, seq=None, problem=problem, check="chain")]


async def _lengths(store: Store) -> dict[int, int]:
    async with store.reading() as connection:
        rows = await connection.execute(select(offsets.c.partition, offsets.c.seq))
        return {row.partition: row.seq for row in rows if type(row.seq) is int}


async def _partitions(store: Store, kept: int | None, marked: Mapping[int, object]) -> tuple[list[int], list[BadRow]]:
    """Partitions that have an offsets row, a mark or trail rows (the latter by hopping over the index, not by a scan),
    and those of the log's that have none of it and were in use. And a finding where something is called a partition
    that has no number.

    A partition gets its offsets row from its first owner, so one that nobody ever owned has none and that is right. One
    that an order or a receipt names had an owner.
    """
    async with store.reading() as connection:
        found: set[Any] = set(await connection.scalars(select(offsets.c.partition))) | set(marked)
        last = await connection.scalar(select(func.min(trail.c.partition)))
        while last is not None:
            found.add(last)
            try:
                last = await connection.scalar(select(func.min(trail.c.partition)).where(trail.c.partition > last))
            except DBAPIError:  # text that is no UTF-8 comes behind every number
                found.add("unreadable text")
                break
        nowhere = select(trail.c.seq).where(trail.c.partition.is_(None)).limit(1)
        if (await connection.execute(nowhere)).first() is not None:
            found.add(None)
        for partition in range(kept or 0):
            if partition not in found and await _is_named(connection, partition):
                found.add(partition)
    strange = sorted(repr(one) for one in found if type(one) is not int)
    problem = f"rows of the trail name the partition {strange[0]}, which is none" if strange else ""
    bad = [BadRow(partition=None, seq=None, problem=problem, check="chain")] if strange else []
    return sorted(one for one in found if type(one) is int), bad


async def _is_named(connection: AsyncConnection, partition: int) -> bool:
    """Whether an order or a receipt lies in the partition. A scan where none does: for one that looks unused."""
    for table in (orders, receipts):
        named = select(table.c.partition).where(table.c.partition == partition).limit(1)
        if await connection.scalar(named) is not None:
            return True
    return False
