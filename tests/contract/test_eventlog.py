"""What `backbone.eventlog.port` promises, held against both logs and the fake that stands in for them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete
from structlog.testing import capture_logs

from backbone.clocks import SYSTEM_CLOCK
from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.eventlog.kafka import KafkaEventLog
from backbone.eventlog.port import Bounds, GroupMember, LogRecord, NewRecord, Position, TailReader
from schemas.errors import LogGap, LogUnavailable, PartitionLost, RecordTooLarge, TopicMisconfigured
from schemas.topics import RECEIVED, TopicSpec, topic_specs
from tests.support.fake_log import FakeLog
from tests.support.fake_topics import FakeTopics
from tests.support.listening import RecordingListener
from tests.support.logs import embedded_log, kafka_limits
from tests.support.waiting import wait_until

Log = KafkaEventLog | EmbeddedEventLog | FakeLog
PARTITIONS = 4
ALL = range(PARTITIONS)


class Backend:
    """One place where a log is kept; any number of logs may be opened on it, as by several processes."""

    def __init__(self, prefix: str, directory: Path, bootstrap: str | None, topics: FakeTopics | None = None) -> None:
        self.prefix = prefix
        self.topic = prefix + RECEIVED
        self._directory = directory
        self._bootstrap = bootstrap
        self._topics = topics
        self._opened: list[Log] = []

    @property
    def is_kafka(self) -> bool:
        """Whether it is Apache Kafka."""
        return self._bootstrap is not None

    def specs(self, partitions: int = PARTITIONS) -> tuple[TopicSpec, ...]:
        """The topics of this test."""
        return topic_specs(prefix=self.prefix, partitions=partitions, replication=1, min_insync=1)

    def make(self, *, clock: Callable[[], int] | None = None, publish_window: int = 4096) -> Log:
        """One more log, not started."""
        if self._bootstrap is not None:
            return KafkaEventLog(kafka_limits(self._bootstrap, session_timeout_ms=6000, publish_window=publish_window))
        if self._topics is not None:
            now_ms = clock if clock is not None else SYSTEM_CLOCK.now_ms
            return FakeLog(now_ms=now_ms, publish_window=publish_window, topics=self._topics)
        clocked = {} if clock is None else {"clock": clock}
        return embedded_log(self._directory, publish_window=publish_window, **clocked)

    async def open(self, *, clock: Callable[[], int] | None = None, publish_window: int = 4096) -> Log:
        """Starts one more log."""
        log = self.make(clock=clock, publish_window=publish_window)
        await log.start()
        self._opened.append(log)
        return log

    async def trim(self, partition: int, before: int) -> None:
        """Makes the log forget a partition's first records, as retention does."""
        if self._topics is not None:
            self._topics.partition(self.topic, partition).trim(before)
            return
        if self._bootstrap is None:
            log = await self.open()
            assert isinstance(log, EmbeddedEventLog)
            await log.prune(self.topic, partition, before_ms=2**60, keep_from=before)
            return
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        await admin.delete_records({TopicPartition(self.topic, partition): RecordsToDelete(before)})
        await admin.close()

    async def make_anew(self) -> None:
        """Makes the received topic vanish and come back empty; embedded logs lose their whole file, and stop."""
        if self._topics is not None:
            self._topics.delete(self.topic)
        elif self._bootstrap is not None:
            admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
            await admin.start()
            await admin.delete_topics([self.topic])
            await admin.close()
        else:
            await self.close()
            for path in self._directory.glob("log.db*"):
                path.unlink()
        await (await self.open()).create_topics(self.specs())

    async def close(self) -> None:
        """Stops all that were opened."""
        for log in self._opened:
            await log.stop()


@pytest.fixture(params=["embedded", "fake", pytest.param("kafka", marks=pytest.mark.kafka)])
async def backend(request: pytest.FixtureRequest, tmp_path: Path, topic_prefix: str) -> AsyncIterator[Backend]:
    """An empty log of each kind, with the topics made."""
    bootstrap = request.getfixturevalue("kafka_broker").bootstrap if request.param == "kafka" else None
    topics = FakeTopics() if request.param == "fake" else None
    backend = Backend(topic_prefix, tmp_path, bootstrap, topics)
    await (await backend.open()).create_topics(backend.specs())
    yield backend
    await backend.close()


