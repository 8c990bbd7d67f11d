"""One partition in this worker's hands: fetch, apply, publish, tick, until it is lost, stopped or shut down.

Before the first batch, and whenever the log or this process was away, it makes sure that the log is the one the store
remembers: `next` must lie inside it, and the record before `next`, where the log still has it, must carry the
remembered event id. A topic that was recreated or truncated stops the partition here instead of feeding it other
records under the same offsets.

A batch that fails for a reason of its own is applied record by record, so everything before the culprit is in; then the
partition stops, loudly, with the culprit's offset in the message. (Setting it aside is a later release's.)
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import structlog

from backbone.clocks import Clock
from backbone.eventlog.port import EventLog, GroupMember, LogRecord
from backbone.eventlog.received import event_id_of, tick_to_log
from backbone.metrics import Metrics
from consumers.applier import Applied, Applier
from consumers.offset_rows import Cursor
from consumers.patience import FIRST_PAUSE_S, patiently
from consumers.relay import Relay
from schemas.errors import (
    LogGap,
    LogReplaced,
    LogUnavailable,
    PartitionLost,
    PartitionStopped,
    StoreUnavailable,
)
from schemas.records import TickRecord

_log = structlog.get_logger("mealtrail.consumers")


FROZEN_S = 1.0
"""A wait for records that takes so much longer than asked for means that this process did not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionParts:
    """What every partition of a worker works with."""

    log: EventLog
    applier: Applier
    metrics: Metrics
    clock: Clock
    received_topic: str
    batch_size: int = 1000
    idle_s: float = 1.0
    """Longest wait for records before looking at holds."""


