"""A lost store, made again from the log: the same records in the same order give the same rows and the same hashes.

    rebuild_list        which events were set aside, from the dead-letters topic: the trail depends on that too
    rebuild_store       the store that is filled: empty at first, marked until the end
    rebuild_comparison  the result held against the published outcomes

Each partition goes through the real applier in big batches, behind its fence, with the listed pairs set aside; nothing
is appended anywhere and no group is joined. A run that is interrupted leaves the mark in the store: nobody else starts
on it, and the next run goes on where it stopped. At the end the offset rows say how far the topics have the rows
already, so that consumers go on from there and publish nothing twice.

What is beyond the published outcomes was seen by nobody. If deciding one of *those* records fails, the partition ends
before it, and consumers take it from there as they would have: they can try again, and set it aside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

import structlog
from sqlalchemy import select

from backbone.eventlog.port import Bounds, EventLog, LogRecord
from backbone.eventlog.topic_reading import read_stretch
from backbone.store.engine import Store
from backbone.store.tables import offsets
from consumers.applier import Applier
from consumers.dead_letter import Aside
from consumers.offset_rows import Cursor
from consumers.rebuild_comparison import Comparison, compare_outcomes
from consumers.rebuild_list import read_list
from consumers.rebuild_store import Published, RebuildStore
from consumers.rebuilt import Reached, Rebuilt, RebuiltPartition
from schemas.canonical import GENESIS
from schemas.errors import (
    LogGap,
    PartitionLost,
    PartitionStopped,
    RebuildRefused,
    RecordUnappliable,
    RecordUnknown,
)
from schemas.topics import TopicNames

_log = structlog.get_logger("mealtrail.rebuild")

Progress = Callable[[int, int], None]
"""Told how many records are applied, and of how many."""
BATCH_RECORDS = 2000
"""Records in one transaction."""
SIDE_BY_SIDE = 4
"""Partitions at a time, where the store takes several writers."""


_NOTHING = Reached(0, 0, 0, GENESIS)


class Rebuild:
    """Fills one store from one log. `run` may be repeated after any failure: it goes on."""

    def __init__(self, log: EventLog, store: Store, topics: TopicNames, partitions: int) -> None:
        self._log = log
        self._store = store
        self._topics = topics
        self._partitions = partitions
        self._target = RebuildStore(store)
        self._applier = Applier(store)
        self._done = 0
        self._total = 0

    async def run(
        self,
        *,
        reached: Mapping[int, Reached] | None = None,
        accept_differences: bool = False,
        progress: Progress | None = None,
    ) -> Rebuilt:
        """Rebuilds, compares and lets the store go.

        With `reached` it stops where that other store stands, so that a live deployment can be compared. A store whose
        rows differ from the published ones is let go only with `accept_differences`, one that has set aside other
        events never.

        Raises RebuildRefused, also when somebody else works on the store; LogGap, RecordUnknown, RecordUnappliable
        where the log cannot be applied; LogUnavailable, StoreUnavailable.
        """
        topic_id = await self._log.identity(self._topics.received)
        lists = [
            await read_list(self._log, self._topics.dead_letters, partition) for partition in range(self._partitions)
        ]
        stretches = await self._stretches(reached, lists)
        resumed = await self._target.begin(self._partitions, topic_id)
        cursors = [await self._applier.cursor(partition) for partition in range(self._partitions)]
        for partition, cursor in enumerate(cursors):
            _refuse_unreachable(partition, stretches[partition], cursor)
            if await self._target.unlike_list(partition, cursor.next, lists[partition]):
                raise RebuildRefused(
                    f"partition {partition}: the list of dead letters is not the one that this rebuild was begun "
                    "with, or rules have changed since; begin again in an empty store"
                )
        before = sum(cursor.next for cursor in cursors)
        self._done, self._total = before, sum(stretch.end for stretch in stretches)
        if progress is not None:
            progress(self._done, self._total)
        partitions = await self._all(stretches, lists, is_whole=reached is None, progress=progress)
        if reached is not None:
            partitions = [await self._held_against(done, reached.get(done.partition, _NOTHING)) for done in partitions]
        result = Rebuilt(
            resumed=resumed,
            records=self._done - before,
            let_go=False,
            partitions=partitions,
            beside=reached is not None,
        )
        if result.same or (accept_differences and not any(done.unlike_list for done in partitions)):
            await self._target.finish({done.partition: _published(done) for done in partitions}, topic_id)
            result.let_go = True
        return result

    async def _stretches(self, reached: Mapping[int, Reached] | None, lists: Sequence[Aside]) -> list[Bounds]:
        """What to read of each partition: the log as it is now, or as far as the other store came."""
        bounds = await self._log.bounds(self._topics.received, range(self._partitions))
        if reached is None:
            return [bounds[partition] for partition in range(self._partitions)]
        stretches = []
        for partition, aside in enumerate(lists):
            at = reached.get(partition, _NOTHING)
            if at.dead_seq > len(aside):
                raise RebuildRefused(
                    f"partition {partition}: the deployment has {at.dead_seq} dead letters, and {len(aside)} are "
                    "published so far; its consumers must run, and have Kafka, for the list to become whole"
                )
            if at.next > bounds[partition].end:
                raise RebuildRefused(
                    f"partition {partition}: the deployment has applied the log up to offset {at.next}, and it ends at "
                    f"{bounds[partition].end}: this is another log, or it lost its end. See docs/runbook.md, log_gap"
                )
            stretches.append(Bounds(bounds[partition].start, at.next))
        return stretches

    async def _all(
        self, stretches: Sequence[Bounds], lists: Sequence[Aside], *, is_whole: bool, progress: Progress | None
    ) -> list[RebuiltPartition]:
        turns = asyncio.Semaphore(1 if self._store.dialect == "sqlite" else SIDE_BY_SIDE)

        async def one(partition: int) -> RebuiltPartition:
            async with turns:
                return await self._one(
                    partition, stretches[partition], lists[partition], is_whole=is_whole, progress=progress
                )

        tasks = [asyncio.ensure_future(one(partition)) for partition in range(self._partitions)]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(
        self, partition: int, stretch: Bounds, aside: Aside, *, is_whole: bool, progress: Progress | None
    ) -> RebuiltPartition:
        cursor = await self._applier.cursor(partition)
        failure: RecordUnappliable | None = None
        rest = Bounds(cursor.next, stretch.end)
        reading = read_stretch(self._log, self._topics.received, partition, rest, max_records=BATCH_RECORDS)
        async with aclosing(reading) as batches:
            async for records in batches:
                try:
                    await self._apply(partition, records, aside)
                except RecordUnappliable as error:
                    failure = error
                cursor, earlier = await self._applier.cursor(partition), cursor.next
                self._done += cursor.next - earlier
                if progress is not None:
                    progress(self._done, self._total)
                if failure is not None:
                    break
        comparison = await compare_outcomes(
            self._log, self._topics.outcomes, self._store, partition, up_to=None if is_whole else cursor.seq
        )
        if failure is not None:
            _refuse_known_failure(failure, partition, cursor, comparison, aside)
        _log.info("partition_rebuilt", partition=partition, next=cursor.next, seq=cursor.seq, same=comparison.same)
        return RebuiltPartition(
            partition=partition,
            next=cursor.next,
            seq=cursor.seq,
            dead_letters=cursor.dead_seq,
            unlike_list=await self._target.unlike_list(partition, cursor.next, aside),
            left=None if failure is None else cursor.next,
            comparison=comparison,
        )

    async def _held_against(self, done: RebuiltPartition, other: Reached) -> RebuiltPartition:
        """The partition, and whether its chain ends as the other store's does: that proves every row before."""
        async with self._store.reading() as connection:
            query = select(offsets.c.seq, offsets.c.hash).where(offsets.c.partition == done.partition)
            seq, head = (await connection.execute(query)).one()
        return replace(done, is_other_chain=(seq, bytes(head)) != (other.seq, other.hash))

    async def _apply(self, partition: int, records: list[LogRecord], aside: Aside) -> None:
        """One batch, in one transaction; where that fails, record by record up to the culprit."""
        try:
            await self._apply_some(partition, records, aside)
        except (LogGap, RecordUnknown):
            raise
        except PartitionStopped:
            if len(records) == 1:
                raise
            for record in records:
                await self._apply_some(partition, [record], aside)

    async def _apply_some(self, partition: int, records: list[LogRecord], aside: Aside) -> None:
        try:
            await self._applier.apply(partition, records, start=records[0].offset, published=0, aside=aside)
        except PartitionLost as error:
            raise RebuildRefused(
                f"{error}: a consumer or another rebuild works on the store. Stop it, begin again in an empty store"
            ) from error


