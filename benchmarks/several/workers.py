"""The figure: applying with one worker process and with two of one group."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import asyncpg

from backbone.store.migration import migrate
from benchmarks.apply.records import Story
from benchmarks.apply.topic import FullTopic, full_topic
from benchmarks.durable_postgres import plain_url
from benchmarks.machine import CoreMeter, Cores
from benchmarks.model import Comparison, Figure, Measurement
from benchmarks.parts import PARTITIONS, Parts, settings_of
from benchmarks.plans import Options, Plan, Work
from benchmarks.processes import MeasurementError, Process
from benchmarks.rounds import Report, run_rounds
from benchmarks.several.cores import cores_for, cores_note
from benchmarks.several.starting import all_said
from benchmarks.summary import steady_rate, steady_seconds

COUNTS = (1, 2)
RECORDS_A_SECOND = 20_000
_LEAST_RECORDS = 60_000
_LOOK_EVERY_S = 0.02
_SKIP_S = 0.5
_SLOWEST_S = 30.0
"""On top of what was asked for, on a machine where that sees too few commits."""
_AT_WORK = '"event":"batch_applied"'
_COUNT = "SELECT coalesce(sum(next), 0)::bigint FROM offsets"


@dataclass(frozen=True, slots=True)
class WorkersOnTopic:
    """So many workers of a new group, on an empty database, each round from the topic's first record."""

    workers: int
    topic: FullTopic
    cores: Cores
    seconds: float
    _groups: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def name(self) -> str:
        """How it is called in tables."""
        return "1 worker" if self.workers == 1 else f"{self.workers} workers"

    async def measure(self) -> Measurement:
        """From when all of them have applied something. Raises MeasurementError."""
        parts, group = self.topic.parts, f"several-{self.workers}-{next(self._groups)}"
        with ExitStack() as stack:
            urls = stack.enter_context(parts.database())
            environment = parts.environment(urls, prefix=self.topic.prefix, consumer_group=group)
            await migrate(settings_of(environment))
            await self.topic.empty_outcomes()
            processes = [
                stack.enter_context(Process("consumers", environment=environment, cores=self.cores.measured))
                for _ in range(self.workers)
            ]
            await all_said(processes, _AT_WORK)
            connection = await asyncpg.connect(plain_url(urls.owner), timeout=10)
            try:
                return await self._watch(processes, connection)
            finally:
                await connection.close(timeout=10)

    async def _watch(self, processes: list[Process], connection: asyncpg.Connection) -> Measurement:
        loop = asyncio.get_running_loop()
        samples = [(loop.time(), int(await connection.fetchval(_COUNT)))]
        cpu_s, meter = sum(process.cpu_seconds() for process in processes), CoreMeter(self.cores.others)
        give_up = loop.time() + _SKIP_S + self.seconds + _SLOWEST_S
        while samples[-1][1] < self.topic.records and loop.time() < give_up:
            if steady_seconds(samples, skip_s=_SKIP_S) >= self.seconds:
                break
            await asyncio.sleep(_LOOK_EVERY_S)
            samples.append((loop.time(), int(await connection.fetchval(_COUNT))))
        for process in processes:
            process.check_alive()
        cpu_s = sum(process.cpu_seconds() for process in processes) - cpu_s
        took, done = samples[-1][0] - samples[0][0], samples[-1][1] - samples[0][1]
        if not done:
            raise MeasurementError(f"{self.name} stopped after its first commit:\n{processes[0].last_words()}")
        try:
            rate = steady_rate(samples, skip_s=_SKIP_S)
        except ValueError as error:
            raise MeasurementError(f"{self.name}: {error}; {done} of {self.topic.records} records applied") from error
        return Measurement(rate=rate, cpu_us=cpu_s / done * 1e6, busy=cpu_s / took, others_busy=meter.busy())


async def measure_workers(parts: Parts, options: Options, report: Report) -> Figure:
    """Both from a full topic, in turns. Raises MeasurementError, LogUnavailable."""
    cores = cores_for(max(COUNTS), parts.cores)
    figure = Figure(
        name="apply-processes",
        title="Apply with one and with two workers of one group",
        unit="events/s",
        notes=["outcomes published; own CPU is of all processes together", cores_note(cores)],
    )
    records = max(_LEAST_RECORDS, round(RECORDS_A_SECOND * options.seconds))
    async with full_topic(parts, "several", Story(partitions=PARTITIONS).records(records)) as topic:
        contenders = [WorkersOnTopic(count, topic, cores, options.seconds) for count in COUNTS]
        figure.comparisons = (Comparison(contenders[1].name, contenders[0].name),)
        await run_rounds(figure, contenders, rounds_of(options), report)
    return figure


def rounds_of(options: Options) -> int:
    """Enough for a ratio that has no target."""
    return min(3, options.rounds)


def _work(options: Options) -> Work:
    steps = rounds_of(options) * len(COUNTS)
    return Work(steps, 12 + steps * (options.seconds + 4))


APPLY_PROCESSES = Plan(
    name="apply-processes",
    title="events a second with one and two workers",
    measure=measure_workers,
    work=_work,
)