@pytest.fixture
async def log(backend: Backend) -> Log:
    """A log, started."""
    return await backend.open()


def records(partition: int, count: int, *, tag: str = "r") -> list[NewRecord]:
    """Records that can be told apart."""
    return [NewRecord(partition, b"key", f"{tag}{number}".encode()) for number in range(count)]


async def joined(log: Log, backend: Backend, listener: RecordingListener, *, owned: int = PARTITIONS) -> GroupMember:
    """A member that owns that many partitions."""
    member = await log.join(backend.topic, backend.prefix + "group", listener)
    await wait_until(lambda: len(listener.owned) == owned, 30, f"owning {owned} partitions")
    return member


async def fetch_all(member: GroupMember, partition: int, *, until: int, start: int = 0) -> list[LogRecord]:
    """Fetches on and on, up to offset `until`."""
    found: list[LogRecord] = []
    async with asyncio.timeout(20):
        while start + len(found) < until:
            found += await member.fetch(partition, start + len(found), max_records=100, timeout=1)
    return found


async def read_all(tail: TailReader, count: int) -> list[LogRecord]:
    """Reads until that many records have come."""
    found: list[LogRecord] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await tail.read(max_records=100, timeout=1)
    return found


# --- Appending ---------------------------------------------------------------------------------------


async def test_positions_are_contiguous_and_in_order(backend: Backend, log: Log) -> None:
    """Each record gets the next offset of its partition, in the order of the call."""
    first = await log.append(backend.topic, [*records(1, 3), *records(2, 1), *records(1, 1)])
    assert [(position.partition, position.offset) for position in first] == [(1, 0), (1, 1), (1, 2), (2, 0), (1, 3)]
    second = await log.append(backend.topic, records(1, 2))
    assert [position.offset for position in second] == [4, 5]
    assert await log.append(backend.topic, []) == []


async def test_many_appenders_share_the_log(backend: Backend, log: Log) -> None:
    """500 appenders at once: every position once, offsets without gaps, each record where its position says."""
    calls = [log.append(backend.topic, [NewRecord(n % PARTITIONS, b"k", str(n).encode())]) for n in range(500)]
    positions = [position for (position,) in await asyncio.gather(*calls)]
    for partition in ALL:
        offsets = sorted(position.offset for position in positions if position.partition == partition)
        assert offsets == list(range(125))
    found = await read_all(await log.tail(backend.topic, dict.fromkeys(ALL, 0)), 500)
    where = {int(record.value): Position(record.partition, record.offset, record.log_ms) for record in found}
    assert [where[number] for number in range(500)] == positions


async def test_a_call_of_a_thousand_keeps_its_order(backend: Backend, log: Log) -> None:
    """A large call, larger than one batch, lies in the partition in the order given."""
    payload = b"x" * 3000
    sent = [NewRecord(0, None, b"%d:" % number + payload) for number in range(1000)]
    positions = await log.append(backend.topic, sent)
    assert [position.offset for position in positions] == list(range(1000))
    found = await read_all(await log.tail(backend.topic, {0: 0}), 1000)
    assert [record.value for record in found] == [record.value for record in sent]


async def test_times_are_the_logs_own_and_the_reader_sees_the_same(backend: Backend, log: Log) -> None:
    """Positions carry whole milliseconds that do not go back, and the records read back carry the same."""
    positions = [(await log.append(backend.topic, records(3, 1)))[0] for _ in range(5)]
    times = [position.log_ms for position in positions]
    assert times == sorted(times)
    assert times[0] > 1_600_000_000_000
    found = await read_all(await log.tail(backend.topic, {3: 0}), 5)
    assert [record.log_ms for record in found] == times


async def test_keys_headers_and_large_values_come_back_as_they_were(backend: Backend, log: Log) -> None:
    """No key, an empty value, repeated and empty headers, a value of 340 KiB."""
    large = bytes(range(256)) * 1360
    sent = [
        NewRecord(0, None, b"v", (("ce_id", b"\x00\xff"), ("ce_id", b""), ("naïve", "å".encode()))),
        NewRecord(0, b"", b""),
        NewRecord(0, b"default:17", large, (("traceparent", b"00-1-2-01"),)),
    ]
    await log.append(backend.topic, sent)
    found = await read_all(await log.tail(backend.topic, {0: 0}), 3)
    assert [NewRecord(r.partition, r.key, r.value, r.headers) for r in found] == sent


