"""Who owns a partition may be wrong for a while; what is committed may not.

The tests find their moments from outside: they lock a row that a batch needs, see in PostgreSQL's own list of sessions
that a worker waits for it, and act then. One partition and two workers, so that it is clear who takes over from whom.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from sqlalchemy import text, update

from backbone.store.migration import migrate
from backbone.store.opening import open_store
from backbone.store.tables import kept_settings
from tests.support.deployments import Deployment, kafka_deployment
from tests.support.kafka import KafkaBroker
from tests.support.partners import Client, add_client
from tests.support.postgres_databases import DatabaseUrls
from tests.support.probes import TrailWatch
from tests.support.stores import postgres_settings
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]

SESSION_TIMEOUT_S = 6.0
STORE_TIMEOUT_S = 2.0
TAKEOVER_S = SESSION_TIMEOUT_S + 3.0
WAITING = """
    SELECT pid, client_port FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'mealtrail-consumer' AND wait_event_type = 'Lock'
"""


@dataclass
class Scene:
    """A mealtrail with one partition, its platform, and a look into its store."""

    deployment: Deployment
    platform: Client
    watch: TrailWatch
    urls: DatabaseUrls

    @asynccontextmanager
    async def locked(self, query: str) -> AsyncIterator[None]:
        """Holds what the query locks."""
        connection = await asyncpg.connect(self.urls.owner.replace("+asyncpg", ""), timeout=10)
        try:
            async with connection.transaction():
                await connection.execute(query)
                yield
        finally:
            await connection.close(timeout=10)

    async def waiting_for_locks(self) -> set[int]:
        """Workers that wait for a row, by their connections' ports."""
        return {row["client_port"] for row in await self.watch.fetch(WAITING)}

    def owner_of(self, port: int) -> str:
        """Which of the processes has that connection."""
        import psutil  # noqa: PLC0415 (needed by one test only)

        for name, process in self.deployment.processes.items():
            ports = {link.laddr.port for link in psutil.Process(process.pid).net_connections("tcp") if link.laddr}
            if port in ports:
                return name
        raise AssertionError(f"no process of ours has a connection from port {port}")

    async def verdicts(self, order_id: str) -> list[Any]:
        """The order's verdicts in the trail."""
        rows = await self.watch.fetch("SELECT * FROM trail WHERE order_id = $1 AND NOT inferred ORDER BY seq", order_id)
        return [(row["event_id"], row["verdict"]) for row in rows]

    async def repeats(self) -> int:
        """Repeats that all receipts have counted: a batch that is applied a second time shows here."""
        rows = await self.watch.fetch("SELECT coalesce(sum(repeats), 0) AS repeats FROM receipts")
        return int(rows[0]["repeats"])

    def events(self, name: str) -> list[str]:
        """What a process has logged, by the names of the lines."""
        lines = [line for line in self.deployment.log_of(name).splitlines() if line.startswith("{")]
        return [json.loads(line)["event"] for line in lines]


@pytest.fixture
async def scene(
    tmp_path: Path, kafka_broker: KafkaBroker, database_urls: DatabaseUrls, topic_prefix: str
) -> AsyncIterator[Scene]:
    """One partition, two workers, and an order `o` that is announced and applied."""
    deployment = kafka_deployment(
        tmp_path,
        kafka_broker.bootstrap,
        database_urls,
        topic_prefix,
        MEALTRAIL_PARTITIONS="1",
        MEALTRAIL_KAFKA_SESSION_TIMEOUT_MS=str(int(SESSION_TIMEOUT_S * 1000)),
        MEALTRAIL_STORE_TIMEOUT_MS=str(int(STORE_TIMEOUT_S * 1000)),
    )
    watch = TrailWatch(database_urls.runtime)  # a role sees the waits of its own sessions only
    async with AsyncExitStack() as stack:
        stack.callback(deployment.close)
        stack.push_async_callback(watch.close)
        await deployment.up()
        deployment.start("second", "consume")
        session = await stack.enter_async_context(aiohttp.ClientSession())
        platform = await add_client(deployment, session, "platform", "--role", "platform")
        made = Scene(deployment, platform, watch, database_urls)
        assert await platform.verdict("o", "NEW") == ("applied", None)
        await wait_until(
            lambda: "partitions_gained" in made.events("second"), timeout=30.0, what="the second worker to join"
        )
        assert await platform.verdict("o", "ACCEPTED_BY_RESTAURANT") == ("applied", None)
        yield made


async def test_a_worker_frozen_after_its_fence_holds_up_nobody_for_longer_than_the_session_timeout(
    scene: Scene,
) -> None:
    """SIGSTOP between fence and commit: the server ends its transaction, the other takes over in time, one commits."""
    async with scene.locked("SELECT * FROM orders WHERE order_id = 'o' FOR UPDATE"):
        receipt = await scene.platform.post("o", "COOKING", event_id="cooking")
        found: set[int] = set()

        async def waits() -> bool:  # behind the fence: the batch wants to write the order
            found.update(await scene.waiting_for_locks())
            return bool(found)

        await wait_until(waits, what="the batch to meet the locked order")
        frozen = scene.owner_of(found.pop())
        scene.deployment.processes[frozen].send_signal(signal.SIGSTOP)
        began = time.monotonic()
    # The fence's row is locked by a session that will never speak again, unless the server ends it.
    assert await scene.platform.await_verdict(receipt) == ("applied", None)
    took = time.monotonic() - began
    assert took < TAKEOVER_S, f"the successor's first verdict came after {took:.1f} s"
    scene.deployment.processes[frozen].send_signal(signal.SIGCONT)
    assert await scene.platform.verdict("o", "READY", event_id="ready") == ("applied", None)
    await wait_until(
        lambda: scene.events(frozen).count("partitions_given_up") > 0, timeout=20.0, what="the thawed worker to let go"
    )
    assert [event for event, _ in await scene.verdicts("o")][-2:] == ["cooking", "ready"]
    assert len(await scene.verdicts("o")) == 4
    assert await scene.repeats() == 0
    report = await scene.deployment.cli_json("audit", "verify")
    assert report["ok"], report


