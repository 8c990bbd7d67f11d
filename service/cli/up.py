"""`mealtrail up`: the whole of mealtrail in one process on the embedded default.

The order of things. The lock on the data directory comes before anything is touched and goes last. Starting: schema
and topics, log, demonstration sources, HTTP face, consumers. Stopping: the HTTP face first, so that nothing new comes
in and requests in hand are answered; then the consumers, after the batch in hand; then log and store. All of the
stopping shares one time limit, MEALTRAIL_SHUTDOWN_TIMEOUT_MS.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime
from typing import Annotated

import structlog
import typer
import uvloop

from backbone.collector import REQUESTS, settle
from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.eventlog.embedded_pruning import EmbeddedPruning
from backbone.eventlog.opening import open_event_log
from backbone.eventlog.port import EventLog
from backbone.logs import configure_logs
from backbone.metrics import Metrics
from backbone.settings import Settings, load_settings
from backbone.shutdown import stop_on_signal, stop_within, unless_stopped
from backbone.store.engine import Store
from backbone.store.opening import open_store
from consumers.composition import consumers_check, runner_config, start_parts
from consumers.runner import Runner
from schemas.errors import ConfigurationError
from schemas.topics import RETENTION_MS
from service.app import Face, make_parts, start_face
from service.cli.addresses import require_free_ports
from service.cli.data_directory import hold_server_lock, prepare_data_dir
from service.cli.demo import prepare_demo
from service.cli.demo_script import DemoScript
from service.cli.exits import ExitCode
from service.cli.interrupts import run_command
from service.cli.invocation import own_command
from service.cli.migrate import migrate_all
from service.cli.output import print_line
from service.cli.own_files import require_log_file, require_own_log
from service.cli.parts import Parts, are_keys_lost, lost_keys, secret_box
from service.cli.startup import print_summary

_log = structlog.get_logger("mealtrail.up")
_LEAST_S = 0.5
"""What every part gets for its stop, however little of the common limit is left."""


def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Create demonstration sources and print commands to try them.")
    ] = False,
) -> None:
    """Run everything in one process on files in MEALTRAIL_DATA_DIR: no Kafka, no PostgreSQL needed.

    Migrates itself. Refuses a directory that another server owns. Exits 0 when it stopped in order.
    """
    settings = load_settings()
    if not settings.embedded:
        raise ConfigurationError(
            "`mealtrail up` runs on its own files; with Kafka and PostgreSQL use `mealtrail migrate`, `serve` and "
            "`consume`, or unset MEALTRAIL_KAFKA_BOOTSTRAP_SERVERS and MEALTRAIL_DATABASE_URL"
        )
    configure_logs(settings)
    fresh = not settings.data_dir.exists()
    if fresh:  # else whoever owns the directory has a say first
        require_free_ports(settings)
    prepare_data_dir(settings.data_dir)
    with hold_server_lock(settings.data_dir):
        if not fresh:
            require_free_ports(settings)
        in_order = run_command(lambda: _run(settings, demo=demo), loop_factory=uvloop.new_event_loop)
    if not in_order:
        raise typer.Exit(ExitCode.NEGATIVE)


async def _run(settings: Settings, *, demo: bool) -> bool:
    with stop_on_signal() as stopping:
        await require_log_file(settings)
        await migrate_all(settings)
        store = open_store(settings, purpose="service")
        log = open_event_log(settings)
        try:
            if await are_keys_lost(settings, store):
                raise lost_keys(settings)
            if not await unless_stopped(lambda: start_parts(settings, log, store), stopping):
                return True
            await require_own_log(settings, log, store)
            return await _serve(settings, log, store, stopping, demo=demo)
        finally:
            limit_s = max(settings.shutdown_timeout_ms / 1000, _LEAST_S)
            await stop_within(limit_s, "log", log.stop())
            await stop_within(limit_s, "store", store.close())


async def _serve(settings: Settings, log: EventLog, store: Store, stopping: asyncio.Event, *, demo: bool) -> bool:
    metrics = Metrics()
    runner = Runner(log=log, store=store, config=runner_config(settings), metrics=metrics)
    env_file = None
    if demo:
        parts = Parts(settings, store)
        env_file = await prepare_demo(parts.sources(), parts.tokens(), settings.data_dir)
    face = await start_face(
        make_parts(
            settings,
            log,
            store,
            secret_box(settings),
            metrics=metrics,
            checks=(consumers_check(runner, required=False),),
        )
    )
    consuming = asyncio.create_task(runner.run(), name="consumers")
    pruning = asyncio.create_task(_prune(settings, log, store), name="log-retention")
    try:
        settle(REQUESTS)
        print_summary(settings, face, "up")
        if env_file is not None:
            script = DemoScript(
                url=face.public.url, env_file=env_file.resolve(), command=own_command(), now=datetime.now(UTC)
            )
            print_line(f"\nPaste into another terminal, all at once or piece by piece:\n\n{script.text()}\n")
        _log.info("ready", http=face.public.url, admin=face.admin.url if face.admin else None)
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.wait((waiting, consuming, pruning), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if pruning.done():
            pruning.result()
        if consuming.done() and not stopping.is_set():
            consuming.result()
            raise RuntimeError("the consumers ended by themselves")
    finally:
        pruning.cancel()
        in_order = await _stop(settings, face, runner, consuming)
        await asyncio.gather(pruning, return_exceptions=True)
        sys.stdout.flush()
    _log.info("stopped", in_order=in_order)
    return in_order


async def _prune(settings: Settings, log: EventLog, store: Store) -> None:
    """Keeps the log's file bounded until cancelled."""
    if not isinstance(log, EmbeddedEventLog):
        raise TypeError("only the embedded log is pruned by us")
    topics = settings.topics
    others = (topics.outcomes, topics.dead_letters)
    keep_ms = settings.embedded_log_retention or RETENTION_MS
    await EmbeddedPruning(log=log, store=store, received=topics.received, others=others, keep_ms=keep_ms).run()


async def _stop(settings: Settings, face: Face, runner: Runner, consuming: asyncio.Task[None]) -> bool:
    """First the door, then the workers, within one limit."""
    end = time.monotonic() + settings.shutdown_timeout_ms / 1000
    face_ended = await stop_within(max(end - time.monotonic(), _LEAST_S), "http", face.stop())
    runner.stop()
    consumers_ended = await stop_within(max(end - time.monotonic(), _LEAST_S), "consumers", consuming)
    return face_ended and consumers_ended
