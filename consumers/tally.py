"""What counts against the events of one record in hand: failures, and whatever is counted before it is begun.

What is begun stands in the store with one try more until it has ended, so that a process that dies of it leaves that
count behind. One thing is begun at a time: to begin the next one ends the one before, in one transaction. In memory the
counts are as they are in the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from consumers.attempts import AttemptRepository, Begun
from consumers.dead_letter import Failure
from consumers.patience import T, patiently
from schemas.errors import MealtrailError

LEAVING_S = 1.0
"""How long taking a count back may hold up a worker that is being stopped."""


class Tally:
    """The counts at one offset. Its methods wait out the store, unless they say otherwise; all that write raise
    PartitionLost.
    """

    def __init__(self, counts: AttemptRepository, partition: int, in_hand: int) -> None:
        self._counts = counts
        self._partition = partition
        self._in_hand = in_hand
        self.failures: dict[int, Failure] = {}
        """What is counted, by the event's offset."""
        self._begun: Begun | None = None
        self._beginning: Begun | None = None
        """What is being written down: whether the store has it is not known yet."""

    @property
    def begun(self) -> int | None:
        """The event of which something is begun and has not ended."""
        return None if self._begun is None else self._begun.pair[1]

    def tries_of(self, event_offset: int) -> int:
        """How often the event failed."""
        counted = self.failures.get(event_offset)
        return 0 if counted is None else counted.attempts

    async def load(self) -> None:
        """What others counted before."""
        self.failures = await self._patiently(lambda: self._counts.of(self._in_hand))

    async def note(self, event_offset: int, failure: Failure) -> None:
        """Counts a failure. If it was counted as begun, this is what it was."""
        if self.begun == event_offset:
            self._begun = None
        self.failures[event_offset] = failure
        await self._patiently(lambda: self._counts.note((self._in_hand, event_offset), failure))

    async def begin(self, event_offset: int, error: str) -> None:
        """Counts what is about to be done with the event, and no longer what was begun before."""
        if self.begun == event_offset:
            if self.failures[event_offset].error == error:
                return  # once more under the same record
            await self.end()
        ended, earlier = self._begun, self.failures.get(event_offset)
        counted = Failure(error, self.tries_of(event_offset) + 1)
        self._beginning = beginning = Begun((self._in_hand, event_offset), counted, earlier)
        await self._patiently(lambda: self._counts.note(beginning.pair, counted, ended=ended))
        if ended is not None:
            self._restore(ended)
        self._begun, self._beginning = beginning, None
        self.failures[event_offset] = counted

    async def end(self) -> None:
        """What was begun went well, or failed in a way that is counted otherwise."""
        if self._begun is not None:
            ended = self._begun
            await self._patiently(lambda: self._counts.take_back(ended))
            self._restore(ended)
            self._begun = None

    def passed(self) -> None:
        """What was begun is committed, and all counts went with it."""
        self._begun = None

    async def leave(self) -> None:
        """To be stopped in the middle is no death: one attempt to take the count back, of at most LEAVING_S."""
        begun = [one for one in (self._begun, self._beginning) if one is not None]
        if not begun:
            return
        with suppress(MealtrailError, TimeoutError):
            async with asyncio.timeout(LEAVING_S):
                await self._counts.take_back(*begun)

    async def forget(self) -> None:
        """Whoever tries the record next starts counting anew."""
        await self._patiently(lambda: self._counts.forget(self._in_hand))

    async def order_of(self, event_offset: int) -> str | None:
        """The order of an event that waits or was set aside, for people."""
        return await self._patiently(lambda: self._counts.order_of(event_offset))

    def _restore(self, begun: Begun) -> None:
        event_offset = begun.pair[1]
        if begun.earlier is None:
            del self.failures[event_offset]
        else:
            self.failures[event_offset] = begun.earlier

    async def _patiently(self, act: Callable[[], Awaitable[T]]) -> T:
        return await patiently(act, doing="apply one record", partition=self._partition)
