"""The two ways to run mealtrail, each complete: Kafka, PostgreSQL, `serve` and a worker; or `up` and its files."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from backbone.clocks import SYSTEM_CLOCK
from backbone.settings import Settings
from backbone.store.opening import open_store
from backbone.store.tokens import TokenRepository
from benchmarks import ROOT
from benchmarks.ingress.servers import make_deployment, make_secret
from benchmarks.ingress.webhooks import SOURCE
from benchmarks.machine import Cores
from benchmarks.parts import Parts, make_prefix, settings_of
from benchmarks.processes import Process, listening
from kafka_broker import free_port
from tests.support.processes import guard_folder, remove_folder


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the load and the watch need to know."""

    name: str
    settings: Settings
    port: int
    secret: str
    token: str
    """Of a person who reads."""
    processes: tuple[Process, ...]
    cores: Cores

    def check_alive(self) -> None:
        """Raises MeasurementError when one of its processes has ended."""
        for process in self.processes:
            process.check_alive()

    def last_words(self) -> str:
        """Of all its processes."""
        return "\n".join(process.last_words() for process in self.processes)


@asynccontextmanager
async def on_kafka(parts: Parts) -> AsyncIterator[Deployment]:
    """One server and one worker on Kafka and PostgreSQL, both on the core of what is measured."""
    with ExitStack() as stack:
        urls, port, secret = stack.enter_context(parts.database()), free_port(), make_secret()
        environment = parts.environment(urls, prefix=make_prefix("end-to-end"), port=port)
        settings = settings_of(environment)
        await make_deployment(settings, secret)
        token = await _make_token(settings)
        processes = [
            stack.enter_context(Process(module, *arguments, environment=environment, cores=parts.cores.measured))
            for module, arguments in (("service.cli", ("serve",)), ("consumers", ()))
        ]
        await listening(processes[0], port)
        yield Deployment("Kafka and PostgreSQL", settings, port, secret, token, tuple(processes), parts.cores)


@asynccontextmanager
async def embedded(parts: Parts) -> AsyncIterator[Deployment]:
    """`mealtrail up` on files of its own, on the core of what is measured."""
    with ExitStack() as stack:
        folder, port, secret = stack.enter_context(_data_folder()), free_port(), make_secret()
        environment = {
            "MEALTRAIL_DATA_DIR": str(folder),
            "MEALTRAIL_PORT": str(port),
            "MEALTRAIL_ADMIN_PORT": "0",
            "MEALTRAIL_SECRET_KEYS": parts.secret_keys,
            "MEALTRAIL_LOG_FORMAT": "json",
        }
        settings = settings_of(environment)
        await make_deployment(settings, secret)
        token = await _make_token(settings)
        process = stack.enter_context(Process("service.cli", "up", environment=environment, cores=parts.cores.measured))
        await listening(process, port)
        yield Deployment("embedded", settings, port, secret, token, (process,), parts.cores)


async def _make_token(settings: Settings) -> str:
    store = open_store(settings, purpose="service")
    try:
        return await TokenRepository(store, now_ms=SYSTEM_CLOCK.now_ms).add(SOURCE, "read", actor="benchmark")
    finally:
        await store.close()


@contextmanager
def _data_folder() -> Iterator[Path]:
    """On the disk that the sources lie on: a temporary directory may be memory, where a flush costs nothing."""
    (ROOT / "var").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=ROOT / "var"))
    guard_folder(folder)
    try:
        yield folder
    finally:
        remove_folder(folder)
