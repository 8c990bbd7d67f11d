"""Publishing one event and waiting for its verdict, in two steps, so that the body's room is free while one waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import NamedTuple

from aiohttp import web

from backbone.metrics import Metrics
from backbone.store.readings import Readings, ReceiptView, Sight
from backbone.store.sources import Source
from schemas.errors import StoreUnavailable
from schemas.identifiers import ReceiptId, record_key
from schemas.verdicts import ReceiptState
from service.dialects.port import ParsedEvent, Taken
from service.ingress.publishing import Publisher
from service.verdicts.waiters import Waiter, Waiters

FIRST_LOOK_S = 0.05
SLOWEST_LOOK_S = 0.5
_FINAL = frozenset({ReceiptState.FINAL})
_LAST_LOOK_S = 1.0
"""What the last look at the receipt may take beyond the time asked for."""
_GONE_EVERY_S = 0.5
_LOOKS_AT_ONCE = 4
"""Receipts read at the same time by all who wait, so that they leave connections to other readers."""


class Published(NamedTuple):
    """An event that lies in the log. Without a waiter nobody waits for it."""

    request: web.Request
    source: Source
    taken: Taken
    give_up: float
    waiter: Waiter | None


class VerdictDesk:
    """One per application. `publish`, then `verdict`, with nothing awaited in between."""

    def __init__(
        self,
        publisher: Publisher,
        readings: Readings,
        waiters: Waiters,
        *,
        metrics: Metrics,
        monotonic: Callable[[], float],
    ) -> None:
        self._publisher = publisher
        self._readings = readings
        self._waiters = waiters
        self._metrics = metrics
        self._monotonic = monotonic
        self._looks = asyncio.Semaphore(_LOOKS_AT_ONCE)

    async def publish(
        self, request: web.Request, source: Source, parsed: ParsedEvent, raw: bytes, *, seconds: float
    ) -> Published:
        """Puts the event into the log. With `seconds` > 0 it may be waited for, counted from now, unless too many
        wait already. Raises LogUnavailable: unknown.
        """
        give_up = self._monotonic() + seconds
        waiter = None
        if seconds > 0:
            key = record_key(source.workspace, parsed.order_id)
            waiter = self._waiters.register(key, source.uid, parsed.event_id)
        try:
            taken = (await self._publisher.publish(request, source, [parsed], raw))[0]
        except BaseException:
            if waiter is not None:
                self._waiters.leave(waiter)
            raise
        if waiter is not None:
            waiter.locate(ReceiptId.parse(taken.receipt_id))
        return Published(request, source, taken, give_up, waiter)

    async def verdict(self, published: Published, *, until: Collection[ReceiptState] = _FINAL) -> ReceiptView | None:
        """The event's receipt once its state is one of `until`; None when that is not in time, or nobody waits. Never
        raises for outages.
        """
        waiter = published.waiter
        if waiter is None:
            return None
        try:
            view = await self._wait(published, waiter, until)
        finally:
            self._waiters.leave(waiter)
        self._metrics.verdict_waits.labels("timeout" if view is None else "verdict").inc()
        return view

    async def _wait(self, published: Published, waiter: Waiter, until: Collection[ReceiptState]) -> ReceiptView | None:
        view = await self._look(published)
        if view is not None and view.event_id is not None:
            waiter.look_at_receipt()  # the event is known from before: a repeat has no outcome of its own
        pause = FIRST_LOOK_S
        if until != _FINAL and not waiter.look.done():
            waiter.look_at_receipt()  # other states make no outcome; they are rare, so they are looked for slowly
            pause = SLOWEST_LOOK_S
        while view is None or view.state not in until:
            if waiter.verdict.done():
                return waiter.verdict.result()
            left = published.give_up - self._monotonic()
            if left <= 0 or _has_gone(published.request):
                last = await self._look(published)
                return last if last is not None and last.state in until else None
            if waiter.look.done():
                await asyncio.wait((waiter.verdict,), timeout=min(left, pause))
                pause = min(pause * 1.5, SLOWEST_LOOK_S)
                view = None if waiter.verdict.done() else await self._look(published)
            else:
                wake = (waiter.verdict, waiter.look)
                await asyncio.wait(wake, timeout=min(left, _GONE_EVERY_S), return_when=asyncio.FIRST_COMPLETED)
        return view

    async def _look(self, published: Published) -> ReceiptView | None:
        """The receipt as the source may see it; None when the store does not tell in time."""
        source = published.source
        receipt = ReceiptId.parse(published.taken.receipt_id)
        try:
            async with asyncio.timeout(_LAST_LOOK_S), self._looks:
                return await self._readings.receipt(receipt, Sight(source.role, source.parties, source.uid))
        except (StoreUnavailable, TimeoutError):
            return None


def _has_gone(request: web.Request) -> bool:
    transport = request.transport
    return transport is None or transport.is_closing()
