"""What a partner sees, second by second, while Kafka is dead, PostgreSQL is dead, a consumer is frozen.

All settings are the defaults that `docs/worst-case.md` speaks of. A prober posts ten times a second and another one
reads; the tables they print (`pytest -rP`) are those of the document, and the shape it promises is asserted here.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.support.deployments import Deployment, kafka_deployment
from tests.support.kafka import KafkaBroker
from tests.support.partners import Client, add_client, add_reader
from tests.support.postgres import PostgresServer, create_database
from tests.support.postgres_databases import DatabaseUrls
from tests.support.probes import Feed, Prober, Sample, TrailWatch, first_verdicts
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]

PARTITIONS = 4
PUBLISH_LIMIT_S = 3.0
SESSION_TIMEOUT_S = 10.0
QUIET_S, AWAY_S, LIMIT_S = 2.0, 8.0, 40.0


@dataclass
class View:
    """A deployment and the two who look at it. Times are seconds on the probers' clock."""

    deployment: Deployment
    platform: Client
    reader: Client
    stack: AsyncExitStack
    writes: Prober = field(init=False)
    reads: Prober = field(init=False)

    async def look(self) -> None:
        """Begins to post and to read."""
        assert await self.platform.verdict("known", "NEW") == ("applied", None)
        self.writes = Prober(self.platform, "POST", "/v1/webhooks/platform")
        self.reads = Prober(self.reader, "GET", "/v1/orders/known")
        await self.stack.enter_async_context(self.writes)
        await self.stack.enter_async_context(self.reads)
        await self.pass_time(QUIET_S)

    async def pass_time(self, seconds: float) -> float:
        """Lets it go on for so long; what is measured here is time itself. The time then."""
        await asyncio.sleep(seconds)
        return self.writes.now_s

    async def well_again(self, prober: Prober, status: int) -> float:
        """When, from now on, the first request was sent that was answered with the status as on a quiet day."""
        start_s = prober.now_s

        def first() -> list[Sample]:
            return [sample for sample in prober.between(start_s, start_s + LIMIT_S) if sample.status == status]

        await wait_until(first, timeout=LIMIT_S, what=f"an answer of {status}")
        return first()[0].sent_s - start_s

    async def close(self, what: str) -> None:
        """Looks no longer, and prints what was seen."""
        await self.stack.aclose()
        for name, prober in (("POST", self.writes), ("GET", self.reads)):
            sys.stdout.write(f"\n{what}: {name}\n" + "\n".join(prober.table()) + "\n")


