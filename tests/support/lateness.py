"""How late this process gets its turns: what a bound on a wait has to allow for on a busy machine.

A bound that is generous enough for every machine proves nothing on a quick one. So the slowness is measured where the
wait is, and the bound grows by it.
"""

import asyncio
import time
from typing import Self

_BEAT_S = 0.01


class Lateness:
    """Measures while the block runs. `worst_s` is how much later than asked for the event loop came round at worst."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begins."""
        self._task = asyncio.create_task(self._measure())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _measure(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(_BEAT_S)
            self.worst_s = max(self.worst_s, time.monotonic() - began - _BEAT_S)
