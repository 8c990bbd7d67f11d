"""A consumer that works off a full topic into a database, measured from outside by what the database holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import asyncpg

from benchmarks.durable_postgres import measure_commits, plain_url
from benchmarks.machine import CoreMeter
from benchmarks.model import Measurement
from benchmarks.parts import Parts
from benchmarks.processes import MeasurementError, Process
from benchmarks.summary import steady_rate
from tests.support.postgres_databases import DatabaseUrls

_LOOK_EVERY_S = 0.02
_FIRST_WITHIN_S = 60.0
_SKIP_S = 0.5
_SLOWEST_S = 30.0
"""A machine on which two batches take longer than this is left alone."""

Prepare = Callable[[DatabaseUrls], Awaitable[Process]]
"""Makes what the contender needs in the database, and its process, not started yet."""

CountOutcomes = Callable[[], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class ConsumerOnTopic:
    """Starts anew in every round: another database, the first record of the topic that the database has not seen."""

    name: str
    parts: Parts
    prepare: Prepare
    database: Callable[[], AbstractContextManager[DatabaseUrls]]
    count: str
    """SQL for how many events are committed; cheap, as it is asked fifty times a second."""
    in_topic: int
    """How many events there are to commit in all."""
    seconds: float
    outcomes: CountOutcomes | None = None
    """How many records the outcomes topic holds; None for those that publish nothing."""
    published_shares: list[float] = field(default_factory=list)
    sustained: list[float] = field(default_factory=list)
    """Of each run: events a second that were both committed and published."""
    commits_ms: list[float] = field(default_factory=list)
    """What a small commit took just before each run: a disk's moods are a plain consumer's speed."""

    async def measure(self) -> Measurement:
        """One run. Raises MeasurementError when nothing is committed."""
        with self.database() as urls:
            process = await self.prepare(urls)
            await _checkpoint(self.parts.postgres.admin_url)
            self.commits_ms.append((await measure_commits(self.parts.postgres.admin_url)).commit_ms)
            connection = await asyncpg.connect(plain_url(urls.owner), timeout=10)
            try:
                before = await self._look(connection)
                with process:
                    return await self._watch(process, connection, before)
            finally:
                await connection.close(timeout=10)

    async def _watch(self, process: Process, connection: asyncpg.Connection, before: int) -> Measurement:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _FIRST_WITHIN_S
        published = 0 if self.outcomes is None else await self.outcomes()
        while (begun := await self._look(connection)) == before:
            process.check_alive()
            if loop.time() > give_up:
                raise MeasurementError(f"{self.name} commits nothing:\n{process.last_words()}")
            await asyncio.sleep(_LOOK_EVERY_S)
        samples = [(loop.time(), before), (loop.time(), begun)]
        cpu_s, meter = process.cpu_seconds(), CoreMeter(self.parts.cores.others)
        begin, commits = loop.time() + _SKIP_S, 0
        while samples[-1][1] < self.in_topic and loop.time() < begin + (self.seconds if commits > 1 else _SLOWEST_S):
            await asyncio.sleep(_LOOK_EVERY_S)
            samples.append((loop.time(), await self._look(connection)))
            commits += samples[-1][0] >= begin and samples[-1][1] > samples[-2][1]
        process.check_alive()
        cpu_s = process.cpu_seconds() - cpu_s
        took, done = samples[-1][0] - samples[1][0], samples[-1][1] - begun
        if not done:
            raise MeasurementError(f"{self.name} stopped after its first commit:\n{process.last_words()}")
        try:
            rate = steady_rate(samples, skip_s=_SKIP_S)
        except ValueError as error:
            raise MeasurementError(f"{self.name} committed {done} events, {error}") from error
        if self.outcomes is not None:
            published = await self.outcomes() - published
            rows = int(await connection.fetchval("SELECT sum(seq) FROM offsets"))
            self.published_shares.append(published / rows)
            # What is published of the run's own events, at most all of them, by the time that applying them took.
            self.sustained.append(rate * min(1.0, published / rows))
        return Measurement(rate=rate, cpu_us=cpu_s / done * 1e6, busy=cpu_s / took, others_busy=meter.busy())

    async def _look(self, connection: asyncpg.Connection) -> int:
        try:
            return int(await connection.fetchval(self.count) or 0)
        except asyncpg.UndefinedTableError:
            return 0  # the contender makes its own tables and has not yet


async def _checkpoint(admin_url: str) -> None:
    """So that every measurement begins with the same nothing to write back."""
    connection = await asyncpg.connect(plain_url(admin_url), timeout=10)
    try:
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close(timeout=10)