class Views(AsyncExitStack):
    """Makes views, and ends what they look at."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    async def make(self, kafka: KafkaBroker, urls: DatabaseUrls, prefix: str) -> View:
        """A running mealtrail with the default limits, and two who will look at it."""
        deployment = kafka_deployment(
            self._folder,
            kafka.bootstrap,
            urls,
            prefix,
            MEALTRAIL_PARTITIONS=str(PARTITIONS),
            MEALTRAIL_KAFKA_SESSION_TIMEOUT_MS=str(int(SESSION_TIMEOUT_S * 1000)),
        )
        self.push_async_callback(asyncio.to_thread, deployment.close)
        await deployment.up()
        session = await self.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)))
        platform = await add_client(deployment, session, "platform", "--role", "platform")
        reader = await add_reader(deployment, session)
        return View(deployment, platform, reader, await self.enter_async_context(AsyncExitStack()))


@pytest.fixture
async def views(tmp_path: Path) -> AsyncIterator[Views]:
    """Where views come from."""
    async with Views(tmp_path) as made:
        yield made


def assert_all(samples: list[Sample], *, status: int, within_s: float) -> None:
    """All of them, and there are some, were answered so, in that time."""
    assert samples
    wrong = [sample for sample in samples if sample.status != status or sample.took_s > within_s]
    assert not wrong, f"{len(wrong)} of {len(samples)}, the first: {wrong[0]}"


async def test_kafka_dies(
    views: Views, private_kafka: KafkaBroker, database_urls: DatabaseUrls, topic_prefix: str
) -> None:
    """Every post is 503 with Retry-After after the publish limit; reads go on; 202 soon after Kafka is back."""
    view = await views.make(private_kafka, database_urls, topic_prefix)
    await view.look()
    await asyncio.to_thread(private_kafka.kill)
    dead_s = view.writes.now_s
    back_s = await view.pass_time(AWAY_S)
    await asyncio.to_thread(private_kafka.start)
    took_s = await view.well_again(view.writes, 202)
    end_s = await view.pass_time(QUIET_S)
    await view.close(f"Kafka dies at {dead_s:.1f} s, is started at {back_s:.1f} s")
    refused = view.writes.between(dead_s, back_s - PUBLISH_LIMIT_S)
    assert_all(refused, status=503, within_s=PUBLISH_LIMIT_S + 1.0)
    assert all(sample.retry_after for sample in refused)
    assert_all(view.writes.between(0, dead_s - PUBLISH_LIMIT_S / 3), status=202, within_s=1.0)
    assert {sample.status for sample in view.writes.samples} == {202, 503}, "nothing else is ever answered"
    assert_all(view.reads.between(0, end_s), status=200, within_s=1.0)
    assert took_s < 5.0, f"the first 202 came {took_s:.1f} s after Kafka's return"
    sys.stdout.write(f"first 202 after its return: {took_s:.1f} s\n")


async def test_postgresql_dies(
    views: Views, kafka_broker: KafkaBroker, private_postgres: PostgresServer, topic_prefix: str
) -> None:
    """Posts of known sources are 202 as always; reads are 503 at once; both are well soon after it is back."""
    urls = await asyncio.to_thread(create_database, private_postgres)
    view = await views.make(kafka_broker, urls, topic_prefix)
    await view.look()
    await asyncio.to_thread(private_postgres.kill)
    dead_s = view.reads.now_s
    back_s = await view.pass_time(AWAY_S)
    await asyncio.to_thread(private_postgres.start)
    took_s = await view.well_again(view.reads, 200)
    end_s = await view.pass_time(QUIET_S)
    await view.close(f"PostgreSQL dies at {dead_s:.1f} s, is started at {back_s:.1f} s")
    assert_all(view.writes.between(0, end_s), status=202, within_s=1.5)
    assert_all(view.reads.between(dead_s, back_s), status=503, within_s=1.5)
    assert {sample.status for sample in view.reads.samples} == {200, 503}
    assert took_s < 5.0, f"the first read succeeded {took_s:.1f} s after PostgreSQL's return"
    sys.stdout.write(f"first 200 after its return: {took_s:.1f} s\n")


async def test_a_consumer_freezes(
    views: Views, kafka_broker: KafkaBroker, database_urls: DatabaseUrls, topic_prefix: str
) -> None:
    """Nobody who posts or reads notices; verdicts of its orders pause for the session timeout and 3 s at most."""
    view = await views.make(kafka_broker, database_urls, topic_prefix)
    view.deployment.start("second", "consume")
    gained = '"event":"partitions_gained"'
    await wait_until(lambda: gained in view.deployment.log_of("second"), timeout=LIMIT_S, what="the second consumer")
    watch = TrailWatch(database_urls.runtime)
    views.push_async_callback(watch.close)
    await view.look()
    async with Feed(view.platform, PARTITIONS):
        assert len(await first_verdicts(watch, PARTITIONS, LIMIT_S)) == PARTITIONS
        view.deployment.processes["second"].send_signal(signal.SIGSTOP)
        frozen_s = view.writes.now_s
        paused = sorted((await first_verdicts(watch, PARTITIONS, LIMIT_S)).values())
        view.deployment.processes["second"].send_signal(signal.SIGCONT)
        thawed_s = view.writes.now_s
        end_s = await view.pass_time(QUIET_S)
    await view.close(f"a consumer is frozen from {frozen_s:.1f} s to {thawed_s:.1f} s")
    assert_all(view.writes.between(0, end_s), status=202, within_s=1.5)
    assert_all(view.reads.between(0, end_s), status=200, within_s=1.5)
    sys.stdout.write(f"verdicts paused for {', '.join(f'{seconds:.1f}' for seconds in paused)} s, by partition\n")
    assert len(paused) == PARTITIONS
    assert paused[-1] < SESSION_TIMEOUT_S + 3.0
