"""Retention by class of data: orders that nobody has touched for so long are erased, through the log like everything.

Age is measured in log time: the partition's watermark less the log time of the order's newest event. So a partition in
which nothing happens erases nothing, and neither a wrong clock nor a long pause of this process erases anything early.
Nor does a log's clock that is wrong for a moment: what is erased is gone for good, so the watermark must agree with the
wall clock and have been there a minute ago (`backbone.steady_time`). When we append is no decision; the records are.
An order's status does not matter: one that was left in COOKING is as old as one that was delivered.

How the old ones are found. Offsets ascend in log time, so the partition's events are gone through from the oldest on,
each once, up to the first that is young enough. An event that is its order's newest makes the order due; any other
will be met again in a newer event of that order. How far that came is kept in the partition's `offsets` row, for each
class of its own. It only saves work: a look that is repeated appends records for orders that are erased already, or
finds nothing left of them, and both do no harm. The records decide, like ticks do; when they are appended does not.

What is never pruned: the trail, and the receipts, which tell repeats as long as the order's trail is there.
"""

from __future__ import annotations

import uuid
from asyncio import sleep
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.clocks import Clock
from backbone.eventlog.port import EventLog
from backbone.eventlog.received import act_to_log
from backbone.metrics import Metrics
from backbone.steady_time import SteadyTime
from backbone.store.engine import Store
from backbone.store.holdings import NOTHING, HoldingsReadings
from backbone.store.retention_cursor import kept_from_column, read_kept_from
from backbone.store.tables import dead_letters, event_payloads, held_events, offsets, trail
from consumers.patience import patiently
from schemas.identifiers import DEFAULT_WORKSPACE
from schemas.records import Erasable, EraseRecord

_log = structlog.get_logger("mealtrail.retention")
ACTOR = "retention"
LOOK_EVERY_S = 60.0
"""Between two looks where the last one found nothing more to do."""
BUSY_PAUSE_S = 1.0
"""Between two looks where the first one stopped at its bound: erasing leaves room for partners' events."""
MOST_EVENTS = 500
"""Events that one look goes through, for each class; so at most as many records are appended."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look at one class did. `more`: it ended at its bound, not at a young event or the newest one."""

    erased: tuple[str, ...]
    kept_from: int
    more: bool


