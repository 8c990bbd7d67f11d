"""The parts that other tests stand on do what those tests rely on."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.support.kafka import KafkaBroker
from tests.support.postgres import PostgresServer, create_database
from tests.support.postgres_databases import DatabaseUrls
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


async def _connect(url: str) -> asyncpg.Connection:
    return await asyncpg.connect(url.replace("+asyncpg", ""), timeout=10)


async def _make_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def _append(bootstrap: str, topic: str, value: bytes) -> int:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        sent = await asyncio.wait_for(producer.send_and_wait(topic, value, partition=0), 30)
    finally:
        await asyncio.wait_for(producer.stop(), 30)
    return int(sent.offset)


async def _read_all(bootstrap: str, topic: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        await consumer.seek_to_beginning(partition)
        values: list[bytes] = []
        async with asyncio.timeout(30):
            while len(values) < end:
                values.append((await consumer.getone()).value)
    finally:
        await consumer.stop()
    return values


@pytest.mark.kafka
async def test_the_shared_broker_takes_and_gives_records(kafka_broker: KafkaBroker, topic_prefix: str) -> None:
    """What was appended to the shared broker is read back."""
    topic = f"{topic_prefix}echo"
    await _make_topic(kafka_broker.bootstrap, topic)
    assert await _append(kafka_broker.bootstrap, topic, b"one") == 0
    assert await _read_all(kafka_broker.bootstrap, topic) == [b"one"]


@pytest.mark.kafka
@pytest.mark.slow
async def test_a_killed_broker_comes_back_with_its_port_and_data(private_kafka: KafkaBroker) -> None:
    """After SIGKILL and start the same address serves the same records."""
    before = private_kafka.bootstrap
    await _make_topic(before, "kept")
    await _append(before, "kept", b"one")
    await asyncio.to_thread(private_kafka.kill)
    await asyncio.to_thread(private_kafka.start)
    assert private_kafka.bootstrap == before
    await _append(before, "kept", b"two")
    assert await _read_all(before, "kept") == [b"one", b"two"]


@pytest.mark.kafka
@pytest.mark.slow
async def test_a_frozen_broker_answers_after_the_thaw(private_kafka: KafkaBroker) -> None:
    """While it is frozen nothing is acknowledged; after the thaw the waiting record is."""
    await _make_topic(private_kafka.bootstrap, "frozen")
    producer = AIOKafkaProducer(bootstrap_servers=private_kafka.bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        await producer.send_and_wait("frozen", b"warm", partition=0)
        private_kafka.freeze()
        waiting = await producer.send("frozen", b"waits", partition=0)
        done, _ = await asyncio.wait([waiting], timeout=0.5)
        assert not done
        private_kafka.thaw()
        assert (await asyncio.wait_for(waiting, 30)).offset == 1
    finally:
        await asyncio.wait_for(producer.stop(), 30)


@pytest.mark.postgres
async def test_the_runtime_role_starts_with_nothing(database_urls: DatabaseUrls) -> None:
    """The owner makes tables; the runtime role can connect, but neither create nor read."""
    owner, runtime = await _connect(database_urls.owner), await _connect(database_urls.runtime)
    try:
        assert await owner.fetchval("SELECT current_user") == "mealtrail_owner"
        assert await runtime.fetchval("SELECT current_user") == "mealtrail_app"
        await owner.execute("CREATE TABLE dish (name text)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await runtime.execute("CREATE TABLE mine (name text)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await runtime.fetch("SELECT * FROM dish")
        supers = await owner.fetchval("SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname LIKE 'mealtrail%'")
        assert supers == 0
    finally:
        await owner.close()
        await runtime.close()


@pytest.mark.postgres
async def test_databases_are_apart(create_database: Callable[[], DatabaseUrls]) -> None:
    """A table made in one fresh database is not seen in the next one."""
    first, second = create_database(), create_database()
    for urls in (first, second):
        connection = await _connect(urls.owner)
        try:
            await connection.execute("CREATE TABLE dish (name text)")
        finally:
            await connection.close()


@pytest.mark.postgres
async def test_a_killed_postgres_comes_back_with_its_port_and_data(private_postgres: PostgresServer) -> None:
    """After SIGKILL and start the same address serves what was committed."""
    urls = create_database(private_postgres)
    connection = await _connect(urls.owner)
    await connection.execute("CREATE TABLE dish AS SELECT 'soup' AS name")
    await asyncio.to_thread(private_postgres.kill)
    await wait_until(connection.is_closed, 10, "the broken connection to be noticed")
    await asyncio.to_thread(private_postgres.start)
    connection = await _connect(urls.owner)
    try:
        assert await connection.fetchval("SELECT name FROM dish") == "soup"
    finally:
        await connection.close()


@pytest.mark.postgres
@pytest.mark.kafka
@pytest.mark.slow
async def test_servers_end_when_their_tests_are_killed(tmp_path: Path) -> None:
    """A test process that is killed with SIGKILL leaves no server process and no folder behind."""
    program = tmp_path / "starts_servers.py"
    program.write_text(
        "import signal\n"
        "from tests.support.kafka import LocalKafka\n"
        "from tests.support.postgres import LocalPostgres\n"
        "kafka, postgres = LocalKafka(), LocalPostgres()\n"
        "kafka.start(); postgres.start()\n"
        "print(kafka._broker.process.pid, postgres._process.pid, kafka._folder, postgres._folder, flush=True)\n"
        "signal.pause()\n"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "deploy" / "kafka-local")])
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(program), stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}
    )
    try:
        assert child.stdout is not None
        words = (await asyncio.wait_for(child.stdout.readline(), 60)).decode().split()
    finally:
        child.kill()
        await child.wait()
    left = [Path("/proc", pid) for pid in words[:2]] + [Path(folder) for folder in words[2:]]
    assert len(left) == 4
    await wait_until(lambda: not any(path.exists() for path in left), 20, f"{left} to be gone")
