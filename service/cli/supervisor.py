"""`mealtrail serve --workers N`: N processes on one port, watched by this one.

Each worker is a process of its own that listens with SO_REUSEPORT, so the kernel spreads connections over them. The
supervisor holds the port (bound, never listening) so that a restarted worker gets the same one and nobody else takes
it in between. A worker that dies is started again, later each time it dies young; one that says its configuration is
wrong ends the whole, for another start would say the same. Workers notice when the supervisor is gone: their
standard input ends.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence

import structlog

from schemas.errors import AddressInUse, ConfigurationError
from service.cli.exits import ExitCode

_log = structlog.get_logger("mealtrail.supervisor")

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
HEALTHY_AFTER_S = 60.0
"""A worker that lived this long starts again without delay."""
_KILL_GRACE_S = 2.0


def reserve_port(host: str, port: int) -> socket.socket:
    """A socket bound with SO_REUSEPORT that never listens: it holds the port, 0 choosing any.

    Raises AddressInUse when someone has the port (also another set of workers: sharing by accident would split
    traffic), ConfigurationError when the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if port:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        # Without SO_REUSEADDR, so that the probe of another supervisor meets it although it never listens.
        held = socket.socket(family, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    except OSError as error:
        message = f"cannot use {host}:{port}: {error.strerror}; MEALTRAIL_HOST and MEALTRAIL_PORT choose the address"
        raise (AddressInUse if error.errno == errno.EADDRINUSE else ConfigurationError)(message) from error
    return held


class Supervisor:
    """Keeps `count` workers running until told to stop."""

    def __init__(
        self, command: Sequence[str], environments: Sequence[Mapping[str, str]], *, stop_limit_s: float
    ) -> None:
        self._command = tuple(command)
        self._environments = tuple(environments)
        self._stop_limit_s = stop_limit_s

    async def run(self, stopping: asyncio.Event) -> ExitCode:
        """Returns when `stopping` is set and all workers have ended, or when a worker cannot be configured."""
        failed = asyncio.Event()
        keepers = [
            asyncio.create_task(self._keep(number, environment, stopping, failed))
            for number, environment in enumerate(self._environments)
        ]
        codes = await asyncio.gather(*keepers)
        return max(codes, default=ExitCode.OK)

    async def _keep(
        self, number: int, environment: Mapping[str, str], stopping: asyncio.Event, failed: asyncio.Event
    ) -> ExitCode:
        backoff = 0.0
        while not (stopping.is_set() or failed.is_set()):
            started = time.monotonic()
            code = await self._run_once(number, environment, stopping, failed)
            if stopping.is_set() or failed.is_set():
                break
            if code in (ExitCode.CONFIGURATION, ExitCode.USAGE):
                failed.set()
                return ExitCode.CONFIGURATION
            if time.monotonic() - started >= HEALTHY_AFTER_S:
                backoff = 0.0
            _log.error("worker_died", worker=number, code=code, restart_in_s=backoff)
            await _first_of(backoff, stopping, failed)
            backoff = min(max(backoff * 2, FIRST_BACKOFF_S), LONGEST_BACKOFF_S)
        return ExitCode.OK

    async def _run_once(
        self, number: int, environment: Mapping[str, str], stopping: asyncio.Event, failed: asyncio.Event
    ) -> int:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,  # kept open, never written: its end tells the worker that we are gone
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C reaches us alone; we pass it on
        )
        _log.info("worker_started", worker=number, pid=process.pid)
        ended = asyncio.create_task(process.wait())
        try:
            await _first_of(None, stopping, failed, ended)
        finally:
            if not ended.done():
                await self._stop(process, ended)
            if process.stdin is not None:
                process.stdin.close()
        return ended.result()

    async def _stop(self, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
        process.send_signal(signal.SIGTERM)
        done, _ = await asyncio.wait({ended}, timeout=self._stop_limit_s + _KILL_GRACE_S)
        if not done:
            _log.warning("worker_killed", pid=process.pid)
            process.kill()
            await ended


def worker_command(*arguments: str) -> tuple[str, ...]:
    """How this program is started again, in the same interpreter."""
    return (sys.executable, "-m", "service.cli", *arguments)


async def _first_of(limit_s: float | None, *awaited: asyncio.Event | asyncio.Task[int]) -> None:
    """Returns when the first of these has happened, or after the limit."""
    tasks = [asyncio.create_task(item.wait()) if isinstance(item, asyncio.Event) else item for item in awaited]
    try:
        await asyncio.wait(tasks, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, item in zip(tasks, awaited, strict=True):
            if isinstance(item, asyncio.Event):
                task.cancel()