class Expiry:
    """Looks after one partition, beside its owner. Needs no fence: what it appends is judged in log order."""

    def __init__(
        self,
        *,
        log: EventLog,
        store: Store,
        topic: str,
        partition: int,
        keep_ms: Mapping[Erasable, int],
        clock: Clock,
        metrics: Metrics,
        most_events: int = MOST_EVENTS,
    ) -> None:
        self._log = log
        self._store = store
        self._topic = topic
        self._partition = partition
        self._keep_ms = dict(keep_ms)
        self._most_events = most_events
        self._steady = SteadyTime(clock)
        self._metrics = metrics
        self._is_ahead = False

    async def run(self) -> None:
        """Looks again and again until cancelled; waits out outages of log and store. A fault of ours is logged, and the
        partition goes on without retention until the next look.
        """
        while True:
            more = False
            for erasable in self._keep_ms:
                try:
                    more = (await self._look_patiently(erasable)).more or more
                except Exception:  # noqa: BLE001 - whatever it is, partners' events go on
                    _log.exception("retention_failed", partition=self._partition, erasable=erasable.value)
            await sleep(BUSY_PAUSE_S if more else LOOK_EVERY_S)

    async def _look_patiently(self, erasable: Erasable) -> Looked:
        async def look() -> Looked:
            return await self.look(erasable)

        return await patiently(look, doing="look for old data", partition=self._partition)

    async def look(self, erasable: Erasable) -> Looked:
        """One look at one class, of bounded work. Finds nothing old until the watermark is one to believe, so never at
        the first look. Raises LogUnavailable, StoreUnavailable; may be repeated.
        """
        async with self._store.reading() as connection:
            standing = await read_kept_from(connection, self._partition, erasable)
            if standing is None:
                return Looked((), 0, more=False)
            kept_from, watermark_ms = standing
            now_ms = self._believe(watermark_ms)
            if now_ms is None:
                return Looked((), kept_from, more=False)
            old = await self._old_events(connection, kept_from, now_ms - self._keep_ms[erasable])
            newest = await self._newest(connection, sorted({order_id for _, order_id in old}))
        if not old:
            return Looked((), kept_from, more=False)
        due = sorted({order_id for offset, order_id in old if newest[order_id] == offset})
        erased = await self._erase(due, erasable)
        after = old[-1][0] + 1
        async with self._store.transaction() as connection:
            column = kept_from_column(erasable)
            own = (offsets.c.partition == self._partition, column < after)
            await connection.execute(update(offsets).where(*own).values({column.name: after}))
        return Looked(tuple(erased), after, more=len(old) == self._most_events)

    def _believe(self, watermark_ms: int) -> int | None:
        """The time by which things are old; said once when the log turns out to be ahead of the wall clock."""
        now_ms = self._steady.take(watermark_ms)
        if self._steady.ahead is not self._is_ahead:
            self._is_ahead = self._steady.ahead
            if self._is_ahead:
                _log.warning(
                    "retention_waits",
                    partition=self._partition,
                    watermark=watermark_ms,
                    problem="the watermark is ahead of the wall clock, so nothing is erased by its age",
                )
        self._metrics.retention_waits.labels(str(self._partition)).set(int(self._is_ahead))
        return now_ms

    async def _erase(self, due: Sequence[str], erasable: Erasable) -> list[str]:
        """Appends a record for each order of which something of the class is left."""
        holdings = await HoldingsReadings(self._store).holdings(due)
        wanted = [order_id for order_id in due if holdings.get(order_id, NOTHING).has(erasable)]
        if wanted:
            await self._log.append(
                self._topic,
                [act_to_log(_record(order_id, erasable), 1, partition=self._partition) for order_id in wanted],
            )
            _log.info("retention_erases", partition=self._partition, erasable=erasable.value, orders=len(wanted))
        return wanted

    async def _old_events(self, connection: AsyncConnection, kept_from: int, until_ms: int) -> list[tuple[int, str]]:
        """Events from that offset on that were logged no later than `until_ms`, at most so many: (offset, order)."""
        own = event_payloads.c
        query = (
            select(own.offset, own.order_id)
            .where(own.workspace == DEFAULT_WORKSPACE, own.partition == self._partition, own.offset >= kept_from)
            .order_by(own.offset)
            .limit(self._most_events)
        )
        page = [(offset, order_id) for offset, order_id in await connection.execute(query)]
        logged_ms = await self._log_times(connection, page)
        old: list[tuple[int, str]] = []
        for offset, order_id in page:
            # One without a time of its own was logged no later than the next that has one.
            if logged_ms.get(offset, 0) > until_ms:
                break
            old.append((offset, order_id))
        return old

    async def _log_times(self, connection: AsyncConnection, events: Sequence[tuple[int, str]]) -> dict[int, int]:
        """When events were logged: the trail says it of those that have a verdict, the event itself of the others."""
        order_ids, numbers = sorted({order_id for _, order_id in events}), [offset for offset, _ in events]
        found: dict[int, int] = {}
        if not events:
            return found
        for table, offset in (
            (dead_letters, dead_letters.c.event_offset),
            (held_events, held_events.c.offset),
            (trail, trail.c.offset),
        ):
            own = table.c
            query = select(offset, func.min(own.received_ms)).where(
                own.workspace == DEFAULT_WORKSPACE,
                own.order_id.in_(order_ids),
                own.partition == self._partition,
                offset.in_(numbers),
            )
            found.update({row[0]: row[1] for row in await connection.execute(query.group_by(offset))})
        return found

    async def _newest(self, connection: AsyncConnection, order_ids: Sequence[str]) -> dict[str, int]:
        """The offset of each order's newest event."""
        if not order_ids:
            return {}
        own = event_payloads.c
        query = select(own.order_id, func.max(own.offset)).where(self._are_of(order_ids)).group_by(own.order_id)
        return dict((await connection.execute(query)).all())

    def _are_of(self, order_ids: Sequence[str]) -> ColumnElement[bool]:
        own = event_payloads.c
        return and_(own.workspace == DEFAULT_WORKSPACE, own.order_id.in_(order_ids), own.partition == self._partition)


def _record(order_id: str, erasable: Erasable) -> EraseRecord:
    return EraseRecord(
        event_id=f"erase-{uuid.uuid4()}",
        workspace=DEFAULT_WORKSPACE,
        order_id=order_id,
        actor=ACTOR,
        why=f"older than the retention of {erasable.value}",
        classes=(erasable,),
    )
