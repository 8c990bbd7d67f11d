"""The servers that take the load: mealtrail's own, two by hand, and the bare one, side by side on the same parts.

They run all the time and are idle between their turns. When they are taken down, every request that was answered 202
must be a record in Kafka, or the figures are of something else.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager

from backbone.clocks import SYSTEM_CLOCK
from backbone.eventlog.opening import open_event_log
from backbone.settings import Settings
from backbone.store.opening import open_store
from backbone.store.secrets import SecretBox
from backbone.store.sources import NewSource, SourceRepository
from benchmarks.ingress.contender import ServerUnderLoad
from benchmarks.ingress.webhooks import SOURCE
from benchmarks.parts import PARTITIONS, Parts, make_prefix, settings_of
from benchmarks.processes import MeasurementError, Process, listening
from kafka_broker import free_port
from schemas.statuses import Role
from schemas.topics import RECEIVED, topic_specs
from service.cli.migrate import migrate_all

MEALTRAIL, HAND_WRITTEN, OPEN_BATCHES, BARE = (
    "mealtrail serve",
    "hand-written",
    "hand-written, open batches",
    "bare aiohttp",
)
_NO_LIMIT = 1_000_000
_BY_HAND: Mapping[str, tuple[str, ...]] = {HAND_WRITTEN: (), OPEN_BATCHES: ("--open-batches",)}


def make_secret() -> str:
    """A signing secret for one run."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@asynccontextmanager
async def running_servers(
    parts: Parts, names: Sequence[str], notes: list[str]
) -> AsyncIterator[dict[str, ServerUnderLoad]]:
    """The named servers, listening. At the end the records are counted into the notes.

    Raises MeasurementError when one does not start, or has lost a request that it answered 202.
    """
    secret = make_secret()
    servers: dict[str, ServerUnderLoad] = {}
    prefixes = {name: make_prefix("ingress") for name in names if name != BARE}
    with ExitStack() as stack:
        urls = stack.enter_context(parts.database())
        for name in names:
            port = free_port()
            module, arguments, environment = "benchmarks.ingress.bare", [f"--port={port}"], {}
            if name == MEALTRAIL:
                environment = parts.environment(urls, prefix=prefixes[name], port=port)
                await make_deployment(settings_of(environment), secret)
                module, arguments = "service.cli", ["serve"]
            elif name in _BY_HAND:
                await _make_topic(settings_of(parts.environment(urls, prefix=prefixes[name])))
                module = "benchmarks.ingress.hand_written"
                arguments += [f"--kafka={parts.kafka.bootstrap}", f"--topic={prefixes[name]}{RECEIVED}"]
                arguments += _BY_HAND[name]
            process = Process(
                module, *arguments, environment=environment, cores=parts.cores.measured, stdin=secret + "\n"
            )
            servers[name] = ServerUnderLoad(name, stack.enter_context(process), port, secret, parts.cores)
        for server in servers.values():
            await listening(server.process, server.port)
        yield servers
        for name, prefix in prefixes.items():
            stored = await _count_stored(settings_of(parts.environment(urls, prefix=prefix)))
            notes.append(check_stored(name, accepted=servers[name].accepted, stored=stored))


def check_stored(name: str, *, accepted: int, stored: int) -> str:
    """A line for the notes. Raises MeasurementError when fewer records are stored than were answered 202."""
    if stored < accepted:
        raise MeasurementError(f"{name}: {accepted} answered 202, {stored} lie in Kafka")
    return f"{name}: {accepted:,} answered 202, {stored:,} records in Kafka"


async def make_deployment(settings: Settings, secret: str) -> None:
    """Schema, topics, and a source that may announce and whose rate limit is out of the way."""
    await migrate_all(settings)
    store = open_store(settings, purpose="service")
    try:
        assert settings.secret_keys is not None
        box = SecretBox.parse(settings.secret_keys.get_secret_value())
        repository = SourceRepository(store, box, now_ms=SYSTEM_CLOCK.now_ms)
        new = NewSource(name=SOURCE, role=Role.PLATFORM, rate=_NO_LIMIT, secret=secret)
        await repository.add(new, actor="benchmark")
    finally:
        await store.close()


async def _make_topic(settings: Settings) -> None:
    log = open_event_log(settings)
    await log.start()
    try:
        specs = topic_specs(prefix=settings.topic_prefix, partitions=PARTITIONS, replication=1, min_insync=1)
        await log.create_topics(specs[:1])
    finally:
        await log.stop()


async def _count_stored(settings: Settings) -> int:
    log = open_event_log(settings)
    await log.start()
    try:
        async with asyncio.timeout(30):
            bounds = await log.bounds(settings.topics.received, range(PARTITIONS))
    finally:
        await log.stop()
    return sum(bound.end - bound.start for bound in bounds.values())
