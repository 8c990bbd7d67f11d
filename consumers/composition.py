"""The composition root of a consumer process: settings in, a running worker out, everything closed at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from backbone.admin import build_admin
from backbone.clocks import SYSTEM_CLOCK
from backbone.eventlog.opening import open_event_log, replication_of
from backbone.eventlog.port import EventLog
from backbone.health import Check, Health
from backbone.listening import listen
from backbone.metrics import Metrics
from backbone.settings import Settings
from backbone.shutdown import stop_on_signal, unless_stopped
from backbone.store.engine import Store, open_store
from backbone.store.migration import check_schema, kept_setting
from consumers.patience import patiently
from consumers.runner import Runner, RunnerConfig
from schemas.errors import ConfigurationError, PartitionSetInvalid, PartitionStopped
from schemas.topics import OUTCOMES, RECEIVED, topic_specs

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
    kept = await kept_setting(store, "partitions")
    if kept is not None and int(kept) != settings.partitions:
        raise PartitionSetInvalid(
            f"the store was set up for {kept} partitions, MEALTRAIL_PARTITIONS says {settings.partitions}; orders live "
            "in a partition for good, so growing takes a new topic version and a drain"
        )
    replication, min_insync = await replication_of(settings)
    await log.check_topics(
        topic_specs(
            prefix=settings.topic_prefix,
            partitions=settings.partitions,
            replication=replication,
            min_insync=min_insync,
        )
    )


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
        if status["stopped"]:
            raise PartitionStopped(f"partitions stopped: {status['stopped']}")
        owned = status["owned"]
        return f"ok: {len(owned)} partitions" if isinstance(owned, list) else None

    return Check(part="consumers", probe=probe, required=required)


async def run_consumers(settings: Settings) -> None:
    """Runs one worker on Kafka and PostgreSQL until SIGTERM or SIGINT. Outages at the start are waited out.

    Raises ConfigurationError (and its kind) when the set-up cannot work.
    """
    if settings.embedded:
        raise ConfigurationError("the embedded default runs its consumer inside `mealtrail up`")
    metrics = Metrics()
    store = open_store(settings, purpose="consumer")
    log = open_event_log(settings)
    runner = Runner(log=log, store=store, config=runner_config(settings), metrics=metrics)

    async def start() -> None:
        await log.start()
        await check_parts(settings, log, store)

    health = Health([Check(part="store", probe=store.ping), consumers_check(runner)], monotonic=SYSTEM_CLOCK.monotonic)
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
            _log.info("consumers_starting", admin=listener.url, partitions=settings.partitions)
            if await unless_stopped(lambda: patiently(start, doing="start", partition=-1), stop):
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