def _refuse_unreachable(partition: int, stretch: Bounds, cursor: Cursor) -> None:
    if stretch.start > cursor.next:
        raise RebuildRefused(
            f"partition {partition}: the log no longer reaches back: it begins at offset {stretch.start}, offset "
            f"{cursor.next} is needed. Restore the newest backup of the database instead; consumers apply from there"
        )


def _refuse_known_failure(
    failure: RecordUnappliable, partition: int, cursor: Cursor, comparison: Comparison, aside: Aside
) -> None:
    """Raises unless nobody has seen anything of what comes after the record that fails."""
    if comparison.last_seq > cursor.seq or any(in_hand >= cursor.next for in_hand, _ in aside):
        raise RecordUnappliable(
            f"{failure}. It was applied before, as what came after it is published: use the release that did that",
            partition=partition,
            offset=cursor.next,
        ) from failure
    _log.warning("record_left_to_consumers", partition=partition, offset=cursor.next, problem=str(failure))


def _published(done: RebuiltPartition) -> Published:
    """How far the topics have what the store has. From a difference or a hole on nothing counts as published."""
    comparison = done.comparison
    ends = (comparison.first_hash, comparison.first_missing)
    outcomes = min(comparison.last_seq, done.seq, *(end - 1 for end in ends if end is not None))
    return Published(outcomes, done.dead_letters)
