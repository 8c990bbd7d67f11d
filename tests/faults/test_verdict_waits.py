"""Waiting for verdicts while what decides and what tells of it is killed and comes back."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.deployments import Deployment, kafka_deployment
from tests.support.kafka import KafkaBroker
from tests.support.partners import add_client
from tests.support.postgres import PostgresServer, create_database
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
async def fragile(
    tmp_path: Path, private_kafka: KafkaBroker, private_postgres: PostgresServer
) -> AsyncIterator[Deployment]:
    """A mealtrail on a Kafka and a PostgreSQL of its own."""
    made = kafka_deployment(
        tmp_path, private_kafka.bootstrap, create_database(private_postgres), "", MEALTRAIL_VERDICT_WAIT_MS="30000"
    )
    try:
        await made.up()
        yield made
    finally:
        await asyncio.to_thread(made.close)


async def test_waits_outlive_worker_broker_and_store(
    fragile: Deployment, private_kafka: KafkaBroker, private_postgres: PostgresServer
) -> None:
    """A worker killed under a wait: the next one's verdict is the answer. After the broker was killed, outcomes are
    read again without help. While the store is away nobody gets an error for what lies in the log.
    """
    async with aiohttp.ClientSession() as session:
        market = await add_client(fragile, session, "market", "--role", "marketplace", "--party", "m1")

        async def report(number: int, wait: str) -> tuple[int, float]:
            began = time.monotonic()
            body = {"order_id": f"K-{number}", "status": "NEW"}
            answer = await market.call("POST", "/v1/webhooks/market", body, Prefer=wait)
            return answer.status, time.monotonic() - began

        assert (await report(0, "wait=20"))[0] == 200

        fragile.end("consume", signal.SIGKILL)
        waiting = asyncio.create_task(report(1, "wait=30"))
        setting = asyncio.create_task(market.call("PUT", "/order/K-0/status", {"status": "CANCELLED"}))
        fragile.start("consume")
        assert (await waiting)[0] == 200
        assert (await setting).status == 204

        await asyncio.to_thread(private_kafka.kill)
        assert (await report(2, "wait=1"))[0] == 503
        await asyncio.to_thread(private_kafka.start)
        numbers = iter(range(10, 1000))

        async def told_at_once() -> bool:
            status, seconds = await report(next(numbers), "wait=5")
            return status == 200 and seconds < 2.0  # by an outcome: the receipt is looked at only when time is over

        await wait_until(told_at_once, timeout=90.0, what="outcomes to be read again")

        await asyncio.to_thread(private_postgres.kill)
        assert (await report(3, "wait=2"))[0] == 202
        assert (await report(4, "wait=0"))[0] == 202
        await asyncio.to_thread(private_postgres.start)

        async def told_again() -> bool:
            return (await report(next(numbers), "wait=5"))[0] == 200

        await wait_until(told_again, timeout=60.0, what="verdicts again")
    verified = await fragile.cli_json("audit", "verify")
    assert verified["ok"], verified
