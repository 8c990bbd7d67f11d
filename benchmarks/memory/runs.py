"""Long runs: processes under load, their resident memory looked at all the time."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import asyncpg
import orjson
import psutil

from benchmarks.durable_postgres import plain_url
from benchmarks.memory.samples import Sample, join
from benchmarks.parts import Parts, make_prefix, settings_of
from benchmarks.processes import MeasurementError, Process, listening
from benchmarks.rounds import Report
from kafka_broker import free_port
from service.cli.migrate import migrate_all

SERVE, WORKER, UP = "mealtrail serve", "mealtrail worker", "mealtrail up"
_LOOK_EVERY_S = 0.2
_STALLED_S = 60.0
_SOURCE = ("source", "add", "bench", "--role", "platform", "--rate", "1000000", "--json")


@dataclass(slots=True)
class Watched:
    """A process and what it held, by the clock."""

    process: Process
    memory: list[tuple[float, float]] = field(default_factory=list)

    def look(self) -> None:
        """One more sample. Raises MeasurementError if the process has ended."""
        self.process.check_alive()
        resident = psutil.Process(self.process.pid).memory_info().rss
        self.memory.append((time.time(), resident / 2**20))


async def run_on_kafka(parts: Parts, events: int, report: Report) -> dict[str, list[Sample]]:
    """One `serve` and one worker: so many webhooks over HTTP, through Kafka, into PostgreSQL."""
    with ExitStack() as stack:
        urls = stack.enter_context(parts.database())
        port = free_port()
        environment = parts.environment(urls, prefix=make_prefix("memory"), port=port)
        await migrate_all(settings_of(environment))
        secret = await _make_source(environment)
        cores = parts.cores
        serve = Process("service.cli", "serve", environment=environment, cores=cores.measured)
        worker = Process("consumers", environment=environment, cores=cores.measured)
        watched = [Watched(stack.enter_context(serve)), Watched(stack.enter_context(worker))]
        await listening(serve, port)
        connection = await asyncpg.connect(plain_url(urls.owner), timeout=10)
        applied: list[tuple[float, int]] = []

        async def look() -> int:
            for one in watched:
                one.look()
            applied.append((time.time(), int(await connection.fetchval("SELECT sum(next) FROM offsets") or 0)))
            return applied[-1][1]

        try:
            timeline = await _drive(parts, port, secret, events, look, report, of=f"{SERVE} and {WORKER}")
        finally:
            await connection.close(timeout=10)
    return {SERVE: join(watched[0].memory, timeline), WORKER: join(watched[1].memory, applied)}


async def run_embedded(parts: Parts, events: int, report: Report) -> dict[str, list[Sample]]:
    """One `up`: so many webhooks over HTTP, applied in the same process."""
    with ExitStack() as stack:
        folder, port = stack.enter_context(tempfile.TemporaryDirectory()), free_port()
        environment = {"MEALTRAIL_DATA_DIR": folder, "MEALTRAIL_PORT": str(port), "MEALTRAIL_ADMIN_PORT": "0"}
        secret = await _make_source(environment)
        up = Watched(
            stack.enter_context(Process("service.cli", "up", environment=environment, cores=parts.cores.measured))
        )
        await listening(up.process, port)

        async def look() -> int:
            up.look()
            return events  # it applies what it takes; there is nobody to wait for

        timeline = await _drive(parts, port, secret, events, look, report, of=UP)
    return {UP: join(up.memory, timeline)}


async def _make_source(environment: dict[str, str]) -> str:
    with Process("service.cli", *_SOURCE, environment=environment, cores=()) as command:
        return str(orjson.loads(await command.result(60))["secret"])


async def _drive(
    parts: Parts,
    port: int,
    secret: str,
    events: int,
    look: Callable[[], Awaitable[int]],
    report: Report,
    *,
    of: str,
) -> list[tuple[float, int]]:
    """Loads until all is answered and done, looking all the time; the load's own timeline.

    Raises MeasurementError when anything but 202 was answered, or what was taken is not done in the end.
    """
    options = [f"--port={port}", f"--events={events}"]
    load = Process("benchmarks.memory.load", *options, environment={}, cores=parts.cores.others, stdin=secret + "\n")
    began = time.monotonic()
    with load:
        answer = asyncio.create_task(load.result(timeout=24 * 3600))
        while not answer.done():
            await look()
            await asyncio.wait([answer], timeout=_LOOK_EVERY_S)
        found = orjson.loads(await answer)
    if found["statuses"] != {"202": events}:
        raise MeasurementError(f"{of}: {events} events were sent, and answered {found['statuses']}")
    done, moved_at = await look(), time.monotonic()
    while done < events:
        if time.monotonic() - moved_at > _STALLED_S:
            raise MeasurementError(f"{of}: only {done} of {events} events were applied")
        await asyncio.sleep(_LOOK_EVERY_S)
        before, done = done, await look()
        moved_at = time.monotonic() if done > before else moved_at
    report(f"{events:,} events through {of} in {time.monotonic() - began:.0f} s")
    return [(seconds, count) for seconds, count in found["timeline"]]