async def test_a_worker_frozen_between_two_messages_of_one_statement_keeps_no_lock(
    database_urls: DatabaseUrls,
) -> None:
    """A statement that is prepared and not yet executed counts as busy: no idle limit and no statement limit ends it.

    A worker that freezes at random is found there now and then. Here it is made: the connection prepares a statement
    behind the fence and says nothing more.
    """
    settings = postgres_settings(database_urls, store_timeout_ms=500)
    await migrate(settings)
    frozen, successor = open_store(settings, purpose="consumer"), open_store(settings, purpose="owner")
    try:
        async with successor.transaction() as connection:
            await connection.execute(kept_settings.insert().values(name="fence", value="0"))
        async with frozen.engine.connect() as connection:
            if await connection.scalar(text("SHOW server_version_num")) < "170000":
                pytest.skip("PostgreSQL before 17 cannot limit a transaction")
            await connection.execute(update(kept_settings).values(value="1"))
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            await driver.prepare("SELECT value FROM kept_settings WHERE name = 'never asked for before'")
            began = time.monotonic()
            async with asyncio.timeout(SESSION_TIMEOUT_S * 4), successor.transaction() as other:
                await other.execute(update(kept_settings).values(value="2"))
            assert time.monotonic() - began < settings.kafka_session_timeout_ms / 1000
            await connection.invalidate()
    finally:
        await frozen.close()
        await successor.close()


LOSING = ("fence_lost", "partition_lost", "commit_confirmed", "partitions_released")
"""How a worker learns that the other one was first: at the fence; from the group; by looking, where its wait for the
fence had run into the store's timeout and the batch was committed meanwhile; or from the group before it looks.
"""


async def test_of_two_workers_with_the_same_batch_in_hand_one_commits(scene: Scene) -> None:
    """Both believe that they own the partition and stand before the fence with the same records: one of them loses."""

    def told() -> int:
        events = [event for name in ("consume", "second") for event in scene.events(name)]
        return sum(event in LOSING for event in events)

    async with scene.locked("SELECT * FROM offsets FOR UPDATE"):
        receipts = [await scene.platform.post("o", step, event_id=step) for step in ("COOKING", "READY")]
        found: set[int] = set()

        async def one_waits() -> bool:
            found.update(await scene.waiting_for_locks())
            return bool(found)

        await wait_until(one_waits, what="a worker to stand before the fence")
        frozen = scene.owner_of(found.pop())
        other = next(name for name in ("consume", "second") if name != frozen)
        scene.deployment.processes[frozen].send_signal(signal.SIGSTOP)

        async def successor_waits() -> bool:
            return other in {scene.owner_of(port) for port in await scene.waiting_for_locks()}

        await wait_until(successor_waits, timeout=TAKEOVER_S + 5.0, what="the successor to stand before the fence")
        told_before = told()
        scene.deployment.processes[frozen].send_signal(signal.SIGCONT)

        async def both_wait() -> bool:
            return {frozen, other} <= {scene.owner_of(port) for port in await scene.waiting_for_locks()}

        await wait_until(both_wait, timeout=20.0, what="both workers to stand before the fence")
    for receipt in receipts:
        assert await scene.platform.await_verdict(receipt) == ("applied", None)
    await wait_until(lambda: told() > told_before, timeout=20.0, what="the loser to see that it lost")
    assert await scene.platform.verdict("o", "TAKEN_BY_COURIER") == ("applied", None)
    assert [event for event, _ in await scene.verdicts("o")][2:4] == ["COOKING", "READY"]
    assert len(await scene.verdicts("o")) == 5
    assert await scene.repeats() == 0, "a batch was applied twice"
    report = await scene.deployment.cli_json("audit", "verify")
    assert report["ok"], report


async def test_a_rebalance_in_the_middle_of_a_batch_changes_nothing(scene: Scene) -> None:
    """A third worker joins while a batch is under way: the batch ends first, then the partition changes hands."""
    async with scene.locked("SELECT * FROM orders WHERE order_id = 'o' FOR UPDATE"):
        receipt = await scene.platform.post("o", "COOKING", event_id="cooking")

        async def waits() -> bool:
            return bool(await scene.waiting_for_locks())

        await wait_until(waits, what="the batch to meet the locked order")
        scene.deployment.start("third", "consume")

        def is_rebalancing() -> bool:
            return any(scene.events(name).count("partitions_given_up") for name in ("consume", "second"))

        await wait_until(is_rebalancing, timeout=30.0, what="the rebalance to take the partition away")
        assert len(await scene.verdicts("o")) == 2
    assert await scene.platform.await_verdict(receipt) == ("applied", None)
    assert await scene.platform.verdict("o", "READY", event_id="ready") == ("applied", None)
    assert len(await scene.verdicts("o")) == 4
    assert await scene.repeats() == 0
    report = await scene.deployment.cli_json("audit", "verify")
    assert report["ok"], report