async def test_a_record_over_the_limit_is_refused_at_once(backend: Backend, log: Log) -> None:
    """It could never be stored, so it is no outage; and it takes nothing with it."""
    with pytest.raises(RecordTooLarge, match="limit"):
        await log.append(backend.topic, [NewRecord(0, None, b"x" * 1_100_000)])
    assert log.unresolved == 0
    assert (await log.append(backend.topic, records(0, 1)))[0].offset == 0


async def test_the_window_is_bounded(backend: Backend) -> None:
    """Beyond the window a call fails at once; a call larger than the window passes when nothing else waits."""
    log = await backend.open(publish_window=10)
    assert len(await log.append(backend.topic, records(0, 25))) == 25
    calls = (log.append(backend.topic, records(0, 8)), log.append(backend.topic, records(1, 3)))
    first, second = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, list)
    assert len(first) == 8
    assert isinstance(second, LogUnavailable)
    assert "window" in str(second)
    assert log.unresolved == 0


async def test_appending_to_a_partition_that_is_not_there_fails(backend: Backend, log: Log) -> None:
    """An unknown partition is an error of that call alone."""
    with pytest.raises(LogUnavailable, match="partition 99"):
        await log.append(backend.topic, records(99, 1))
    assert log.unresolved == 0
    assert len(await log.append(backend.topic, records(0, 1))) == 1


async def test_a_cancelled_append_leaves_nothing_behind(backend: Backend, log: Log) -> None:
    """Its outcome is unknown, but the window empties and others go on."""
    task = asyncio.create_task(log.append(backend.topic, records(0, 5)))
    asyncio.get_running_loop().call_soon(task.cancel)  # right after its first step
    with pytest.raises(asyncio.CancelledError):
        await task
    await log.append(backend.topic, records(0, 1))
    await wait_until(lambda: log.unresolved == 0, 5, "an empty window")


# --- Topics and bounds -------------------------------------------------------------------------------


async def test_making_topics_may_be_repeated(backend: Backend, log: Log) -> None:
    """Topics that are there are left as they are, with their records."""
    await log.append(backend.topic, records(0, 1))
    await log.create_topics(backend.specs())
    await log.check_topics(backend.specs())
    assert (await log.bounds(backend.topic, [0]))[0] == Bounds(0, 1)


async def test_another_number_of_partitions_is_noticed(backend: Backend, log: Log) -> None:
    """Both making and checking refuse, and name both numbers."""
    with pytest.raises(TopicMisconfigured, match="4 partitions instead of 6"):
        await log.check_topics(backend.specs(6))
    with pytest.raises(TopicMisconfigured, match="4 partitions instead of 6"):
        await log.create_topics(backend.specs(6))


async def test_a_topic_that_has_grown_can_be_let_pass(backend: Backend, log: Log) -> None:
    """For those that drain it: more partitions than wanted, never fewer, and only where it is asked for."""
    await log.check_topics(backend.specs(3), may_have_grown=True)
    with pytest.raises(TopicMisconfigured, match="4 partitions instead of 3"):
        await log.check_topics(backend.specs(3))
    with pytest.raises(TopicMisconfigured, match="4 partitions instead of 6"):
        await log.check_topics(backend.specs(6), may_have_grown=True)


async def test_a_missing_topic_is_noticed(backend: Backend, log: Log) -> None:
    """Checking names the topic that is not there."""
    missing = topic_specs(prefix=backend.prefix + "other.", partitions=1, replication=1, min_insync=1)
    with pytest.raises(TopicMisconfigured, match=r"other\.mealtrail\.received\.v1 is missing"):
        await log.check_topics(missing)


@pytest.mark.kafka
async def test_another_setting_is_noticed(backend: Backend, log: Log) -> None:
    """A topic whose retention or insync count differs is refused (settings are Kafka's alone)."""
    if not backend.is_kafka:
        return
    spec = backend.specs()[0]
    settings = dict(spec.settings) | {"retention.ms": "1000"}
    other = TopicSpec(spec.name, spec.partitions, spec.replication, tuple(settings.items()))
    with pytest.raises(TopicMisconfigured, match=r"retention\.ms=1209600000 instead of 1000"):
        await log.check_topics([other])


