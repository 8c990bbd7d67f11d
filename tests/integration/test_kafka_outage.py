"""Kafka killed, frozen and gone: what the log says meanwhile, and that it heals without a restart of this process."""

import asyncio
import contextlib
import dataclasses
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from backbone.eventlog.kafka import KafkaEventLog
from backbone.eventlog.kafka_connection import KafkaLogConfig
from backbone.eventlog.port import GroupMember, LogRecord, NewRecord, Position
from kafka_broker import free_port
from schemas.errors import LogUnavailable, PartitionLost
from schemas.topics import RECEIVED, topic_specs
from tests.support.kafka import KafkaBroker, LocalKafka
from tests.support.lateness import Lateness
from tests.support.listening import RecordingListener
from tests.support.logs import kafka_limits
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PARTITIONS = 2
WINDOW = 20
PUBLISH_LIMIT = 0.5


def config(broker: KafkaBroker, **changes: Any) -> KafkaLogConfig:
    """Short limits, so that an outage of seconds shows what one of minutes does."""
    limits: dict[str, Any] = {
        "publish_timeout_ms": int(PUBLISH_LIMIT * 1000),
        "publish_window": WINDOW,
        "connect_timeout_ms": 3000,
        "request_timeout_ms": 1500,
        "retire_after_ms": 2000,
        "stall_after_ms": 3000,
        "session_timeout_ms": 6000,
        "shutdown_timeout_ms": 2000,
    }
    return kafka_limits(broker.bootstrap, **(limits | changes))


async def make_topics(broker: KafkaBroker) -> None:
    """With limits that a broker which has just started meets."""
    log = KafkaEventLog(config(broker, connect_timeout_ms=20_000, request_timeout_ms=10_000))
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=PARTITIONS, replication=1, min_insync=1))
    await log.stop()


@pytest.fixture
async def log(private_kafka: KafkaBroker) -> AsyncIterator[KafkaEventLog]:
    """A started log on a broker of its own, with topics."""
    await make_topics(private_kafka)
    log = KafkaEventLog(config(private_kafka))
    await log.start()
    yield log
    await log.stop()


@pytest.fixture(autouse=True)
def nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No task or future of an abandoned client may end unheard: asyncio would complain in its log."""
    yield
    gc.collect()
    messages = [r.getMessage() for r in [*caplog.get_records("call"), *caplog.records] if r.name == "asyncio"]
    # aiokafka 0.14 stumbles over its own callback when the sender of a producer without transactions dies.
    assert not [message for message in messages if "Sender._fail_all" not in message]


async def append(log: KafkaEventLog, value: bytes, partition: int = 0) -> Position:
    """One record."""
    return (await log.append(RECEIVED, [NewRecord(partition, b"k", value)]))[0]


async def append_until_stored(log: KafkaEventLog, value: bytes, within: float = 30) -> Position:
    """As a partner does: again and again, until it is stored."""
    async with asyncio.timeout(within):
        while True:
            try:
                return await append(log, value)
            except LogUnavailable:
                await asyncio.sleep(0.05)


async def keep_fetching(member: GroupMember) -> None:
    """Fetches for 10 s: by then Kafka's silence must have been said."""
    for _ in range(20):
        await member.fetch(0, 1, max_records=10, timeout=0.5)


async def stored(log: KafkaEventLog, partition: int = 0) -> list[bytes]:
    """All values of a partition, once nothing more comes."""
    tail = await log.tail(RECEIVED, {partition: 0})
    values: list[bytes] = []
    while some := await tail.read(max_records=1000, timeout=1):
        values += [record.value for record in some]
    await tail.stop()
    return values


async def post_for(log: KafkaEventLog, seconds: float) -> tuple[int, float, list[bytes]]:
    """Posts from 50 callers for a while. Returns the most unresolved records, the longest wait, what was stored.

    The wait is without what this machine was late: a call that ends at its limit is resumed when it gets its turn.
    """
    loop = asyncio.get_running_loop()
    give_up = loop.time() + seconds
    most, longest = 0, 0.0
    acknowledged: list[bytes] = []

    async def caller(name: int) -> None:
        nonlocal most, longest
        count = 0
        while loop.time() < give_up:
            value = b"%d-%d" % (name, count)
            count += 1
            began = loop.time()
            with contextlib.suppress(LogUnavailable):
                await append(log, value, name % PARTITIONS)
                acknowledged.append(value)
            longest = max(longest, loop.time() - began)
            most = max(most, log.unresolved)
            await asyncio.sleep(0.01)

    async with Lateness() as late:
        await asyncio.gather(*(caller(name) for name in range(50)))
    return most, longest - 2 * late.worst_s, acknowledged  # late to time out, and late to be told


