"""One partition in this worker's hands: fetch, apply, publish, tick, until it is lost, stopped or shut down.

Before the first batch, and whenever the log or this process was away, it makes sure that the log is the one the store
remembers (`consumers.log_identity`). A topic that was recreated or truncated stops the partition here instead of
feeding it other records under the same offsets.

What becomes of a batch that fails for a reason of its own is told in `consumers.narrowing`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

import structlog

from backbone.clocks import Clock
from backbone.eventlog.port import EventLog, GroupMember, LogRecord
from backbone.metrics import Metrics
from consumers.applier import Applied, Applier, Waiting
from consumers.batch_report import report_batch, report_confirmed
from consumers.dead_letter import Aside
from consumers.dead_letter_limits import DEFAULT_LIMITS, DeadLetterLimits
from consumers.heavy_transaction import HeavyTransaction
from consumers.listed_applier import ListedApplier
from consumers.log_identity import LogIdentity
from consumers.narrowing import Narrowing
from consumers.offset_rows import Cursor
from consumers.patience import FIRST_PAUSE_S, patiently
from consumers.published_topics import PublishedTopics, Standing
from consumers.relay import Relays
from consumers.ticking import Ticker
from schemas.errors import (
    LogUnavailable,
    PartitionLost,
    StoreUnavailable,
)

_log = structlog.get_logger("mealtrail.consumers")


FROZEN_S = 1.0
"""A wait for records that takes so much longer than asked for means that this process did not run."""


RETRY_PAUSE_S = 0.2
"""Before a failed decision is tried again; twice as long after each failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionParts:
    """What every partition of a worker works with."""

    log: EventLog
    applier: Applier
    identity: LogIdentity
    published: PublishedTopics
    metrics: Metrics
    clock: Clock
    received_topic: str
    batch_size: int = 1000
    idle_s: float = 1.0
    """Longest wait for records before looking at holds."""
    limits: DeadLetterLimits = DEFAULT_LIMITS
    retry_pause_s: float = RETRY_PAUSE_S
    careful: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the one partition that has counted something beforehand: a death counts against no other."""


class PartitionWorker:
    """Owns one partition from `run` to its end. The relays must run beside it."""

    def __init__(self, parts: PartitionParts, *, partition: int, relays: Relays, cursor: Cursor) -> None:
        self._parts = parts
        self._partition = partition
        self._relays = relays
        self._applier = ListedApplier(parts.applier.store)
        self._cursor = cursor
        self._ticker = Ticker(
            log=parts.log,
            topic=parts.received_topic,
            clock=parts.clock,
            partition=partition,
            idle_s=parts.idle_s,
        )
        self._seen_at = parts.clock.monotonic()
        self._log_was_away = False
        self._stopping = asyncio.Event()
        self._heavy = HeavyTransaction(metrics=parts.metrics, clock=parts.clock, partition=partition)
        self._narrowing = Narrowing(
            applier=self._applier,
            limits=parts.limits,
            metrics=parts.metrics,
            partition=partition,
            apply=self._apply,
            upcoming=lambda: self._cursor.next,
            stopping=self._stopping,
            careful=parts.careful,
            pause_s=parts.retry_pause_s,
        )

    def stop(self) -> None:
        """Ends `run` after the batch in hand. Returns at once, may be repeated."""
        self._stopping.set()

    @property
    def next_offset(self) -> int:
        """The offset of the next record to apply."""
        return self._cursor.next

    @property
    def too_heavy_offset(self) -> int | None:
        """The record whose transaction the store does not finish, though it answers; None while there is none."""
        return self._heavy.offset

    async def wait_stopped(self) -> None:
        """Returns once `stop` was called."""
        await self._stopping.wait()

    async def run(self, member: GroupMember) -> None:
        """Works until `stop` or until the group takes the partition away.

        Raises PartitionStopped (LogGap, LogReplaced, RecordUnknown, TooManyDeadLetters, RecordUnappliable) and
        ConfigurationError (PartitionSetInvalid, HistoryLost, StoreRebuilding) when it must not go on. Outages of log
        and store are waited out. Cancelling it is safe at any point.
        """
        try:
            await self._check_identity(member)
            await self._look_at_topics()
            self._relays.committed(self._cursor)
            await self._look_at_waiting()
            await self._narrowing.look_back(claims=self._cursor.claims, batch_size=self._parts.batch_size)
            while not self._stopping.is_set():
                records = await self._fetch(member)
                if self._is_doubtful():
                    await self._check_identity(member)
                elif records:
                    await self._take(records)
                elif not self._stopping.is_set():
                    await self._ticker.tick_if_due()
        except PartitionLost:
            _log.info("partition_lost", partition=self._partition, next=self._cursor.next)

    def doubt(self) -> None:
        """Lets the worker look at the log's identity before it applies anything more. Returns at once."""
        self._log_was_away = True

    async def _check_identity(self, member: GroupMember) -> None:
        async def look() -> None:
            await self._parts.identity.check_partition(member, self._partition, self._cursor)

        await patiently(look, doing="check the log's identity", partition=self._partition)
        self._seen_at, self._log_was_away = self._parts.clock.monotonic(), False

    async def _look_at_topics(self) -> None:
        """Where the store stands against what was published of the partition."""

        async def look() -> Standing:
            return await self._parts.published.look(self._partition, self._cursor)

        standing = await patiently(look, doing="look at what is published", partition=self._partition)
        self._cursor = standing.cursor
        self._applier.follow(standing.listed, after=standing.cursor.dead_seq)
        self._relays.go_back(standing)

    async def _fetch(self, member: GroupMember) -> list[LogRecord]:
        """Records from the cursor on; none after the idle time, or when stopping."""
        timeout = self._ticker.wait_s()

        async def fetch() -> list[LogRecord]:
            try:
                return await member.fetch(
                    self._partition, self._cursor.next, max_records=self._parts.batch_size, timeout=timeout
                )
            except LogUnavailable:
                self._log_was_away = True
                raise

        fetching = asyncio.ensure_future(patiently(fetch, doing="fetch", partition=self._partition))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((fetching, stopping), return_when=asyncio.FIRST_COMPLETED)
            return fetching.result() if fetching.done() else []
        finally:
            for task in (fetching, stopping):
                task.cancel()
            await asyncio.gather(fetching, stopping, return_exceptions=True)

    def _is_doubtful(self) -> bool:
        """Whether the log may have been exchanged since we last looked: it was away, or we were (frozen, suspended).

        Records fetched then are not applied before its identity is checked again.
        """
        now = self._parts.clock.monotonic()
        away_s, self._seen_at = now - self._seen_at, now
        is_doubtful, self._log_was_away = self._log_was_away or away_s > self._parts.idle_s + FROZEN_S, False
        return is_doubtful

    async def _take(self, records: Sequence[LogRecord]) -> None:
        """Applies what was fetched. After a lost fence the worker goes on from where the other one came to: the group
        decides who owns the partition, and may have decided for us.
        """
        try:
            await self._narrowing.apply(records)
        except PartitionLost:
            believed = self._cursor.next
            self._parts.metrics.fences_lost.inc()
            self._cursor = await self._read_cursor()
            _log.warning("fence_lost", partition=self._partition, believed=believed, next=self._cursor.next)
            if self._cursor.next < believed:  # an older store was put in its place
                self._log_was_away = True
                await self._look_at_topics()
            self._relays.committed(self._cursor)  # the other one may be gone, and nobody else looks after what it left
            await self._look_at_waiting()

    async def _apply(self, records: Sequence[LogRecord], aside: Aside | None) -> None:
        """Applies a batch exactly once, waiting out the store; an ambiguous commit is looked up, never repeated."""
        began = perf_counter()
        try:
            await self._apply_surely(records, aside, began)
        finally:
            self._heavy.end()

    async def _apply_surely(self, records: Sequence[LogRecord], aside: Aside | None, began: float) -> None:
        before, start, end = self._cursor, self._cursor.next, self._cursor.next + len(records)
        published, dead_published = self._relays.outcomes.published, self._relays.dead_letters.published
        applied: Applied | None = None
        while applied is None:
            try:
                applied = await self._applier.apply(
                    self._partition,
                    records,
                    start=start,
                    published=published,
                    dead_published=dead_published,
                    aside=aside,
                )
            except StoreUnavailable as error:
                _log.warning("store_unavailable", partition=self._partition, offset=start, problem=str(error))
                await asyncio.sleep(FIRST_PAUSE_S)
                answers = await self._look_where_we_are()
                if self._cursor.next == end:
                    report_confirmed(self._parts.metrics, self._partition, before, self._cursor)
                    self._relays.committed(self._cursor)
                    await self._look_at_waiting()
                    return
                if self._cursor.next != start:
                    raise PartitionLost(f"partition {self._partition}: another worker moved on") from error
                self._heavy.note(start, len(records), answers=answers, problem=str(error))
        self._cursor = Cursor(
            next=applied.next,
            last_event_id=applied.last_event_id,
            seq=applied.seq,
            published=published,
            watermark_ms=applied.watermark_ms,
            dead_seq=applied.dead_seq,
            dead_published=dead_published,
        )
        self._relays.committed(self._cursor, applied.rows)
        report_batch(self._parts.metrics, self._partition, applied, start=start, seconds=perf_counter() - began)
        lag_ms = self._parts.clock.now_ms() - applied.watermark_ms
        self._parts.metrics.watermark_lag.labels(str(self._partition)).set(max(0, lag_ms) / 1000)
        if applied.released:
            self._ticker.hurry()
        if applied.held or applied.released or applied.dead_letters:
            await self._look_at_waiting()

    async def _look_where_we_are(self) -> bool:
        """Reads the cursor, however long that takes; whether the store answered at once."""
        try:
            self._cursor = await self._applier.cursor(self._partition)
        except StoreUnavailable:
            self._cursor = await self._read_cursor()
            return False
        return True

    async def _read_cursor(self) -> Cursor:
        async def read() -> Cursor:
            return await self._applier.cursor(self._partition)

        return await patiently(read, doing="read the offset row", partition=self._partition)

    async def _look_at_waiting(self) -> None:
        async def look() -> Waiting:
            return await self._applier.waiting(self._partition)

        waiting = await patiently(look, doing="look at holds", partition=self._partition)
        metrics, label = self._parts.metrics, str(self._partition)
        metrics.held.labels(label).set(waiting.held)
        metrics.dead_letters_open.labels(label).set(waiting.dead_letters)
        self._ticker.watch(waiting.deadline_ms)
