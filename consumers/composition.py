"""The composition root of a consumer process: settings in, a running worker out, everything closed at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from backbone.admin import build_admin
from backbone.clocks import SYSTEM_CLOCK
from backbone.eventlog.opening import open_event_log, wanted_topics
from backbone.eventlog.port import EventLog
from backbone.health import Check, Health
from backbone.listening import listen
from backbone.metrics import Metrics
from backbone.settings import Settings
from backbone.shutdown import stop_on_signal, unless_stopped
from backbone.store.engine import Store, open_store
from backbone.store.migration import check_partitions, check_schema
from consumers.patience import patiently
from consumers.runner import Runner, RunnerConfig
from schemas.errors import ConfigurationError, PartitionStopped, StoreRefused
from schemas.topics import OUTCOMES, RECEIVED

_log = structlog.get_logger("mealtrail.consumers")


def runner_config(settings: Settings) -> RunnerConfig:
    """The worker's names and bounds as the settings have them."""
    return RunnerConfig(
        received_topic=settings.topic_prefix + RECEIVED,
        outcomes_topic=settings.topic_prefix + OUTCOMES,
        group=settings.topic_prefix + settings.consumer_group,
        batch_size=settings.batch_size,
        stop_timeout_s=settings.shutdown_timeout_ms / 1000,
    )


async def check_parts(settings: Settings, log: EventLog, store: Store) -> None:
    """Raises a ConfigurationError unless schema, topics and number of partitions are what this release needs; raises
    Unavailable when log or store do not answer.
    """
    await check_schema(store)
    await check_partitions(store, settings)
    await log.check_topics(await wanted_topics(settings))


async def start_parts(settings: Settings, log: EventLog, store: Store) -> None:
    """Starts the log and checks that schema, topics and partitions are what this release needs; waits out outages.

    Raises ConfigurationError and its kind, and StoreRefused, when waiting does not help.
    """
    await patiently(log.start, doing="reach the log")

    async def check() -> None:
        await check_parts(settings, log, store)

    await patiently(check, doing="check schema and topics", unless=StoreRefused)


@asynccontextmanager
async def running(runner: Runner, *, stop_timeout_s: float) -> AsyncIterator[asyncio.Task[None]]:
    """Runs the worker beside the caller's block; at its end the batches in hand are finished, within the bound."""
    task = asyncio.create_task(runner.run(), name="consumers")
    try:
        yield task
    finally:
        runner.stop()
        _, late = await asyncio.wait((task,), timeout=2 * stop_timeout_s + 5)
        if late:
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def consumers_check(runner: Runner, *, required: bool = True) -> Check:
    """Ready while no partition of this worker has stopped. Not `required` where a process also takes webhooks in."""

    async def probe() -> str | None:
        status = runner.status()
        if status.stopped:
            raise PartitionStopped(f"partitions stopped: {status.stopped}")
        return (
            f"ok: {len(status.owned)} partitions"
            if status.owned
            else "waiting: no partition is assigned to this worker"
        )

    return Check(part="consumers", probe=probe, required=required)


async def run_consumers(settings: Settings, *, listening: Callable[[str], None] | None = None) -> None:
    """Runs one worker on Kafka and PostgreSQL until SIGTERM or SIGINT. Outages at the start are waited out.

    `listening` is told the admin port's URL once it answers.
    Raises ConfigurationError (and its kind) when the set-up cannot work.
    """
    if settings.embedded:
        raise ConfigurationError("the embedded default runs its consumer inside `mealtrail up`")
    metrics = Metrics()
    store = open_store(settings, purpose="consumer")
    log = open_event_log(settings)
    runner = Runner(log=log, store=store, config=runner_config(settings), metrics=metrics)

    async def probe_log() -> None:
        await log.bounds(settings.topic_prefix + RECEIVED, [0])

    health = Health(
        [Check(part="log", probe=probe_log), Check(part="store", probe=store.ping), consumers_check(runner)],
        monotonic=SYSTEM_CLOCK.monotonic,
    )
    with stop_on_signal() as stop:
        listener = None
        try:
            listener = await listen(
                build_admin(metrics, health),
                host=settings.admin_host,
                port=settings.admin_port,
                setting="MEALTRAIL_ADMIN_",
                shutdown_timeout_s=1.0,
            )
            if listening is not None:
                listening(listener.url)
            _log.info("consumers_starting", admin=listener.url, partitions=settings.partitions)
            if await unless_stopped(lambda: start_parts(settings, log, store), stop):
                async with running(runner, stop_timeout_s=settings.shutdown_timeout_ms / 1000) as working:
                    await unless_stopped(lambda: _end_of(working), stop)
        finally:
            if listener is not None:
                await listener.stop()
            await log.stop()
            await store.close()
            _log.info("consumers_stopped")


async def _end_of(working: asyncio.Task[None]) -> None:
    """Waits for the worker without ending it when this wait is cancelled; raises what the worker raises."""
    await asyncio.shield(working)
