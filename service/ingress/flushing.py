"""What is gathered in memory and written every second: one loop for all of it, bounded when it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

FLUSH_EVERY_S = 1.0
_AT_STOP_S = 2.0
_log = structlog.get_logger("mealtrail.ingress")


class Flusher:
    """Calls `flush` every second from `start` to `stop`. A `flush` that raises is logged as `failed`, and called again
    all the same.
    """

    def __init__(self, flush: Callable[[], Awaitable[None]], *, failed: str) -> None:
        self._flush = flush
        self._failed = failed
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(self._run(), name=f"flush, or {self._failed}")

    async def stop(self) -> None:
        """Ends, and flushes a last time, within two seconds. May be repeated."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AT_STOP_S):
                await self._flush()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            try:
                await self._flush()
            except Exception as error:  # noqa: BLE001 - the loop must outlive a bug in one write
                _log.error(self._failed, exc_info=error)
