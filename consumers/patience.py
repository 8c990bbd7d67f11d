"""Waiting out an outage: the same thing again, with growing pauses and jitter, for as long as it takes.

An outage of the log or the store is no fault of a record, so it is never counted against one and never given up on.
"""

from __future__ import annotations

import random
from asyncio import sleep
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from schemas.errors import Unavailable

_log = structlog.get_logger("mealtrail.consumers")
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
T = TypeVar("T")


async def patiently(
    act: Callable[[], Awaitable[T]],
    *,
    doing: str,
    partition: int | None = None,
    unless: type[Unavailable] | tuple[()] = (),
) -> T:
    """Awaits `act()` until it does not raise Unavailable; `act` must be repeatable.

    Ends early by cancellation, and by errors of the kind `unless`, which are raised. A long outage is logged at its
    first, second, fourth, eighth … attempt and when it is over.
    """
    where = {} if partition is None else {"partition": partition}
    pause, attempt = FIRST_PAUSE_S, 1
    while True:
        try:
            result = await act()
        except Unavailable as error:
            if isinstance(error, unless):
                raise
            if attempt & (attempt - 1) == 0:
                _log.warning(
                    "waiting_out_outage", doing=doing, attempt=attempt, code=error.code, problem=str(error), **where
                )
        else:
            if attempt > 1:
                _log.info("outage_over", doing=doing, attempts=attempt, **where)
            return result
        await sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
        pause, attempt = min(pause * 2, LONGEST_PAUSE_S), attempt + 1
