"""A PostgreSQL whose commits are durable, which is what a rate of transactions is about.

The tests' own local server does without fsync. A server given by address or from Docker is taken as it is, after a
look at its settings.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from kafka_broker import free_port
from tests.support import postgres, postgres_databases
from tests.support.postgres import PostgresServer
from tests.support.postgres_binaries import find_binaries, make_folder
from tests.support.processes import forget_process, guard_process, remove_folder
from tests.support.sources import UnavailableError, docker_problem

_SETTINGS = (
    "fsync=on",
    "synchronous_commit=on",
    "shared_buffers=256MB",
    "max_wal_size=8GB",  # no checkpoint falls into a measurement by chance; one is asked for before each
    "checkpoint_timeout=30min",
    "max_connections=100",
    "unix_socket_directories=",
    "timezone=UTC",
)


class LocalDurablePostgres:
    """A server process from local programs, in a temporary folder on a real file system."""

    def __init__(self) -> None:
        self._binaries = find_binaries()
        self.source = f"local programs ({self._binaries.origin})"
        self._folder = make_folder(self._binaries.user)
        self._port = free_port()
        self.admin_url = f"postgresql+asyncpg://postgres@127.0.0.1:{self._port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Makes the data folder and returns when connections are taken. Blocks. Raises UnavailableError."""
        data = self._folder / "data"
        command = [str(self._binaries.folder / "initdb"), "-D", str(data)]
        command += ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(  # type: ignore[call-overload]
            command, cwd="/", capture_output=True, text=True, timeout=120, check=False, **self._binaries.run_as()
        )
        if made.returncode != 0:
            raise UnavailableError(f"initdb failed: {(made.stdout + made.stderr)[-1000:]}")
        log = self._folder / "postgres.log"
        command = [str(self._binaries.folder / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(self._port)]
        command += [part for setting in _SETTINGS for part in ("-c", setting)]
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # type: ignore[call-overload]
                command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **self._binaries.run_as(),
            )
        guard_process(self._process.pid, signal.SIGQUIT)
        self._wait_until_ready(self._process, log)

    def _wait_until_ready(self, process: subprocess.Popen[bytes], log: Path) -> None:
        give_up = time.monotonic() + 60
        while True:
            try:
                postgres_databases.ask(self.admin_url)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if process.poll() is not None or time.monotonic() > give_up:
                    end = log.read_text(errors="replace")[-2000:]
                    raise UnavailableError(f"PostgreSQL did not start ({error}); the end of its log:\n{end}") from error
                time.sleep(0.05)
            else:
                return

    def close(self) -> None:
        """Ends it and removes its folder. May be repeated."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            forget_process(self._process.pid)
            remove_folder(self._folder)


@dataclass(frozen=True, slots=True)
class CommitCost:
    """What durability costs here: the settings, and the median time of a small transaction, in milliseconds."""

    version: str
    fsync: str
    synchronous_commit: str
    commit_ms: float

    def describe(self) -> str:
        """In words, for the report."""
        settings = f"fsync={self.fsync}, synchronous_commit={self.synchronous_commit}"
        return f"{settings}, a small commit takes {self.commit_ms:.2f} ms"

    @property
    def durable(self) -> bool:
        """Whether a commit that was answered survives a loss of power."""
        return self.fsync == "on" and self.synchronous_commit not in ("off", "local")


def start_durable_postgres() -> PostgresServer | LocalDurablePostgres:
    """By address, in Docker, or from local programs, with the roles of production. Raises UnavailableError."""
    if os.environ.get(postgres.ADDRESS_VARIABLE) or docker_problem() is None:
        return postgres.start_postgres(private=False)
    server = LocalDurablePostgres()
    try:
        server.start()
        postgres_databases.make_roles(server.admin_url)
    except BaseException:
        server.close()
        raise
    return server


async def measure_commits(admin_url: str, *, commits: int = 60) -> CommitCost:
    """Looks at the settings and times small transactions, one after the other."""
    connection = await asyncpg.connect(plain_url(admin_url), timeout=10)
    try:
        version = await connection.fetchval("SHOW server_version")
        fsync = await connection.fetchval("SHOW fsync")
        synchronous = await connection.fetchval("SHOW synchronous_commit")
        await connection.execute("CREATE TABLE commit_probe (n integer)")
        took = []
        for number in range(commits):
            began = time.perf_counter()
            await connection.execute("INSERT INTO commit_probe VALUES ($1)", number)
            took.append(time.perf_counter() - began)
        await connection.execute("DROP TABLE commit_probe")
    finally:
        await connection.close(timeout=10)
    return CommitCost(version.split()[0], fsync, synchronous, sorted(took)[commits // 2] * 1000)


def plain_url(url: str) -> str:
    """The URL as asyncpg wants it: without SQLAlchemy's driver name."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)
