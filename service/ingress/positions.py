"""Couriers' positions on their way to the store: the latest of each order, written once a second.

A partner that sends one every few seconds for each order must cost the store one row a second and order at most, and
never an answer: what the store does not take is tried with the next write, and forgotten when newer ones come.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from backbone.store.positions import CourierPosition, Reported, reported_by
from backbone.store.sources import Source
from schemas.errors import MealtrailError
from service.dialects.port import Position

FLUSH_EVERY_S = 1.0
MOST_ORDERS = 10_000
"""Kept in memory; beyond that the newest ones of unseen orders are passed over until the next write."""
SWEEP_EVERY_S = 60.0
EARLIEST_US = 946_684_800_000_000
"""The year 2000: before it no courier of ours was anywhere."""
AHEAD_US = 86_400_000_000
"""A day: how far a claimed time may lie ahead of our clock."""
_FLUSH_AT_STOP_S = 2.0
_AT_ONCE = 500
_log = structlog.get_logger("mealtrail.positions")


class PositionSink(Protocol):
    """Where positions are kept: `backbone.store.positions.PositionRepository`."""

    async def record(self, reported: Sequence[Reported]) -> None:
        """Keeps those whose order is known and the source's."""

    async def forget_ended(self) -> None:
        """Deletes those of orders that have ended."""


class PositionRecorder:
    """Coalesces positions and writes them in the background. One per application."""

    def __init__(self, sink: PositionSink, now_ms: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._sink = sink
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._waiting: dict[tuple[str, str], Reported] = {}
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._swept = float("-inf")
        self._writing = asyncio.Lock()

    def record(self, source: Source, positions: Sequence[Position]) -> None:
        """Takes note of positions; constant cost, never raises. A later one of the same order replaces an earlier one,
        unless it says that it is older than the newest time that its source has claimed. A time that cannot be (ahead
        of our clock by more than a day, before the year 2000) counts as missing: it must not keep later ones out.
        """
        now_ms = self._now_ms()
        for position in positions:
            key = (source.uid, position.order_id)
            before = self._waiting.get(key)
            if before is None and len(self._waiting) >= MOST_ORDERS:
                continue
            occurred_us = _plausible(position.occurred_us, now_ms)
            newest_us = None if before is None else before.position.occurred_us
            if _is_older(occurred_us, newest_us):
                continue
            self._waiting[key] = reported_by(
                source,
                CourierPosition(
                    order_id=position.order_id,
                    source_uid=source.uid,
                    latitude=position.latitude,
                    longitude=position.longitude,
                    occurred_us=newest_us if occurred_us is None else occurred_us,
                    received_at=now_ms,
                ),
            )

    async def start(self) -> None:
        """Begins to write every second."""
        self._task = asyncio.create_task(self._flush_for_ever(), name="write courier positions")

    async def stop(self) -> None:
        """Writes what there is, within two seconds. May be repeated."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_AT_STOP_S):
                await self.flush()

    async def flush(self) -> None:
        """Writes what waits, once a write under way is done. What the store does not take waits for the next time;
        never raises for that.
        """
        async with self._writing:
            await self._write()

    async def _write(self) -> None:
        taken, self._waiting = self._waiting, {}
        left = list(taken.items())
        try:
            while left:
                await self._sink.record([reported for _, reported in left[:_AT_ONCE]])
                del left[:_AT_ONCE]
            if self._monotonic() - self._swept >= SWEEP_EVERY_S:
                await self._sink.forget_ended()
                self._swept = self._monotonic()
        except MealtrailError as error:
            if not self._failing:
                _log.warning("positions_not_written", exc_info=error)
            self._failing = True
            self._waiting = dict(left) | self._waiting
        else:
            self._failing = False

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            try:
                await self.flush()
            except Exception as error:  # noqa: BLE001 - the loop must outlive a bug in one write
                _log.error("positions_not_written", exc_info=error)


def _plausible(occurred_us: int | None, now_ms: int) -> int | None:
    if occurred_us is None or not EARLIEST_US <= occurred_us <= now_ms * 1000 + AHEAD_US:
        return None
    return occurred_us


def _is_older(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one < other
