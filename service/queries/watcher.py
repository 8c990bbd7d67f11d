"""One watcher for all who wait: the trail's heads are asked for every 100 ms while anybody waits, and never else.

A waiter is woken when some partition is past its position, when its time is over, when its caller has gone, or when the
process stops. The number of waiters is bounded; so a crowd of long polls costs the store ten small reads a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from backbone.metrics import Metrics
from schemas.errors import MealtrailError, Unavailable

POLL_EVERY_S = 0.1
MOST_WAITERS = 1000


@dataclass(slots=True, eq=False)
class _Waiter:
    after: Mapping[int, int]
    gone: Callable[[], bool]
    woken: asyncio.Future[None]


class ChangeWatcher:
    """Wakes those who wait for changes. Belongs to one event loop."""

    def __init__(
        self,
        heads: Callable[[], Awaitable[Mapping[int, int]]],
        metrics: Metrics,
        *,
        every_s: float = POLL_EVERY_S,
        most: int = MOST_WAITERS,
    ) -> None:
        self._heads = heads
        self._metrics = metrics
        self._every_s = every_s
        self._most = most
        self._waiters: set[_Waiter] = set()
        self._task: asyncio.Task[None] | None = None
        self.stopping = False
        """Whether the process stops: nobody should wait again."""

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._waiters)

    async def wait(self, after: Mapping[int, int], *, seconds: float, gone: Callable[[], bool]) -> None:
        """Returns when there is something after the position, or when waiting makes no more sense.

        `gone` tells whether the caller has left; it must be cheap. Raises StoreUnavailable when the store does not
        answer, Unavailable when too many wait already.
        """
        if self.stopping or seconds <= 0:
            return
        if len(self._waiters) >= self._most:
            raise Unavailable("too many readers wait already")
        waiter = _Waiter(after, gone, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        self._metrics.waiting_readers.set(len(self._waiters))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="watch changes")
        try:
            await asyncio.wait((waiter.woken,), timeout=seconds)
            if waiter.woken.done():
                waiter.woken.result()
        finally:
            self._waiters.discard(waiter)
            waiter.woken.cancel()
            self._metrics.waiting_readers.set(len(self._waiters))

    async def _watch(self) -> None:
        while self._waiters:
            try:
                heads = await self._heads()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - handed to everybody who waits, nothing is lost
                self._wake_all(error)
                return
            for waiter in tuple(self._waiters):
                passed = any(seq > waiter.after.get(partition, 0) for partition, seq in heads.items())
                if (passed or waiter.gone()) and not waiter.woken.done():
                    waiter.woken.set_result(None)
            await asyncio.sleep(self._every_s)

    def _wake_all(self, error: Exception | None) -> None:
        for waiter in tuple(self._waiters):
            if waiter.woken.done():
                continue
            if error is None:
                waiter.woken.set_result(None)
            else:
                own = error if isinstance(error, MealtrailError) else Unavailable("changes cannot be watched")
                waiter.woken.set_exception(own)
                waiter.woken.exception()  # a waiter that leaves in this moment does not ask for it

    async def stop(self) -> None:
        """Wakes everybody and watches no more. May be repeated."""
        self.stopping = True
        self._wake_all(None)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
