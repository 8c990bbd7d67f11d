"""What retention is to a topic, for the embedded log: records that are old and done with go, so the file stays bounded.

Old is measured by the log's own records, and never by the machine's clock alone or by one newest record: either may be
wrong for a moment, and what was removed is gone. The time that counts is that of a record behind which another lies,
seen twice (`backbone.steady_time`); none does while the log is ahead of the wall clock. So a log to which nothing
comes keeps what it has. Done with is what the store has committed: of the received topic, everything before the record
that was
applied last (that one is how the store knows its log). Outcomes and dead letters are in the store before they are in
the log, so of them the newest record alone is kept whatever its age. What is not applied is never removed, however old
it is; nor is a record of a partition that nobody has owned yet.

A log without its beginning cannot rebuild a store. That is Kafka's bargain too, and the default is Kafka's 14 days.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from backbone.clocks import SYSTEM_CLOCK, Clock
from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.steady_time import APART_MS, CONFIRM_S, SteadyTime
from backbone.store.engine import Store
from backbone.store.next_offsets import next_offsets
from schemas.errors import Unavailable

_log = structlog.get_logger("mealtrail.eventlog")
PRUNE_EVERY_S = 3600.0


class EmbeddedPruning:
    """Prunes one embedded log by what one store has applied. Runs in the server that owns both."""

    def __init__(
        self,
        *,
        log: EmbeddedEventLog,
        store: Store,
        received: str,
        others: Sequence[str],
        keep_ms: int,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._log = log
        self._store = store
        self._received = received
        self._others = tuple(others)
        self._keep_ms = keep_ms
        self._clock = clock
        self._steady = SteadyTime(clock)
        self._is_ahead = False

    async def run(self) -> None:
        """Prunes a minute after the start and then every hour, until cancelled. A failure is logged; the next round
        tries again.
        """
        pause_s = CONFIRM_S
        while True:
            try:
                await self.prune()
            except Unavailable as error:
                _log.warning("log_not_pruned", code=error.code, problem=str(error))
            await asyncio.sleep(pause_s)
            pause_s = PRUNE_EVERY_S

    async def prune(self) -> int:
        """One round over all topics; how many records went. None at the first one, which only looks at the time.
        Repeatable. Raises LogUnavailable, StoreUnavailable.
        """
        now_ms = self._believe(*await self._log.newest_ms())
        if now_ms is None:
            return 0
        before_ms = now_ms - self._keep_ms
        applied = await next_offsets(self._store)
        removed = 0
        for partition, following in applied.items():
            removed += await self._log.prune(
                self._received, partition, before_ms=before_ms, keep_from=max(following - 1, 0)
            )
        for topic in self._others:
            bounds = await self._log.bounds(topic, list(applied))
            for partition, held in bounds.items():
                removed += await self._log.prune(topic, partition, before_ms=before_ms, keep_from=max(held.end - 1, 0))
        if removed:
            _log.info("log_pruned", records=removed, before_ms=before_ms)
        return removed

    def _believe(self, newest_ms: int, second_ms: int) -> int | None:
        """The time by which records are old; said once when the log turns out to be ahead of the wall clock."""
        is_ahead = newest_ms > self._clock.now_ms() + APART_MS
        now_ms = self._steady.take(newest_ms if is_ahead else second_ms, may_lag=True)
        if is_ahead and not self._is_ahead:
            _log.warning("log_not_pruned", newest_ms=newest_ms, problem="the log is ahead of the wall clock")
        self._is_ahead = is_ahead
        return now_ms
