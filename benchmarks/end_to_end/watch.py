"""When the verdicts of a run became visible in the outcomes topic, read as any consumer of it would.

The log port reads both logs, Kafka and the embedded one, and from another process than the one that is measured: so
watching costs that one nothing. Times are of the system's monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import orjson

from backbone.eventlog.opening import open_event_log
from backbone.eventlog.port import LogRecord, TailReader
from backbone.settings import Settings
from benchmarks.ingress.webhooks import number_of
from benchmarks.processes import MeasurementError

_MOST = 5000
_KAFKA_WAIT_S = 0.5
_EMBEDDED_EVERY_S = 0.002
"""How often the embedded log is asked; its own notice of other processes' appends comes only ten times a second."""
_STALLED_S = 20.0
_SETTLED_S = 3.0


class Verdicts:
    """When each event of one run was seen first, by its number."""

    def __init__(self, run: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.run = run
        self.seen: dict[int, float] = {}
        self._clock = clock

    def take(self, records: list[LogRecord]) -> None:
        """Notes records that have just been read. Inferred steps are not verdicts of their event."""
        now = self._clock()
        for record in records:
            outcome = orjson.loads(record.value)
            number = None if outcome["inferred"] else number_of(self.run, outcome["event_id"])
            if number is not None:
                self.seen.setdefault(number, now)


class Watch:
    """A reader of the outcomes topic, from its end."""

    def __init__(self, tail: TailReader, *, embedded: bool) -> None:
        self._tail = tail
        self._embedded = embedded
        self.verdicts = Verdicts("")

    def expect(self, run: str) -> Verdicts:
        """From now on it is this run's verdicts that count."""
        self.verdicts = Verdicts(run)
        return self.verdicts

    async def follow(self) -> None:
        """Reads until it is cancelled. Raises LogUnavailable, LogGap."""
        while True:
            if self._embedded:
                await asyncio.sleep(_EMBEDDED_EVERY_S)
            wait_s = 0.0 if self._embedded else _KAFKA_WAIT_S
            records = await self._tail.read(max_records=_MOST, timeout=wait_s)
            self.verdicts.take(records)  # of the run that is expected now, not when the reading began

    async def all_seen(self, count: int, following: asyncio.Task[None]) -> None:
        """Returns when so many events of the run have their verdict. Raises MeasurementError when no more come."""
        if not await self._seen(count, following, patience_s=_STALLED_S):
            came = len(self.verdicts.seen)
            raise MeasurementError(f"{came} of {count} verdicts came, and none for {_STALLED_S:g} s")

    async def settled(self, following: asyncio.Task[None]) -> None:
        """Returns when no verdict has come for a while. For a run that lost events: where an announcement is among
        them, what follows it is held, and its verdict is a day off.
        """
        await self._seen(None, following, patience_s=_SETTLED_S)

    async def _seen(self, count: int | None, following: asyncio.Task[None], *, patience_s: float) -> bool:
        loop = asyncio.get_running_loop()
        before, give_up = -1, 0.0
        while count is None or len(self.verdicts.seen) < count:
            if following.done():
                following.result()
            if len(self.verdicts.seen) > before:
                before, give_up = len(self.verdicts.seen), loop.time() + patience_s
            elif loop.time() > give_up:
                return False
            await asyncio.sleep(0.02)
        return True


@asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[tuple[Watch, asyncio.Task[None]]]:
    """A watch that follows the outcomes topic of a deployment in the background."""
    log = open_event_log(settings)
    await log.start()
    try:
        topic = settings.topics.outcomes
        bounds = await log.bounds(topic, range(settings.partitions))
        tail = await log.tail(topic, {partition: bound.end for partition, bound in bounds.items()})
        watch = Watch(tail, embedded=settings.embedded)
        following = asyncio.create_task(watch.follow(), name="watching-outcomes")
        try:
            yield watch, following
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            await tail.stop()
    finally:
        await log.stop()
