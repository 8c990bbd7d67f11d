"""The place of the accidents: Kafka and PostgreSQL behind bad links for all runs, and each run's own processes.

Each process has links of its own to both servers. A listener of Kafka advertises the port of the link, so clients stay
on it after their first connection; the suite itself goes round all links.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import urlsplit, urlunsplit

from backbone.clocks import SYSTEM_CLOCK
from backbone.store.definitions import NewSource
from backbone.store.opening import open_store
from backbone.store.secrets import SecretBox
from backbone.store.sources import SourceRepository
from kafka_broker import free_port
from schemas.statuses import Policy, Role
from tests.faults.suite.journal import Journal
from tests.faults.suite.partners import PARTNERS
from tests.faults.suite.schedule import HTTP, SESSION_TIMEOUT_S, Fault, links, processes
from tests.support.deployments import Deployment, kafka_deployment
from tests.support.kafka import KafkaBroker, start_kafka
from tests.support.postgres import PostgresServer, create_database, drop_database, start_postgres
from tests.support.postgres_databases import DatabaseUrls
from tests.support.stores import KEYS, postgres_settings
from tests.support.toxics import Network, open_network
from tests.support.waiting import wait_until

MOST_CONSUMERS = 3
PARTITIONS = 4
BATCH_SIZES = (5, 50, 1000)


@dataclass
class Servers:
    """What outlives a run. `ports` are the links' ports by name."""

    kafka: KafkaBroker
    postgres: PostgresServer
    network: Network
    ports: dict[str, int]


@asynccontextmanager
async def open_servers() -> AsyncIterator[Servers]:
    """Starts the network, Kafka and PostgreSQL; ends them. Raises UnavailableError where one cannot be had."""
    names = processes(MOST_CONSUMERS)
    ports = {f"kafka-{name}": free_port() for name in names}
    async with contextlib.AsyncExitStack() as stack:
        network = await open_network()
        stack.push_async_callback(network.close)
        kafka = await asyncio.to_thread(
            start_kafka, private=True, entrances={name: ports[f"kafka-{name}"] for name in names}
        )
        stack.push_async_callback(asyncio.to_thread, kafka.close)
        postgres = await asyncio.to_thread(start_postgres, private=True)
        stack.push_async_callback(asyncio.to_thread, postgres.close)
        at = urlsplit(postgres.admin_url)
        for name in names:
            await network.link(f"kafka-{name}", kafka.entrance(name), ports[f"kafka-{name}"])
            target = (at.hostname or "127.0.0.1", at.port or 5432)
            ports[f"postgres-{name}"] = await network.link(f"postgres-{name}", target)
        yield Servers(kafka, postgres, network, ports)


