"""Waiting on a condition with a bound, which is what tests do instead of sleeping."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable


async def wait_until(
    predicate: Callable[[], object] | Callable[[], Awaitable[object]],
    timeout: float = 10.0,
    what: str = "the condition",
) -> None:
    """Return as soon as `predicate` gives something true; it may be a plain or an async function.

    It is asked every 10 ms at first, later every 100 ms. What it raises passes through.

    Raises:
        TimeoutError: it was still false after `timeout` seconds; the message names `what`.
    """
    give_up = time.monotonic() + timeout
    pause = 0.01
    while True:
        answer = predicate()
        if inspect.isawaitable(answer):
            answer = await _bounded(answer, give_up, timeout, what)
        if answer:
            return
        if time.monotonic() > give_up:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, 0.1)


async def _bounded(answer: Awaitable[object], give_up: float, timeout: float, what: str) -> object:
    scope = asyncio.timeout(max(give_up - time.monotonic(), 0.001))
    try:
        async with scope:
            return await answer
    except TimeoutError as error:
        if scope.expired():
            raise TimeoutError(f"waited {timeout:g} s for {what}") from error
        raise