async def test_a_killed_broker_is_bounded_and_heals(private_kafka: KafkaBroker, log: KafkaEventLog) -> None:
    """Fails within the limit, never more than the window, and after the restart all goes on: append, fetch, tail."""
    listener = RecordingListener()
    member = await log.join(RECEIVED, "group", listener)
    await wait_until(lambda: len(listener.owned) == PARTITIONS, 20, "owning the partitions")
    tail = await log.tail(RECEIVED, {0: 0, 1: 0})
    await append(log, b"before")
    assert len(await member.fetch(0, 0, max_records=10, timeout=5)) == 1
    assert len(await tail.read(max_records=10, timeout=5)) == 1

    await asyncio.to_thread(private_kafka.kill)
    most, longest, acknowledged = await post_for(log, 6)
    assert not acknowledged
    assert most <= WINDOW
    assert longest < PUBLISH_LIMIT + 0.5
    with pytest.raises(LogUnavailable):
        await log.bounds(RECEIVED, [0])
    with pytest.raises((LogUnavailable, PartitionLost)):
        await keep_fetching(member)

    await asyncio.to_thread(private_kafka.start)
    position = await append_until_stored(log, b"after")
    await wait_until(lambda: len(listener.owned) == PARTITIONS, 40, "owning the partitions again")
    found: list[LogRecord] = []
    async with asyncio.timeout(30):
        while b"after" not in [record.value for record in found]:
            with contextlib.suppress(LogUnavailable):
                found += await member.fetch(0, 1 + len(found), max_records=100, timeout=1)
    assert [record.offset for record in found] == list(range(1, position.offset + 1))
    read: list[bytes] = []
    async with asyncio.timeout(30):
        while b"after" not in read:
            with contextlib.suppress(LogUnavailable):
                read += [record.value for record in await tail.read(max_records=100, timeout=1)]
    await wait_until(lambda: log.unresolved == 0, 10, "an empty window")


async def test_a_frozen_broker_is_bounded_and_heals(private_kafka: KafkaBroker, log: KafkaEventLog) -> None:
    """Fails within the limit; what was acknowledged before and after the thaw is all there."""
    await append(log, b"before")
    await asyncio.to_thread(private_kafka.freeze)
    try:
        most, longest, acknowledged = await post_for(log, 5)
    finally:
        await asyncio.to_thread(private_kafka.thaw)
    assert not acknowledged
    assert most <= WINDOW
    assert longest < PUBLISH_LIMIT + 0.5
    await append_until_stored(log, b"after")
    _, _, acknowledged = await post_for(log, 1)
    assert acknowledged
    there = await stored(log, 0) + await stored(log, 1)
    assert {b"before", b"after", *acknowledged} <= set(there)
    await wait_until(lambda: log.unresolved == 0, 10, "an empty window")


async def test_stopping_is_bounded_while_the_broker_is_frozen(private_kafka: KafkaBroker) -> None:
    """With appends under way, a member and a tail reader; the appends end, the listener is told."""
    log = KafkaEventLog(config(private_kafka, connect_timeout_ms=20_000, request_timeout_ms=10_000))
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=PARTITIONS, replication=1, min_insync=1))
    listener = RecordingListener()
    member = await log.join(RECEIVED, "group", listener)
    await wait_until(lambda: len(listener.owned) == PARTITIONS, 20, "owning the partitions")
    await log.tail(RECEIVED, {0: 0})
    await append(log, b"before")
    await asyncio.to_thread(private_kafka.freeze)
    try:
        fetching = asyncio.create_task(member.fetch(0, 1, max_records=1, timeout=60))
        appends = [asyncio.create_task(append(log, b"x" * 100_000, n % 2)) for n in range(10)]
        await wait_until(lambda: log.unresolved == len(appends), 5, "the appends being under way")
        async with asyncio.timeout(15):
            await log.stop()
        for outcome in await asyncio.gather(*appends, return_exceptions=True):
            assert isinstance(outcome, LogUnavailable)
        assert not listener.owned
        with pytest.raises(PartitionLost):
            await fetching
    finally:
        await asyncio.to_thread(private_kafka.thaw)


