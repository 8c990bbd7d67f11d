"""The composition root of a consumer process: settings in, a running worker out, everything closed at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from backbone.admin import build_admin
from backbone.clocks import SYSTEM_CLOCK
from backbone.collector import BATCHES, settle
from backbone.eventlog.opening import open_event_log, wanted_topics
from backbone.eventlog.port import EventLog
from backbone.health import Check, Health
from backbone.listening import listen
from backbone.metrics import Metrics
from backbone.settings import Settings
from backbone.shutdown import stop_on_signal, unless_stopped
from backbone.store.engine import Store
from backbone.store.kept_settings import check_partitions
from backbone.store.migration import check_schema
from backbone.store.opening import open_store
from consumers.dead_letter_limits import DeadLetterLimits
from consumers.log_identity import LogIdentity
from consumers.patience import patiently
from consumers.runner import Runner, RunnerConfig
from schemas.errors import (
    ConfigurationError,
    LogReplaced,
    LogUnusable,
    NotReady,
    PartitionStopped,
    StoreRefused,
    TransactionTooHeavy,
)
from schemas.records import Erasable

_log = structlog.get_logger("mealtrail.consumers")


def runner_config(settings: Settings) -> RunnerConfig:
    """The worker's names and bounds as the settings have them."""
    return RunnerConfig(
        topics=settings.topics,
        group=settings.topic_prefix + settings.consumer_group,
        batch_size=settings.batch_size,
        stop_timeout_s=settings.shutdown_timeout_ms / 1000,
        limits=DeadLetterLimits(
            attempts=settings.dead_letter_attempts,
            run=settings.dead_letter_run,
            share=settings.dead_letter_share,
        ),
        retention=tuple(
            (erasable, keep_ms)
            for erasable, keep_ms in (
                (Erasable.PAYLOADS, settings.retention_payloads),
                (Erasable.PERSONAL, settings.retention_personal),
            )
            if keep_ms is not None
        ),
    )


async def check_parts(settings: Settings, log: EventLog, store: Store, *, may_have_grown: bool = False) -> None:
    """Raises a ConfigurationError unless schema, topics and number of partitions are what this release needs, and the
    log is the one that the store was filled from; raises Unavailable when log or store do not answer.

    A worker may start on topics that have grown: it applies what lies in the remembered partitions, and stops the
    others one by one.
    """
    await check_schema(store)
    await check_partitions(store, settings)
    await log.check_topics(await wanted_topics(settings), may_have_grown=may_have_grown)
    await LogIdentity(log, store, settings.topics).check_process(settings.partitions)


async def start_parts(settings: Settings, log: EventLog, store: Store, *, may_have_grown: bool = False) -> None:
    """Starts the log and makes sure of its parts, as `check_parts` does; waits out outages.

    Raises ConfigurationError and its kind, LogUnusable and StoreRefused, when waiting does not help.
    """
    await patiently(log.start, doing="reach the log", unless=LogUnusable)

    async def check() -> None:
        await check_parts(settings, log, store, may_have_grown=may_have_grown)

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
    """Ready while no partition of this worker has stopped, or stands at a record that is too heavy for the store. Not
    `required` where a process also takes webhooks in.
    """

    async def probe() -> str | None:
        status = runner.status()
        if status.stopped:
            named = ", ".join(f"{partition} ({code})" for partition, code in status.stopped.items())
            raise NotReady(f"{PartitionStopped.code}: {named}")
        if status.heavy:
            named = ", ".join(f"{partition} (offset {offset})" for partition, offset in status.heavy.items())
            raise NotReady(f"{TransactionTooHeavy.code}: {named}")
        if status.is_log_replaced:
            raise NotReady(LogReplaced.code)
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
    settle(BATCHES)
    metrics = Metrics()
    store = open_store(settings, purpose="consumer")
    log = open_event_log(settings)
    runner = Runner(log=log, store=store, config=runner_config(settings), metrics=metrics)

    async def probe_log() -> None:
        await log.bounds(settings.topics.received, [0])

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
            if await unless_stopped(lambda: start_parts(settings, log, store, may_have_grown=True), stop):
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
