"""Couriers' positions on their way to the store: the latest of each order, written once a second (by `flushing`).

A partner that sends one every few seconds for each order must cost the store one row a second and order at most, and
never an answer: what the store does not take is tried with the next write, and forgotten when newer ones come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from backbone.store.positions import CourierPosition, Reported, reported_by
from backbone.store.sources import Source
from schemas.errors import MealtrailError
from schemas.times import is_plausible
from service.dialects.port import Position

MOST_ORDERS = 10_000
"""Kept in memory; beyond that the newest ones of unseen orders are passed over until the next write."""
SWEEP_EVERY_S = 60.0
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
            claimed_us = position.occurred_us
            occurred_us = None if claimed_us is None or not is_plausible(claimed_us, now_ms) else claimed_us
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
        except BaseException as error:
            self._waiting = dict(left) | self._waiting
            if not isinstance(error, MealtrailError):
                raise
            if not self._failing:
                _log.warning("positions_not_written", exc_info=error)
            self._failing = True
        else:
            self._failing = False


def _is_older(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one < other
