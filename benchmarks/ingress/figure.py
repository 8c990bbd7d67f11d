"""The figure: mealtrail's own `serve` against the hand-written program and against aiohttp alone."""

from __future__ import annotations

import asyncio
import base64
import secrets
from contextlib import ExitStack
from dataclasses import dataclass

from backbone.clocks import SYSTEM_CLOCK
from backbone.eventlog.opening import open_event_log
from backbone.settings import Settings
from backbone.store.engine import open_store
from backbone.store.secrets import SecretBox
from backbone.store.sources import NewSource, SourceRepository
from benchmarks.ingress.contender import ServerUnderLoad
from benchmarks.model import Comparison, Figure
from benchmarks.parts import PARTITIONS, Parts, make_prefix, settings_of
from benchmarks.plans import Options, Plan, Work
from benchmarks.processes import MeasurementError, Process, listening
from benchmarks.rounds import Report, run_rounds
from kafka_broker import free_port
from schemas.statuses import Role
from schemas.topics import RECEIVED, topic_specs
from service.cli.migrate import migrate_all

MEALTRAIL, HAND_WRITTEN, BARE = "mealtrail serve", "hand-written", "bare aiohttp"
_SOURCE = "bench"
_NO_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class IngressOptions:
    """How long and how often."""

    rounds: int = 5
    seconds: float = 4.0
    warm_up_s: float = 1.0


async def measure_ingress(parts: Parts, options: IngressOptions, report: Report) -> Figure:
    """Sets everything up, measures, and checks that every 202 lies in Kafka. Raises MeasurementError."""
    figure = Figure(
        name="ingress",
        title="Ingress: verified webhooks, acks=all, one process on one core",
        unit="requests/s",
        comparisons=(Comparison(MEALTRAIL, HAND_WRITTEN, 1.05), Comparison(MEALTRAIL, BARE, 0.60)),
        notes=["closed loop, 64 connections: rates at saturation; latencies need an open loop and are not told here"],
    )
    prefix, theirs = make_prefix("ingress"), make_prefix("hand-written")
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    with ExitStack() as stack:
        urls = stack.enter_context(parts.database())
        port = free_port()
        environment = parts.environment(urls, prefix=prefix, port=port)
        settings = settings_of(environment)
        await _set_up(settings, secret, theirs)

        def start(name: str, module: str, *arguments: str, environment: dict[str, str], port: int) -> ServerUnderLoad:
            process = Process(
                module, *arguments, environment=environment, cores=parts.cores.measured, stdin=secret + "\n"
            )
            stack.enter_context(process)
            return ServerUnderLoad(name, process, port, secret, parts.cores, options.seconds, options.warm_up_s)

        own = start(MEALTRAIL, "service.cli", "serve", environment=environment, port=port)
        hand_port, bare_port = free_port(), free_port()
        topic = [f"--kafka={parts.kafka.bootstrap}", f"--topic={theirs}{RECEIVED}"]
        hand = start(
            HAND_WRITTEN,
            "benchmarks.ingress.hand_written",
            f"--port={hand_port}",
            *topic,
            environment={},
            port=hand_port,
        )
        bare = start(BARE, "benchmarks.ingress.bare", f"--port={bare_port}", environment={}, port=bare_port)
        contenders = [own, hand, bare]
        for contender in contenders:
            await listening(contender.process, contender.port)
        await run_rounds(figure, contenders, options.rounds, report)
        await _check_all_stored(settings, figure, {prefix: own, theirs: hand})
    return figure


async def _set_up(settings: Settings, secret: str, other_prefix: str) -> None:
    """Schema, topics for both programs, and a source whose rate limit is out of the way."""
    await migrate_all(settings)
    log = open_event_log(settings)
    await log.start()
    try:
        specs = topic_specs(prefix=other_prefix, partitions=PARTITIONS, replication=1, min_insync=1)
        await log.create_topics(specs[:1])
    finally:
        await log.stop()
    store = open_store(settings, purpose="service")
    try:
        assert settings.secret_keys is not None
        box = SecretBox.parse(settings.secret_keys.get_secret_value())
        repository = SourceRepository(store, box, now_ms=SYSTEM_CLOCK.now_ms)
        new = NewSource(name=_SOURCE, role=Role.PLATFORM, rate=_NO_LIMIT, secret=secret)
        await repository.add(new, actor="benchmark")
    finally:
        await store.close()


async def _check_all_stored(settings: Settings, figure: Figure, contenders: dict[str, ServerUnderLoad]) -> None:
    """Every request answered 202 must be a record, or the rates are of something else."""
    log = open_event_log(settings)
    await log.start()
    try:
        for prefix, contender in contenders.items():
            async with asyncio.timeout(30):
                bounds = await log.bounds(prefix + RECEIVED, range(PARTITIONS))
            stored = sum(bound.end - bound.start for bound in bounds.values())
            if stored < contender.accepted:
                raise MeasurementError(f"{contender.name}: {contender.accepted} answered 202, {stored} lie in Kafka")
            figure.notes.append(f"{contender.name}: {contender.accepted} answered 202, {stored} records in Kafka")
    finally:
        await log.stop()


async def _measure(parts: Parts, options: Options, report: Report) -> Figure:
    return await measure_ingress(parts, IngressOptions(rounds=options.rounds, seconds=options.seconds), report)


INGRESS = Plan(
    name="ingress",
    title="ingress: requests a second at saturation",
    measure=_measure,
    work=lambda options: Work(3 * options.rounds, 10 + 3 * options.rounds * (options.seconds + 2)),
)
