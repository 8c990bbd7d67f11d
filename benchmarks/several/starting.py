"""Waiting until processes have said in their logs that they are where they should be."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from benchmarks.processes import MeasurementError, Process

_WITHIN_S = 60.0


async def all_said(processes: Sequence[Process], words: str, *, times: int = 1) -> None:
    """Returns when each has said it so often in the end of its log. Raises MeasurementError after a minute."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + _WITHIN_S
    for process in processes:
        while process.last_words().count(words) < times:
            process.check_alive()
            if loop.time() > give_up:
                raise MeasurementError(f"a process never said {words}:\n{process.last_words()}")
            await asyncio.sleep(0.02)
