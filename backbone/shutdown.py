"""Ending a server in order: the first SIGINT or SIGTERM asks, a second one ends the process at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

_log = structlog.get_logger("mealtrail.shutdown")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAME_KEY_S = 0.1
"""Wrappers such as timeout(1) pass on a signal that the terminal has sent to us too: that is one wish, not two."""


@contextmanager
def stop_on_signal() -> Iterator[asyncio.Event]:
    """Gives an event that the first SIGINT or SIGTERM sets; call it in the main thread's running loop.

    A second signal ends the process at once, with the usual code 128 + signal. That loses nothing that was answered:
    an answer means that the record is stored. The handlers go with the block.
    """
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    first_at = 0.0

    def receive(signum: signal.Signals) -> None:
        nonlocal first_at
        if stopping.is_set():
            if loop.time() - first_at > _SAME_KEY_S:
                os._exit(128 + signum)
            return
        first_at = loop.time()
        _log.info("stopping", signal=signum.name)
        stopping.set()

    for signum in _SIGNALS:
        loop.add_signal_handler(signum, receive, signum)
    try:
        yield stopping
    finally:
        for signum in _SIGNALS:
            loop.remove_signal_handler(signum)


async def stop_within(limit_s: float, what: str, stop: Awaitable[object]) -> bool:
    """Awaits `stop` for at most `limit_s` seconds (cancelling it then) and says whether it ended in order.

    Nothing it raises keeps the other parts from being stopped: it is logged, and the answer is False.
    """
    try:
        async with asyncio.timeout(limit_s):
            await stop
    except TimeoutError:
        _log.warning("stop_timed_out", part=what, limit_s=limit_s)
    except Exception as error:  # noqa: BLE001 - the next part must still be stopped
        _log.error("stop_failed", part=what, exc_info=error)
    else:
        return True
    return False


async def unless_stopped(work: Callable[[], Coroutine[Any, Any, None]], stopping: asyncio.Event) -> bool:
    """Runs `work` to its end and says True, or cancels it when `stopping` comes first and says False.

    What the work raises passes through.
    """
    working = asyncio.create_task(work())
    waiting = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        for task in (working, waiting):
            task.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
