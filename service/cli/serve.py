"""`mealtrail serve`: the HTTP face on Kafka and PostgreSQL, in one process or several that share the port."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import structlog
import typer
import uvloop

from backbone.collector import REQUESTS, settle
from backbone.eventlog.opening import open_event_log
from backbone.logs import configure_logs
from backbone.metrics import Metrics
from backbone.settings import Settings, load_settings
from backbone.shutdown import stop_on_signal, stop_within, unless_stopped
from backbone.store.opening import open_store
from consumers.composition import start_parts
from schemas.errors import ConfigurationError
from service.app import make_parts, start_face
from service.cli.addresses import url_at
from service.cli.exits import ExitCode
from service.cli.interrupts import run_command
from service.cli.output import print_line
from service.cli.parts import secret_box
from service.cli.startup import STOP_LINE, admin_line, own_version, place_lines, print_summary
from service.cli.supervisor import Supervisor, reserve_port, worker_command

_log = structlog.get_logger("mealtrail.serve")
_MOST_WORKERS = 64
_LEAST_S = 0.5


def serve(
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=_MOST_WORKERS, help="Processes that share the port.")
    ] = 1,
    supervised: Annotated[bool, typer.Option("--supervised", hidden=True)] = False,
) -> None:
    """Take webhooks and answer queries, on Kafka and PostgreSQL.

    Each of several workers has an admin port of its own, counting up from MEALTRAIL_ADMIN_PORT (with 0: any). A
    worker that dies is started again. Exits 0 when all stopped in order.
    """
    settings = production_settings("serve")
    configure_logs(settings)
    secret_box(settings)  # a wrong key ring is said now and not at the first webhook
    if workers == 1 or supervised:
        code = run_command(lambda: _serve(settings, supervised=supervised), loop_factory=uvloop.new_event_loop)
    else:
        code = run_command(lambda: _supervise(settings, workers), loop_factory=uvloop.new_event_loop)
    if code:
        raise typer.Exit(code)


def production_settings(command: str) -> Settings:
    """The settings, which must name Kafka and PostgreSQL. Raises SettingsInvalid, ConfigurationError."""
    settings = load_settings()
    if settings.embedded:
        raise ConfigurationError(
            f"`mealtrail {command}` needs MEALTRAIL_KAFKA_BOOTSTRAP_SERVERS and MEALTRAIL_DATABASE_URL; "
            "without them `mealtrail up` runs everything in one process"
        )
    return settings


async def _serve(settings: Settings, *, supervised: bool) -> ExitCode:
    with stop_on_signal() as stopping:
        watch = await _watch_supervisor(stopping) if supervised else None
        log = open_event_log(settings)
        store = open_store(settings, purpose="service")
        limit_s = max(settings.shutdown_timeout_ms / 1000, _LEAST_S)
        in_order = True
        try:
            if await unless_stopped(lambda: start_parts(settings, log, store), stopping):
                parts = make_parts(settings, log, store, secret_box(settings), metrics=Metrics())
                face = await start_face(parts, reuse_port=supervised)
                try:
                    settle(REQUESTS)
                    if not supervised:
                        print_summary(settings, face, "serve")
                    _log.info("ready", http=face.public.url, admin=face.admin.url if face.admin else None)
                    await stopping.wait()
                finally:
                    in_order = await stop_within(limit_s, "http", face.stop())
        finally:
            in_order &= await stop_within(limit_s, "log", log.stop())
            in_order &= await stop_within(limit_s, "store", store.close())
            if watch is not None:
                watch.close()
        _log.info("stopped", in_order=in_order)
    return ExitCode.OK if in_order else ExitCode.NEGATIVE


class _EndOfInput(asyncio.Protocol):
    """Sets an event when the pipe from the supervisor ends."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping

    def connection_lost(self, _error: Exception | None) -> None:
        self._stopping.set()


async def _watch_supervisor(stopping: asyncio.Event) -> asyncio.BaseTransport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: _EndOfInput(stopping), sys.stdin.buffer)
    return transport


async def _supervise(settings: Settings, workers: int) -> ExitCode:
    held = reserve_port(settings.host, settings.port)
    try:
        port = int(held.getsockname()[1])
        admin_ports = [settings.admin_port + number if settings.admin_port else 0 for number in range(workers)]
        if admin_ports[-1] > 65535:
            raise ConfigurationError("MEALTRAIL_ADMIN_PORT leaves no room for one port a worker")
        environments = [
            {"MEALTRAIL_PORT": str(port), "MEALTRAIL_ADMIN_PORT": str(admin_port)} for admin_port in admin_ports
        ]
        supervisor = Supervisor(
            worker_command("serve", "--supervised"),
            environments,
            stop_limit_s=settings.shutdown_timeout_ms / 1000,
        )
        print_line(f"mealtrail {own_version()} serve, {workers} workers, Kafka and PostgreSQL")
        print_line(f"  http    {url_at(settings.host, port)}")
        if settings.admin_port:
            print_line(admin_line(*(url_at(settings.admin_host, admin_port) for admin_port in admin_ports)))
        else:
            print_line(f"  admin   any ports on {settings.admin_host}: the workers' lines `ready` have them")
        for line in (*place_lines(settings), STOP_LINE):
            print_line(line)
        with stop_on_signal() as stopping:
            return await supervisor.run(stopping)
    finally:
        held.close()