class PartitionWorker:
    """Owns one partition from `run` to its end. `relay` must run beside it."""

    def __init__(self, parts: PartitionParts, *, partition: int, relay: Relay, cursor: Cursor) -> None:
        self._parts = parts
        self._partition = partition
        self._relay = relay
        self._cursor = cursor
        self._deadline: int | None = None
        self._tick_not_before = 0.0
        self._seen_at = parts.clock.monotonic()
        self._log_was_away = False
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends `run` after the batch in hand. Returns at once, may be repeated."""
        self._stopping.set()

    @property
    def next_offset(self) -> int:
        """The offset of the next record to apply."""
        return self._cursor.next

    async def wait_stopped(self) -> None:
        """Returns once `stop` was called."""
        await self._stopping.wait()

    async def run(self, member: GroupMember) -> None:
        """Works until `stop` or until the group takes the partition away.

        Raises PartitionStopped (LogGap, LogReplaced, RecordUnknown, RecordUnappliable) when the partition must not go
        on. Outages of log and store are waited out. Cancelling it is safe at any point.
        """
        try:
            await self._check_identity(member)
            self._relay.committed(self._cursor.seq)
            await self._look_at_holds()
            while not self._stopping.is_set():
                records = await self._fetch(member)
                if self._is_doubtful():
                    await self._check_identity(member)
                elif records:
                    await self._apply_or_narrow(records)
                else:
                    await self._tick_if_due()
        except PartitionLost:
            _log.info("partition_lost", partition=self._partition, next=self._cursor.next)

    async def _check_identity(self, member: GroupMember) -> None:
        cursor, partition = self._cursor, self._partition

        async def look() -> None:
            bounds = (await self._parts.log.bounds(self._parts.received_topic, [partition]))[partition]
            if not bounds.start <= cursor.next <= bounds.end:
                raise LogGap(
                    f"partition {partition}: the store wants offset {cursor.next}, the log holds {bounds.start} to "
                    f"{bounds.end}; the topic was truncated, expired or recreated, or the store is another one's"
                )
            if cursor.next - 1 < bounds.start or cursor.last_event_id is None:
                return
            before = await member.fetch(partition, cursor.next - 1, max_records=1, timeout=self._parts.idle_s)
            if not before:
                raise LogUnavailable("the record before the next one did not come")
            if event_id_of(before[0].headers) != cursor.last_event_id:
                raise LogReplaced(
                    f"partition {partition}: the record at offset {cursor.next - 1} is not the one that was applied; "
                    "the topic was recreated. Point this store at its own log, or rebuild it from this one"
                )

        await patiently(look, doing="check the log's identity", partition=partition)
        self._seen_at, self._log_was_away = self._parts.clock.monotonic(), False

    async def _fetch(self, member: GroupMember) -> list[LogRecord]:
        """Records from the cursor on; none after the idle time, or when stopping."""
        timeout = self._parts.idle_s
        if self._deadline is not None:
            until_due = (self._deadline - self._parts.clock.now_ms()) / 1000
            until_tick = max(until_due, self._tick_not_before - self._parts.clock.monotonic())
            timeout = min(timeout, max(until_tick, 0.01))

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

    async def _apply_or_narrow(self, records: Sequence[LogRecord]) -> None:
        try:
            await self._apply(records)
        except LogGap:
            raise
        except PartitionStopped:
            if len(records) == 1:
                raise
            for record in records:
                await self._apply([record])

    async def _apply(self, records: Sequence[LogRecord]) -> None:
        """Applies a batch exactly once, waiting out the store; an ambiguous commit is looked up, never repeated."""
        start, end = self._cursor.next, self._cursor.next + len(records)
        began = perf_counter()
        applied: Applied | None = None
        while applied is None:
            try:
                applied = await self._parts.applier.apply(
                    self._partition, records, start=start, published=self._relay.published
                )
            except StoreUnavailable as error:
                _log.warning("store_unavailable", partition=self._partition, offset=start, problem=str(error))
                await asyncio.sleep(FIRST_PAUSE_S)
                self._cursor = await self._read_cursor()
                if self._cursor.next == end:
                    _log.info("commit_confirmed", partition=self._partition, next=end)
                    break
                if self._cursor.next != start:
                    raise PartitionLost(f"partition {self._partition}: another worker moved on") from error
            except PartitionLost:
                self._parts.metrics.fences_lost.inc()
                self._cursor = await self._read_cursor()
                _log.warning("fence_lost", partition=self._partition, believed=start, next=self._cursor.next)
                return
        if applied is None:
            self._relay.committed(self._cursor.seq)
            await self._look_at_holds()
            return
        self._cursor = Cursor(
            applied.next, applied.last_event_id, applied.seq, self._relay.published, applied.watermark_ms
        )
        self._relay.committed(applied.seq)
        self._report(applied, start, perf_counter() - began)
        if applied.held or applied.released:
            await self._look_at_holds()

    async def _read_cursor(self) -> Cursor:
        async def read() -> Cursor:
            return await self._parts.applier.cursor(self._partition)

        return await patiently(read, doing="read the offset row", partition=self._partition)

    async def _look_at_holds(self) -> None:
        async def look() -> tuple[int, int | None]:
            return await self._parts.applier.holds(self._partition)

        held, deadline = await patiently(look, doing="look at holds", partition=self._partition)
        self._parts.metrics.held.labels(str(self._partition)).set(held)
        if deadline != self._deadline:
            self._deadline, self._tick_not_before = deadline, 0.0

    async def _tick_if_due(self) -> None:
        """Appends a tick when the first hold is due by our clock; the tick's own log time decides, not ours.

        If the log's clock lags, the hold outlives the tick: another one only after the time that then remains.
        """
        parts = self._parts
        if self._deadline is None or self._stopping.is_set() or parts.clock.now_ms() < self._deadline:
            return
        if parts.clock.monotonic() < self._tick_not_before:
            return
        tick = TickRecord(event_id=f"tick-{uuid.uuid4()}")
        try:
            positions = await parts.log.append(parts.received_topic, [tick_to_log(tick, self._partition)])
        except LogUnavailable as error:
            _log.warning("tick_not_appended", partition=self._partition, code=error.code)
            self._tick_not_before = parts.clock.monotonic() + parts.idle_s
            return
        remaining_ms = max(0, self._deadline - positions[0].log_ms)
        self._tick_not_before = parts.clock.monotonic() + max(remaining_ms / 1000, parts.idle_s)

    def _report(self, applied: Applied, start: int, seconds: float) -> None:
        metrics, label, by_verdict = (
            self._parts.metrics,
            str(self._partition),
            sorted(applied.verdicts.items(), key=str),
        )
        for (verdict, reason), count in by_verdict:
            metrics.verdicts.labels(verdict, reason or "").inc(count)
        if applied.repeats:
            metrics.verdicts.labels("duplicate", "").inc(applied.repeats)
        metrics.moved_before_cancellation_ahead.inc(applied.ahead_of_cancelled)
        metrics.batch_records.observe(applied.next - start)
        metrics.batch_seconds.observe(seconds)
        metrics.watermark_lag.labels(label).set(max(0, self._parts.clock.now_ms() - applied.watermark_ms) / 1000)
        _log.info(
            "batch_applied",
            partition=self._partition,
            offset=start,
            records=applied.next - start,
            seq=applied.seq,
            verdicts={f"{verdict}:{reason}" if reason else verdict: n for (verdict, reason), n in by_verdict},
            repeats=applied.repeats,
            held=applied.held,
            released=applied.released,
            ms=round(seconds * 1000, 1),
        )
