"""When a partition's first hold is due, and the tick that lets the log's time get there on an idle partition."""

from __future__ import annotations

import uuid

import structlog

from backbone.clocks import Clock
from backbone.eventlog.port import EventLog
from backbone.eventlog.received import tick_to_log
from schemas.errors import LogUnavailable
from schemas.records import TickRecord

_log = structlog.get_logger("mealtrail.consumers")


class Ticker:
    """Appends ticks for one partition, and no more of them than are needed. `idle_s` is the pause after one."""

    def __init__(self, *, log: EventLog, topic: str, clock: Clock, partition: int, idle_s: float) -> None:
        self._log = log
        self._topic = topic
        self._clock = clock
        self._partition = partition
        self._idle_s = idle_s
        self._deadline: int | None = None
        self._not_before = 0.0

    def watch(self, deadline_ms: int | None) -> None:
        """The first hold is due then, in log time; None while nothing waits."""
        if deadline_ms != self._deadline:
            self._deadline, self._not_before = deadline_ms, 0.0

    def hurry(self) -> None:
        """The log's clock has come to the deadline; more may be due than ended under one record."""
        self._not_before = 0.0

    def wait_s(self) -> float:
        """How long to wait for records before looking at the deadline, at most the idle time."""
        if self._deadline is None:
            return self._idle_s
        until_due = (self._deadline - self._clock.now_ms()) / 1000
        until_tick = max(until_due, self._not_before - self._clock.monotonic())
        return min(self._idle_s, max(until_tick, 0.01))

    async def tick_if_due(self) -> None:
        """Appends a tick when the first hold is due by our clock; the tick's own log time decides, not ours.

        If the log's clock lags, the hold outlives the tick: another one only after the time that then remains. A log
        that does not answer is asked again after the idle time.
        """
        if self._deadline is None or self._clock.now_ms() < self._deadline:
            return
        if self._clock.monotonic() < self._not_before:
            return
        tick = TickRecord(event_id=f"tick-{uuid.uuid4()}")
        try:
            positions = await self._log.append(self._topic, [tick_to_log(tick, self._partition)])
        except LogUnavailable as error:
            _log.warning("tick_not_appended", partition=self._partition, code=error.code)
            self._not_before = self._clock.monotonic() + self._idle_s
            return
        remaining_ms = max(0, self._deadline - positions[0].log_ms)
        self._not_before = self._clock.monotonic() + max(remaining_ms / 1000, self._idle_s)