async def test_bounds_follow_the_log(backend: Backend, log: Log) -> None:
    """From the first to one past the last; an empty partition is 0 to 0."""
    await log.append(backend.topic, records(2, 7))
    assert await log.bounds(backend.topic, [1, 2]) == {1: Bounds(0, 0), 2: Bounds(0, 7)}
    assert await log.bounds(backend.topic, []) == {}


# --- A group member ----------------------------------------------------------------------------------


async def test_a_lone_member_owns_everything_and_fetches_from_where_it_says(backend: Backend, log: Log) -> None:
    """All partitions are gained; a fetch begins at exactly the offset named, repeats, and goes back or ahead."""
    await log.append(backend.topic, records(1, 30))
    listener = RecordingListener()
    member = await joined(log, backend, listener)
    assert listener.owned == set(ALL)
    first = await member.fetch(1, 0, max_records=10, timeout=5)
    assert [record.offset for record in first] == list(range(len(first)))
    assert await member.fetch(1, 0, max_records=len(first), timeout=5) == first
    assert [r.offset for r in await member.fetch(1, 25, max_records=3, timeout=5)] == [25, 26, 27]
    assert [r.offset for r in await member.fetch(1, 4, max_records=1, timeout=5)] == [4]
    assert [record.value for record in await fetch_all(member, 1, until=30)] == [b"r%d" % n for n in range(30)]


async def test_a_fetch_waits_for_what_is_appended_and_no_longer_than_told(backend: Backend, log: Log) -> None:
    """Nothing there: an empty list after the timeout. Appended meanwhile: the records, soon."""
    member = await joined(log, backend, RecordingListener())
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await member.fetch(0, 0, max_records=10, timeout=0.3) == []
    assert 0.25 < loop.time() - began < 10  # of the 30 s and more that clients wait where nobody tells them
    waiting = asyncio.create_task(member.fetch(0, 0, max_records=10, timeout=20))
    await asyncio.sleep(0)
    await log.append(backend.topic, records(0, 1))
    assert [record.offset for record in await asyncio.wait_for(waiting, 15)] == [0]  # of the 20 s that it would wait


async def test_partitions_are_fetched_side_by_side(backend: Backend, log: Log) -> None:
    """One fetch a partition, all at once; each gets its own records."""
    member = await joined(log, backend, RecordingListener())
    fetches = [asyncio.create_task(fetch_all(member, partition, until=40)) for partition in ALL]
    for _ in range(8):
        await asyncio.gather(*(log.append(backend.topic, records(p, 5, tag=f"p{p}-")) for p in ALL))
    for partition, found in enumerate(await asyncio.gather(*fetches)):
        assert [record.offset for record in found] == list(range(40))
        assert all(record.value.startswith(b"p%d-" % partition) for record in found)


async def test_an_offset_outside_the_log_is_a_gap(backend: Backend, log: Log) -> None:
    """Past the end it raises with the bounds; exactly at the end it waits; the member goes on afterwards."""
    await log.append(backend.topic, records(0, 3))
    member = await joined(log, backend, RecordingListener())
    with pytest.raises(LogGap, match="offset 9 is outside the log, which holds 0 to 3") as gap:
        await member.fetch(0, 9, max_records=10, timeout=5)
    assert (gap.value.partition, gap.value.offset) == (0, 9)
    assert await member.fetch(0, 3, max_records=10, timeout=0.2) == []
    assert len(await fetch_all(member, 0, until=3)) == 3


async def test_an_offset_that_retention_has_passed_is_a_gap(backend: Backend, log: Log) -> None:
    """Before the start it raises with the bounds, for members and tails; at the start reading works."""
    await log.append(backend.topic, records(0, 10))
    member = await joined(log, backend, RecordingListener())
    await backend.trim(0, 4)
    assert await log.bounds(backend.topic, [0]) == {0: Bounds(4, 10)}
    with pytest.raises(LogGap, match="offset 3 is outside the log, which holds 4 to 10"):
        await member.fetch(0, 3, max_records=10, timeout=5)
    tail = await log.tail(backend.topic, {0: 3})
    with pytest.raises(LogGap, match="offset 3 is outside the log, which holds 4 to 10"):
        await tail.read(max_records=10, timeout=5)
    assert [record.offset for record in await fetch_all(member, 0, until=10, start=4)] == list(range(4, 10))