async def test_starting_without_an_answer_fails_in_time(private_kafka: KafkaBroker) -> None:
    """A frozen broker and nobody at the address: LogUnavailable within the connect limit, nothing left running."""

    async def check() -> None:
        log = KafkaEventLog(config(private_kafka))
        async with asyncio.timeout(12):
            with pytest.raises(LogUnavailable):
                await log.start()
            with pytest.raises(LogUnavailable):
                await log.join(RECEIVED, "group", RecordingListener())
            with pytest.raises(LogUnavailable):
                await log.tail(RECEIVED, {0: 0})
            with pytest.raises(LogUnavailable):
                await log.check_topics(topic_specs(prefix="", partitions=1, replication=1, min_insync=1))
            await log.stop()

    await asyncio.to_thread(private_kafka.freeze)
    try:
        await check()
    finally:
        await asyncio.to_thread(private_kafka.thaw)
    await asyncio.to_thread(private_kafka.kill)
    await check()


async def test_a_producer_that_kafka_refuses_is_replaced(
    private_kafka: KafkaBroker, log: KafkaEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hole in the sequence numbers (OutOfOrderSequence) and a dead sender cost one call each, not the process."""
    await append(log, b"first")
    producer = (await log._appender._keeper.session())._producer
    numbers = producer._txn_manager._sequence_numbers
    for partition in list(numbers):
        numbers[partition] += 100
    with pytest.raises(LogUnavailable, match="publishing to"):
        await append(log, b"refused")
    assert (await append_until_stored(log, b"second")).offset == 1

    producer = (await log._appender._keeper.session())._producer

    def die(**_: object) -> None:
        raise ArithmeticError("the sender dies")

    monkeypatch.setattr(producer._message_accumulator, "drain_by_nodes", die)
    with pytest.raises(LogUnavailable):
        await append(log, b"lost on the way")
    assert (await append_until_stored(log, b"third")).offset == 2
    assert await stored(log) == [b"first", b"second", b"third"]


async def test_an_append_that_was_given_up_before_it_left_never_arrives(
    private_kafka: KafkaBroker, log: KafkaEventLog
) -> None:
    """While one batch hangs, what queues behind it and is given up is dropped; the hanging batch arrives once."""
    await asyncio.to_thread(private_kafka.freeze)
    try:
        hanging = asyncio.create_task(append(log, b"left"))
        await wait_until(lambda: log.unresolved and not log._appender._lanes[RECEIVED, 0]._queue, 5, "leaving")
        queued = asyncio.create_task(append(log, b"never left"))
        for task in (hanging, queued):
            with pytest.raises(LogUnavailable):
                await task
        assert log.unresolved == 2
    finally:
        await asyncio.to_thread(private_kafka.thaw)
    await append_until_stored(log, b"after")
    values = await stored(log)
    assert values.count(b"left") == 1
    assert b"never left" not in values


async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Passes bytes on in one direction until either side ends."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def test_a_cluster_that_moved_is_found_by_its_bootstrap_address(private_kafka: KafkaBroker) -> None:
    """Every broker comes back under another address (as pods do): only the bootstrap address still leads there."""
    if not isinstance(private_kafka, LocalKafka):
        pytest.skip("the port of a broker in a container cannot be changed")
    broker = private_kafka._broker

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", broker.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(relay(reader, far_writer), relay(far_reader, writer))

    await make_topics(private_kafka)
    bootstrap = await asyncio.start_server(forward, "127.0.0.1", 0)
    address = f"127.0.0.1:{bootstrap.sockets[0].getsockname()[1]}"
    log = KafkaEventLog(dataclasses.replace(config(private_kafka), bootstrap_servers=address))
    await log.start()
    listener = RecordingListener()
    member = await log.join(RECEIVED, "group", listener)
    await wait_until(lambda: len(listener.owned) == PARTITIONS, 20, "owning the partitions")
    tail = await log.tail(RECEIVED, {0: 0})
    await append(log, b"before")
    assert len(await tail.read(max_records=10, timeout=5)) == 1

    await asyncio.to_thread(private_kafka.kill)
    settings = broker.data / "server.properties"
    old, broker.port = broker.port, free_port()
    settings.write_text(settings.read_text().replace(f":{old}", f":{broker.port}"))
    await asyncio.to_thread(private_kafka.start)

    position = await append_until_stored(log, b"after")
    found: list[LogRecord] = []
    async with asyncio.timeout(60):  # the old consumer gets its time to find back, in vain; then a new one joins
        while not found:
            await wait_until(lambda: len(listener.owned) == PARTITIONS, 40, "owning the partitions again")
            with contextlib.suppress(LogUnavailable, PartitionLost):
                found = await member.fetch(0, position.offset, max_records=10, timeout=1)
    assert [record.value for record in found] == [b"after"]
    async with asyncio.timeout(30):
        read: list[LogRecord] = []
        while not read:
            with contextlib.suppress(LogUnavailable):
                read = await tail.read(max_records=10, timeout=1)
    assert read == found
    await log.stop()
    bootstrap.close()
    await bootstrap.wait_closed()
