"""Kafka stopped, PostgreSQL stopped: what a partner sees, and that nothing needs a restart when they are back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.support.deployments import Deployment, kafka_deployment
from tests.support.kafka import KafkaBroker
from tests.support.lateness import Lateness
from tests.support.partners import Client, add_client, add_reader
from tests.support.postgres import PostgresServer, create_database
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]

PUBLISH_LIMIT_S = 1.5


@pytest.fixture
async def fragile(
    tmp_path: Path, private_kafka: KafkaBroker, private_postgres: PostgresServer
) -> AsyncIterator[Deployment]:
    """A mealtrail on a Kafka and a PostgreSQL of its own."""
    urls = create_database(private_postgres)
    made = kafka_deployment(
        tmp_path,
        private_kafka.bootstrap,
        urls,
        "",
        MEALTRAIL_PUBLISH_TIMEOUT_MS=str(int(PUBLISH_LIMIT_S * 1000)),
        MEALTRAIL_PUBLISH_WINDOW="500",
    )
    try:
        await made.up()
        yield made
    finally:
        await asyncio.to_thread(made.close)


async def hammer(client: Client, seconds: float) -> tuple[Counter[int], float]:
    """Posts from many tasks for a while; statuses by count, and the slowest answer in seconds (less this machine's own
    lateness).
    """
    statuses, slowest, until = Counter[int](), 0.0, time.monotonic() + seconds

    async def poster(number: int) -> None:
        nonlocal slowest
        turn = 0
        while time.monotonic() < until:
            turn += 1
            began = time.monotonic()
            body = {"order_id": f"h-{number}-{turn}", "status": "NEW", "comment": "x" * 400}
            answer = await client.call("POST", f"/v1/webhooks/{client.name}", body)
            slowest = max(slowest, time.monotonic() - began)
            statuses[answer.status] += 1
            if answer.status == 503:
                assert int(answer.headers["Retry-After"]) >= 1
                assert answer.body["code"] == "log_unavailable"

    async with Lateness() as late:
        await asyncio.gather(*(poster(number) for number in range(50)))
    return statuses, slowest - 2 * late.worst_s  # the server shares the machine: late there, and late here


async def test_kafka_stopped(fragile: Deployment, private_kafka: KafkaBroker) -> None:
    """503 with Retry-After within the publish limit, bounded memory, and service again without a restart."""
    async with aiohttp.ClientSession() as session:
        platform = await add_client(fragile, session, "platform", "--role", "platform", "--rate", "100000")
        assert await platform.verdict("before", "NEW") == ("applied", None)
        await asyncio.to_thread(private_kafka.kill)
        ingress = psutil.Process(fragile.processes["serve"].pid)
        await hammer(platform, 4)
        settled = ingress.memory_info().rss
        statuses, slowest = await hammer(platform, 8)
        assert set(statuses) == {503}
        assert slowest < PUBLISH_LIMIT_S + 1.0
        assert ingress.memory_info().rss < settled + 24 * 2**20, "memory grows while Kafka is down"
        async with session.get(f"{fragile.url}/readyz") as answer:
            assert answer.status == 503
            assert (await answer.json())["parts"]["log"] != "ok"
        await asyncio.to_thread(private_kafka.start)

        async def accepted() -> bool:
            body = {"order_id": "after", "status": "NEW", "event_id": "after-1"}
            return (await platform.call("POST", "/v1/webhooks/platform", body)).status == 202

        await wait_until(accepted, timeout=60.0, what="the ingress to publish again")
        assert await platform.verdict("after", "COOKING") == ("applied", None)
        report = await fragile.cli_json("audit", "verify")
        assert report["ok"], report


async def test_postgresql_stopped(fragile: Deployment, private_postgres: PostgresServer) -> None:
    """Known sources are still answered 202; the consumer waits, and catches up when the database is back."""
    async with aiohttp.ClientSession() as session:
        platform = await add_client(fragile, session, "platform", "--role", "platform")
        reader = await add_reader(fragile, session)
        assert await platform.verdict("before", "NEW") == ("applied", None)
        assert (await reader.call("GET", "/v1/orders/before")).status == 200
        await asyncio.to_thread(private_postgres.kill)
        receipts = [await platform.post(f"during-{number}", "NEW") for number in range(50)]
        unread = await reader.call("GET", "/v1/orders/before")
        assert (unread.status, unread.body["code"]) == (503, "store_unavailable")
        await asyncio.to_thread(private_postgres.start)

        async def readable() -> bool:
            return (await reader.call("GET", "/v1/orders/before")).status == 200

        await wait_until(readable, timeout=30.0, what="the store to answer again")
        for receipt in receipts:
            assert await platform.await_verdict(receipt) == ("applied", None)
    report = await fragile.cli_json("audit", "verify")
    assert report["ok"], report