async def test_a_cancelled_fetch_loses_nothing(backend: Backend, log: Log) -> None:
    """Fetches cancelled at odd moments while records arrive; then everything is there."""
    member = await joined(log, backend, RecordingListener())
    for _ in range(20):
        task = asyncio.create_task(member.fetch(0, 0, max_records=10, timeout=5))
        await log.append(backend.topic, records(0, 1))
        task.cancel()
        await asyncio.wait([task])
    assert [record.offset for record in await fetch_all(member, 0, until=20)] == list(range(20))


async def test_stopping_loses_the_partitions_and_may_be_repeated(backend: Backend, log: Log) -> None:
    """`lost` is called once, a fetch under way ends with PartitionLost, later ones too."""
    listener = RecordingListener()
    member = await joined(log, backend, listener)
    waiting = asyncio.create_task(member.fetch(0, 0, max_records=1, timeout=30))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        await member.stop()
        await member.stop()
    assert [name for name, _ in listener.calls] == ["gained", "lost"]
    assert listener.let_go == 1
    with pytest.raises(PartitionLost):
        await waiting
    with pytest.raises(PartitionLost):
        await member.fetch(0, 0, max_records=1, timeout=1)


@pytest.mark.kafka
async def test_a_second_member_takes_its_share(backend: Backend, log: Log) -> None:
    """The first loses all (awaited), then both share; a fetch of what is gone raises; stopping gives all back."""
    if not backend.is_kafka:
        return
    await log.append(backend.topic, [record for p in ALL for record in records(p, 5)])
    first, second = RecordingListener(), RecordingListener()
    member = await joined(log, backend, first)
    first.hold_on = asyncio.Event()
    waiting = asyncio.create_task(member.fetch(0, 5, max_records=1, timeout=30))
    other = await log.join(backend.topic, backend.prefix + "group", second)
    await wait_until(lambda: not first.owned, 20, "the first member losing its partitions")
    with pytest.raises(PartitionLost):
        await waiting
    assert not second.owned
    first.hold_on.set()
    await wait_until(lambda: len(first.owned) == len(second.owned) == 2, 20, "both having their share")
    assert not first.owned & second.owned
    for partition in second.owned:
        with pytest.raises(PartitionLost):
            await member.fetch(partition, 0, max_records=1, timeout=1)
        assert len(await fetch_all(other, partition, until=5)) == 5
    await other.stop()
    await wait_until(lambda: len(first.owned) == PARTITIONS, 20, "the first member having everything again")


async def test_a_failing_listener_is_heard_of(backend: Backend, log: Log) -> None:
    """What a listener raises is in the log of the process, and stopping goes on."""

    class Failing(RecordingListener):
        def gained(self, partitions: object) -> None:  # noqa: ARG002
            raise ValueError("no room for partitions")

        async def lost(self, partitions: object) -> None:  # noqa: ARG002
            raise ValueError("no way to let go")

    with capture_logs() as lines:
        member = await log.join(backend.topic, backend.prefix + "group", Failing())
        await wait_until(
            lambda: any(line["event"] == "listener_failed_to_take" for line in lines), 20, "the listener's error"
        )
        await member.stop()
    complaints = {line["event"]: line for line in lines if line["log_level"] == "error"}
    assert set(complaints) == {"listener_failed_to_take", "listener_failed_to_let_go"}
    assert all(line["exc_info"] for line in complaints.values())


# --- A tail reader -----------------------------------------------------------------------------------


async def test_a_tail_from_the_ends_sees_all_that_is_appended_after_it_returned(backend: Backend, log: Log) -> None:
    """No record is missed between asking for the ends and reading, and none before them is seen."""
    await log.append(backend.topic, [record for p in ALL for record in records(p, 3, tag="old")])
    ends = {partition: bounds.end for partition, bounds in (await log.bounds(backend.topic, ALL)).items()}
    tail = await log.tail(backend.topic, ends)
    sent = [record for p in ALL for record in records(p, 25, tag="new")]
    await log.append(backend.topic, sent)
    found = await read_all(tail, 100)
    for partition in ALL:
        assert [r.offset for r in found if r.partition == partition] == list(range(3, 28))
    assert await tail.read(max_records=10, timeout=0.2) == []