def _through(url: str, port: int) -> str:
    """The URL with another port of this machine in it."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))


def _impossible(fault: Fault) -> ValueError:
    return ValueError(f"no such thing can be done to {fault.target}: {fault.kind}")


class Site:
    """One run's mealtrail, with everything that can be done to it."""

    def __init__(
        self, servers: Servers, urls: DatabaseUrls, journal: Journal, folder: Path, prefix: str, seed: int
    ) -> None:
        rng = Random(f"site-{seed}")
        self.servers, self.urls, self.prefix = servers, urls, prefix
        self.consumers = rng.choice((2, MOST_CONSUMERS))
        self.batch_size = rng.choice(BATCH_SIZES)
        self.port = 0
        self.tokens: dict[str, str] = {}
        self._journal = journal
        self._locks = {
            name: asyncio.Lock() for name in ("kafka", "postgres", *processes(self.consumers), *links(self.consumers))
        }
        self.deployment: Deployment = kafka_deployment(
            folder,
            servers.kafka.bootstrap,
            urls,
            prefix,
            MEALTRAIL_PARTITIONS=str(PARTITIONS),
            MEALTRAIL_BATCH_SIZE=str(self.batch_size),
            MEALTRAIL_KAFKA_SESSION_TIMEOUT_MS=str(int(SESSION_TIMEOUT_S * 1000)),
            MEALTRAIL_STORE_TIMEOUT_MS="2000",
            MEALTRAIL_PUBLISH_TIMEOUT_MS="1500",
        )

    async def open(self) -> None:
        """Migrates and starts all processes; returns when they are ready."""
        await self.deployment.cli("migrate")
        self.tokens = await add_partners(self.urls)  # before ingress starts: later ones take effect within seconds
        self.port = await self.servers.network.link(HTTP, ("127.0.0.1", self.deployment.port))
        for name in processes(self.consumers):
            self.start(name)
        await self.deployment.ready()

    def start(self, name: str) -> None:
        """Starts a process on its own links."""
        ports = self.servers.ports
        self.deployment.start(
            name,
            "serve" if name == "ingress" else "consume",
            MEALTRAIL_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{ports[f'kafka-{name}']}",
            MEALTRAIL_DATABASE_URL=_through(self.urls.runtime, ports[f"postgres-{name}"]),
        )

    async def suffer(self, fault: Fault) -> None:
        """Does the fault and mends it. Cancelling it mends at once. Faults of one target wait for each other."""
        async with self._locks[fault.target]:
            self._journal.note("fault", fault=str(fault))
            if fault.target in {"kafka", "postgres"}:
                await self._hurt_server(fault)
            elif fault.target in processes(self.consumers):
                await self._hurt_process(fault)
            else:
                await self._hurt_link(fault)
            self._journal.note("mended", fault=str(fault))

    async def _hurt_server(self, fault: Fault) -> None:
        server = self.servers.kafka if fault.target == "kafka" else self.servers.postgres
        match fault.kind:
            case "kill":
                await self._for_a_while(fault, server.kill, server.start)
            case "freeze":
                await self._for_a_while(fault, server.freeze, server.thaw)
            case _:
                raise _impossible(fault)

    async def _hurt_process(self, fault: Fault) -> None:
        name, deployment = fault.target, self.deployment
        process = deployment.processes[name]
        match fault.kind:
            case "freeze":
                await self._for_a_while(
                    fault, lambda: process.send_signal(signal.SIGSTOP), lambda: process.send_signal(signal.SIGCONT)
                )
            case "kill":
                await self._for_a_while(fault, lambda: self._end(name, signal.SIGKILL), lambda: self.start(name))
            case "stop":
                await self._for_a_while(fault, lambda: self._end(name, signal.SIGTERM), lambda: self.start(name))
            case _:
                raise _impossible(fault)

    def _end(self, name: str, how: signal.Signals) -> None:
        code = self.deployment.end(name, how, timeout=45.0)
        if how is signal.SIGTERM and code != 0:
            self._journal.note("bad_exit", process=name, code=code)

    async def _for_a_while(self, fault: Fault, hurt: Callable[[], object], mend: Callable[[], object]) -> None:
        await asyncio.to_thread(hurt)
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            await asyncio.shield(asyncio.to_thread(mend))

    async def _hurt_link(self, fault: Fault) -> None:
        network, name = self.servers.network, fault.target
        match fault.kind:
            case "cut":
                await network.cut(name)
            case "stall":
                await network.stall(name)
            case "reset":
                await network.reset(name)
            case "slow":
                await network.slow(name, fault.amount, fault.amount // 2)
            case "throttle":
                await network.throttle(name, fault.amount)
            case _:
                raise _impossible(fault)
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            await asyncio.shield(network.heal(name))

    async def watch_processes(self) -> None:
        """Until cancelled: starts again what ended by itself, as an orchestrator would, and writes it down."""
        while True:
            await asyncio.sleep(0.5)
            for name in processes(self.consumers):
                process = self.deployment.processes.get(name)
                if process is not None and process.poll() is not None and not self._locks[name].locked():
                    self._journal.note("ended_by_itself", process=name, code=process.returncode)
                    self.start(name)

    async def ready(self, timeout: float) -> None:
        """Returns when every process answers that it is ready."""
        await self.deployment.ready(timeout)

    async def stop(self) -> dict[str, int]:
        """Stops all processes in order; their exit codes."""
        codes = {}
        for name in list(self.deployment.processes):
            codes[name] = await asyncio.to_thread(self.deployment.end, name, signal.SIGTERM, 45.0)
        return codes

    async def close(self) -> None:
        """Ends what is left."""
        await asyncio.to_thread(self.deployment.close)
        await self.servers.network.drop(HTTP)

    async def settle_servers(self) -> None:
        """Both servers answer, whatever a cancelled fault left behind."""
        for lock in self._locks.values():
            await wait_until(lambda lock=lock: not lock.locked(), timeout=60.0, what="a fault to be mended")


async def add_partners(urls: DatabaseUrls) -> dict[str, str]:
    """Makes the sources, as `mealtrail source add` does; their tokens by name."""
    store = open_store(postgres_settings(urls), purpose="owner")
    try:
        sources = SourceRepository(store, SecretBox.parse(KEYS), now_ms=SYSTEM_CLOCK.now_ms)
        tokens = {}
        for partner in PARTNERS:
            new = NewSource(
                name=partner.name,
                role=Role(partner.role),
                auth="bearer",
                parties=partner.parties,
                policy=Policy(partner.policy),
                hold_ms=partner.hold_ms,
                ahead_hold_ms=partner.ahead_hold_ms,
                rate=100_000,
            )
            _, tokens[partner.name] = await sources.add(new, actor="fault-suite")
        return tokens
    finally:
        await store.close()


@asynccontextmanager
async def open_site(servers: Servers, journal: Journal, folder: Path, prefix: str, seed: int) -> AsyncIterator[Site]:
    """A run's site on a database of its own; ended and removed afterwards."""
    urls = await asyncio.to_thread(create_database, servers.postgres)
    site = Site(servers, urls, journal, folder, prefix, seed)
    try:
        await site.open()
        yield site
    finally:
        await site.close()
        await asyncio.to_thread(drop_database, servers.postgres, urls)
