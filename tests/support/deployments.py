"""mealtrail as people run it: real processes, started by the command line, in both run modes.

`embedded` is one `mealtrail up`; `kafka` is one `mealtrail serve` and any number of `mealtrail consume` on a real Kafka
and a real PostgreSQL. Tests kill these processes at will; whatever is left is ended by `close`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kafka_broker import free_port
from tests.support.postgres_databases import DatabaseUrls
from tests.support.processes import forget_process, guard_process
from tests.support.stores import KEYS
from tests.support.waiting import wait_until
from tests.support.warm_commands import run_command, start_command

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Deployment:
    """A running mealtrail. `env` is what its processes are told."""

    mode: str
    env: dict[str, str]
    folder: Path
    port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the HTTP face answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def roles(self) -> tuple[str, ...]:
        """The names of its processes."""
        return ("up",) if self.mode == "embedded" else ("serve", "consume")

    async def cli(self, *arguments: str, expect: int = 0) -> str:
        """Runs a command to its end; its standard output. The exit code must be the expected one."""
        # A server asks the store for credentials that it does not know, but not twice within 250 ms: one that was made
        # just before is met by a 401. A command that is started takes longer than that to end.
        is_credential = arguments[1:2] == ("add",)
        done = await asyncio.to_thread(start_command if is_credential else run_command, arguments, self.env)
        assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    async def cli_json(self, *arguments: str, expect: int = 0) -> Any:
        """The one JSON document that a command prints with --json."""
        return json.loads(await self.cli(*arguments, "--json", expect=expect))

    def start(self, name: str, command: str | None = None, **more: str) -> None:
        """Starts one process; `name` is a role, or another name for a second process of the same `command`."""
        ports = {}
        if name not in self.roles:
            ports = {"MEALTRAIL_ADMIN_PORT": str(free_port())}
        elif name == "consume":
            ports = {"MEALTRAIL_ADMIN_PORT": self.env["CONSUME_ADMIN_PORT"]}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "service.cli", command or name],
                cwd=ROOT,
                env={**self.env, **ports, **more},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        guard_process(self.processes[name].pid)

    def end(self, name: str, how: signal.Signals = signal.SIGTERM, timeout: float = 30.0) -> int:
        """Ends one process by a signal and waits for it; its exit code."""
        process = self.processes.pop(name)
        process.send_signal(how)
        code = process.wait(timeout)
        forget_process(process.pid)
        return code

    async def ready(self, timeout: float = 40.0) -> None:
        """Waits until /readyz says so."""

        async def is_ready() -> bool:
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended: {self.log_of(name)[-3000:]}"
            try:
                async with aiohttp.ClientSession() as session, session.get(f"{self.url}/readyz") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await wait_until(is_ready, timeout=timeout, what=f"{self.mode} to be ready")

    def log_of(self, name: str) -> str:
        """What a process has written."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    async def up(self) -> None:
        """Migrates where needed, starts all processes, waits until they are ready."""
        if self.mode == "kafka":
            await self.cli("migrate")
        for name in self.roles:
            self.start(name)
        await self.ready()

    def close(self) -> None:
        """Ends whatever still runs."""
        for name in list(self.processes):
            self.processes[name].send_signal(signal.SIGCONT)
            self.end(name, signal.SIGKILL)


def base_environment(more: Mapping[str, str]) -> dict[str, str]:
    """The test's environment without any MEALTRAIL_ setting, and `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MEALTRAIL_")}
    return {**kept, "PYTHONPATH": str(ROOT), "COLUMNS": "120", **more}


def embedded_deployment(folder: Path, **more: str) -> Deployment:
    """The embedded default on free ports, data in `folder`; not started."""
    port = free_port()
    env = {
        "MEALTRAIL_DATA_DIR": str(folder / "data"),
        "MEALTRAIL_PORT": str(port),
        "MEALTRAIL_ADMIN_PORT": str(free_port()),
        "MEALTRAIL_PARTITIONS": "4",
    }
    return Deployment("embedded", base_environment({**env, **more}), folder, port)


def kafka_deployment(folder: Path, bootstrap: str, urls: DatabaseUrls, prefix: str, **more: str) -> Deployment:
    """The production mode on a broker and a database, on free ports; not started."""
    port = free_port()
    env = {
        "MEALTRAIL_PORT": str(port),
        "MEALTRAIL_ADMIN_PORT": str(free_port()),
        "CONSUME_ADMIN_PORT": str(free_port()),
        "MEALTRAIL_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "MEALTRAIL_KAFKA_ALLOW_SINGLE_BROKER": "true",
        "MEALTRAIL_KAFKA_SESSION_TIMEOUT_MS": "6000",
        "MEALTRAIL_TOPIC_PREFIX": prefix,
        "MEALTRAIL_DATABASE_URL": urls.runtime,
        "MEALTRAIL_MIGRATE_DATABASE_URL": urls.owner,
        "MEALTRAIL_SECRET_KEYS": KEYS,
        "MEALTRAIL_PARTITIONS": "4",
    }
    return Deployment("kafka", base_environment({**env, **more}), folder, port)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.postgres])])
async def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Deployment]:
    """A running mealtrail in each of the two run modes. Import it into a test module to use it."""
    if request.param == "embedded":
        made = embedded_deployment(tmp_path)
    else:
        broker = request.getfixturevalue("kafka_broker")
        urls = request.getfixturevalue("database_urls")
        made = kafka_deployment(tmp_path, broker.bootstrap, urls, request.getfixturevalue("topic_prefix"))
    try:
        await made.up()
        yield made
    finally:
        await asyncio.to_thread(made.close)