async def test_a_tail_reads_at_most_what_it_is_told(backend: Backend, log: Log) -> None:
    """Never more than `max_records` together, and nothing is lost between reads or by a cancelled one."""
    await log.append(backend.topic, [record for p in ALL for record in records(p, 10)])
    tail = await log.tail(backend.topic, dict.fromkeys(ALL, 0))
    found: list[LogRecord] = []
    while len(found) < 40:
        interrupted = asyncio.create_task(tail.read(max_records=3, timeout=1))
        await asyncio.sleep(0)
        interrupted.cancel()
        await asyncio.wait([interrupted])
        if not interrupted.cancelled():  # it was done before it could be interrupted
            found += interrupted.result()
        some = await tail.read(max_records=3, timeout=0.2 if len(found) == 40 else 5)
        assert len(some) <= 3
        found += some
    assert sorted((r.partition, r.offset) for r in found) == [(p, n) for p in ALL for n in range(10)]


async def test_a_tail_outside_the_log_is_a_gap(backend: Backend, log: Log) -> None:
    """As for a member: the bounds are in the message."""
    tail = await log.tail(backend.topic, {0: 4})
    with pytest.raises(LogGap, match="offset 4 is outside the log, which holds 0 to 0"):
        await tail.read(max_records=1, timeout=5)


async def test_a_stopped_tail_says_so(backend: Backend, log: Log) -> None:
    """Stopping may be repeated; reading afterwards raises."""
    tail = await log.tail(backend.topic, {0: 0})
    await tail.stop()
    await tail.stop()
    with pytest.raises(LogUnavailable):
        await tail.read(max_records=1, timeout=1)


# --- Which log it is ---------------------------------------------------------------------------------


async def test_a_topic_keeps_its_identity(backend: Backend, log: Log) -> None:
    """Every process sees the same one, before and after a restart and whatever is appended; each topic has its own."""
    before = await log.identity(backend.topic)
    assert before
    await log.append(backend.topic, records(0, 3))
    await log.stop()
    other = await backend.open()
    await other.create_topics(backend.specs())
    assert [await other.identity(backend.topic), await other.identity(backend.topic)] == [before, before]
    assert len({await other.identity(spec.name) for spec in backend.specs()}) == len(backend.specs())


async def test_a_topic_made_anew_has_another_identity(backend: Backend, log: Log) -> None:
    """The same name, the same partitions, and the same records even: it is not the same topic."""
    before = await log.identity(backend.topic)
    await backend.make_anew()
    anew = await backend.open()

    async def differs() -> bool:
        with suppress(LogUnavailable):
            return await anew.identity(backend.topic) != before
        return False

    await wait_until(differs, timeout=10)  # a broker may tell of the old one for a moment


async def test_the_identity_of_no_topic_is_an_outage(backend: Backend, log: Log) -> None:
    """It may be about to be made."""
    with pytest.raises(LogUnavailable):
        await log.identity(backend.prefix + "nothing")


# --- Starting and stopping ---------------------------------------------------------------------------


async def test_stop_is_bounded_repeatable_and_final(backend: Backend) -> None:
    """Appends under way are stored, members and waiting readers end, later calls say that the log is down."""
    log = await backend.open()
    listener = RecordingListener()
    member = await joined(log, backend, listener)
    tail = await log.tail(backend.topic, {0: 0})
    appends = [asyncio.create_task(log.append(backend.topic, records(1, 1))) for _ in range(50)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await log.stop()
        await log.stop()
    assert len(await asyncio.gather(*appends)) == 50
    assert not listener.owned
    calls: list[Awaitable[object]] = [
        log.append(backend.topic, records(0, 1)),
        log.bounds(backend.topic, [0]),
        log.identity(backend.topic),
        tail.read(max_records=1, timeout=1),
    ]
    for call in calls:
        with pytest.raises(LogUnavailable):
            await call
    with pytest.raises(PartitionLost):
        await member.fetch(0, 0, max_records=1, timeout=1)


async def test_a_log_that_was_never_started_appends_nothing(backend: Backend) -> None:
    """Appending before `start` is refused; stopping is harmless."""
    log: Log = KafkaEventLog(kafka_limits("127.0.0.1:9")) if backend.is_kafka else backend.make()
    with pytest.raises(LogUnavailable):
        await log.append(backend.topic, records(0, 1))
    await log.stop()
