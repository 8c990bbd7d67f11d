"""The embedded log against kill -9, other processes, a locked file, a full disk and a clock that goes back."""

import asyncio
import itertools
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.eventlog.embedded_file import FILE_NAME
from backbone.eventlog.embedded_reader import EmbeddedReader
from backbone.eventlog.port import Bounds, LogRecord, NewRecord
from schemas.errors import LogGap, LogUnavailable
from schemas.topics import RECEIVED, topic_specs
from tests.support.listening import RecordingListener
from tests.support.logs import embedded_log
from tests.support.waiting import wait_until

PARTITIONS = 3
ROOT = Path(__file__).parents[2]

# Appends for ever from 8 tasks and prints "partition offset value" of whatever was acknowledged.
APPENDER = """
import asyncio, os, sys
from pathlib import Path
from backbone.eventlog.opening import open_event_log
from backbone.eventlog.port import NewRecord
from backbone.settings import Settings
from schemas.topics import RECEIVED

async def appender(log, name, count):
    for number in range(count):
        value = f"{name}-{number}"
        records = [NewRecord((number + step) % 3, b"k", value.encode()) for step in range(3)]
        for position in await log.append(RECEIVED, records):
            os.write(1, f"{position.partition} {position.offset} {value}\\n".encode())

async def main(directory, count):
    log = open_event_log(Settings(data_dir=Path(directory)))
    await log.start()
    await asyncio.gather(*(appender(log, name, count) for name in range(8)))
    await log.stop()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EmbeddedEventLog]:
    """A started log with topics."""
    log = embedded_log(tmp_path, publish_timeout_ms=500)
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=PARTITIONS, replication=1, min_insync=1))
    yield log
    await log.stop()


async def start_appender(directory: Path, count: int) -> asyncio.subprocess.Process:
    """Another process that appends."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", APPENDER, str(directory), str(count), stdout=asyncio.subprocess.PIPE, env=environment
    )


async def everything(log: EmbeddedEventLog) -> list[LogRecord]:
    """All records there are now."""
    tail = await log.tail(RECEIVED, dict.fromkeys(range(PARTITIONS), 0))
    found: list[LogRecord] = []
    while some := await tail.read(max_records=1000, timeout=0):
        found += some
    await tail.stop()
    return found


async def test_what_was_acknowledged_survives_kill_9(log: EmbeddedEventLog, tmp_path: Path) -> None:
    """A process is killed amid appending, three times; every position it printed holds what it said."""
    acknowledged: dict[tuple[int, int], str] = {}
    for _ in range(3):
        process = await start_appender(tmp_path, 1_000_000)
        assert process.stdout is not None
        async with asyncio.timeout(30):
            for _line in range(300):
                partition, offset, value = (await process.stdout.readline()).decode().split()
                acknowledged[int(partition), int(offset)] = value
        process.send_signal(signal.SIGKILL)
        rest = (await process.stdout.read()).decode()
        await process.wait()
        for line in rest.splitlines(keepends=True):
            if line.endswith("\n"):
                partition, offset, value = line.split()
                acknowledged[int(partition), int(offset)] = value
    there = {(record.partition, record.offset): record.value.decode() for record in await everything(log)}
    assert len(acknowledged) >= 900
    assert acknowledged.items() <= there.items()
    for number in range(PARTITIONS):
        offsets = sorted(offset for part, offset in there if part == number)
        assert offsets == list(range(len(offsets)))
        position = (await log.append(RECEIVED, [NewRecord(number, None, b"next")]))[0]
        assert position.offset == len(offsets)


async def test_appends_of_another_process_are_seen_while_waiting(log: EmbeddedEventLog, tmp_path: Path) -> None:
    """A fetch and a tail read that wait wake up for another process; both processes append without a gap."""
    listener = RecordingListener()
    member = await log.join(RECEIVED, "group", listener)
    tail = await log.tail(RECEIVED, dict.fromkeys(range(PARTITIONS), 0))
    fetching = asyncio.create_task(member.fetch(0, 0, max_records=10, timeout=20))
    reading = asyncio.create_task(tail.read(max_records=10, timeout=20))
    process = await start_appender(tmp_path, 20)
    async with asyncio.timeout(20):
        assert (await fetching)[0].offset == 0
        assert await reading
        for _ in range(50):
            await log.append(RECEIVED, [NewRecord(0, None, b"ours")])
        assert process.stdout is not None
        printed = await process.stdout.read()
        await process.wait()
    assert printed.count(b"\n") == 8 * 20 * 3
    there = await everything(log)
    assert len(there) == 8 * 20 * 3 + 50
    assert [record.offset for record in there if record.partition == 0] == list(range(8 * 20 + 50))


async def test_appends_of_another_process_are_seen_where_the_end_was_known(
    log: EmbeddedEventLog, tmp_path: Path
) -> None:
    """Who waits at the end that our own append told of learns of another's append long before its time is over."""
    member = await log.join(RECEIVED, "group", RecordingListener())
    await log.append(RECEIVED, [NewRecord(0, b"k", b"ours")])
    waiting = asyncio.create_task(member.fetch(0, 1, max_records=10, timeout=30))
    other = embedded_log(tmp_path)
    await other.start()
    try:
        await other.append(RECEIVED, [NewRecord(0, b"k", b"theirs")])
        async with asyncio.timeout(10):
            assert [record.value for record in await waiting] == [b"theirs"]
        (position,) = await log.append(RECEIVED, [NewRecord(0, b"k", b"ours again")])
        assert position.offset == 2
        read = await member.fetch(0, 1, max_records=10, timeout=0)
        assert [record.value for record in read] == [b"theirs", b"ours again"]
    finally:
        waiting.cancel()
        await other.stop()


async def test_our_own_appends_make_nobody_else_look(log: EmbeddedEventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record in one partition is read once, by whoever waits for it; those who wait at the other partitions' ends
    go on waiting.
    """
    looks: list[tuple[str, int]] = []
    polls = 0
    look, count = EmbeddedReader.records, log._writer.others_changes

    async def note(
        self: EmbeddedReader, wanted: Sequence[tuple[tuple[str, int], int]], max_records: int
    ) -> list[LogRecord]:
        looks.extend(key for key, _ in wanted)
        return await look(self, wanted, max_records)

    async def poll() -> object:
        nonlocal polls
        polls += 1
        return await count()

    log._reader.poll(poll)
    member = await log.join(RECEIVED, "group", RecordingListener())
    early = asyncio.create_task(member.fetch(0, 0, max_records=10, timeout=30))
    await wait_until(lambda: polls > 1)  # the first one does not know what was before it
    await log.append(RECEIVED, [NewRecord(number, b"k", b"first") for number in range(PARTITIONS)])
    await early
    monkeypatch.setattr(EmbeddedReader, "records", note)
    waiting = [asyncio.create_task(member.fetch(n, 1, max_records=10, timeout=30)) for n in range(PARTITIONS)]
    tail = await log.tail(RECEIVED, dict.fromkeys(range(PARTITIONS), 1))
    following = asyncio.create_task(tail.read(max_records=10, timeout=30))
    await asyncio.sleep(0)
    await log.append(RECEIVED, [NewRecord(1, b"k", b"second")])
    async with asyncio.timeout(10):
        assert [record.value for record in await waiting[1]] == [b"second"]
        assert [record.value for record in await following] == [b"second"]
    before = polls
    await wait_until(lambda: polls > before + 1)
    assert looks == [(RECEIVED, 1), (RECEIVED, 1)]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_log_time_does_not_go_back(tmp_path: Path) -> None:
    """A clock that steps back: the last time of the partition is kept, also over a restart."""
    clock = iter([5000, 3000, 7000])
    log = embedded_log(tmp_path, clock=lambda: next(clock))
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=PARTITIONS, replication=1, min_insync=1))
    times = [(await log.append(RECEIVED, [NewRecord(0, None, b"v")]))[0].log_ms for _ in range(3)]
    await log.stop()
    assert times == [5000, 5000, 7000]
    again = embedded_log(tmp_path, clock=lambda: 1)
    await again.start()
    assert (await again.append(RECEIVED, [NewRecord(0, None, b"v")]))[0].log_ms == 7000
    assert (await again.append(RECEIVED, [NewRecord(1, None, b"v")]))[0].log_ms == 1
    await again.stop()


async def test_a_file_that_another_process_holds_is_an_outage_that_ends(log: EmbeddedEventLog, tmp_path: Path) -> None:
    """Appending fails within the publish limit, the window stays bounded, and it goes on when the file is free."""
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        async with asyncio.timeout(5):
            with pytest.raises(LogUnavailable):
                await log.append(RECEIVED, [NewRecord(0, None, b"waits")])
        other.execute("ROLLBACK")
    finally:
        other.close()
    await wait_until(lambda: log.unresolved == 0, 5, "an empty window")
    stored = await log.append(RECEIVED, [NewRecord(0, None, b"goes on")])
    assert (await everything(log))[-1].offset == stored[0].offset


async def test_a_full_disk_loses_nothing_that_was_acknowledged(log: EmbeddedEventLog, tmp_path: Path) -> None:
    """SQLite reports the file as full: the appends of that commit fail with a clear message, the others stay."""
    await log.append(RECEIVED, [NewRecord(0, None, b"kept")])
    pages = await log._writer.change(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    connection = log._writer._connection
    assert connection is not None
    await asyncio.to_thread(connection.execute, f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(LogUnavailable, match="full"):
        await log.append(RECEIVED, [NewRecord(0, None, b"x" * 500_000)])
    assert [record.value for record in await everything(log)] == [b"kept"]
    # The writer took a fresh connection, which has no limit.
    assert (await log.append(RECEIVED, [NewRecord(0, None, b"room again")]))[0].offset == 1


async def test_a_directory_that_cannot_be_used_is_said_clearly(tmp_path: Path) -> None:
    """The data directory is a file: `start` raises, names the path, and leaves nothing running."""
    occupied = tmp_path / "occupied"
    occupied.write_text("not a directory")
    log = embedded_log(occupied)
    with pytest.raises(LogUnavailable, match="occupied"):
        await log.start()
    await log.stop()


async def test_pruning_removes_the_oldest_and_moves_the_start(tmp_path: Path) -> None:
    """Only records that are both old and below `keep_from` go; a fetch before the start is a gap with the bounds."""
    clock = itertools.count(1000, 10)
    log = embedded_log(tmp_path, clock=lambda: next(clock))
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=PARTITIONS, replication=1, min_insync=1))
    for _ in range(10):
        await log.append(RECEIVED, [NewRecord(0, None, b"v")])
    assert await log.prune(RECEIVED, 0, before_ms=1050, keep_from=3) == 3
    assert await log.prune(RECEIVED, 0, before_ms=1050, keep_from=100) == 2
    assert await log.prune(RECEIVED, 0, before_ms=1050, keep_from=100) == 0
    assert (await log.bounds(RECEIVED, [0]))[0] == Bounds(5, 10)
    member = await log.join(RECEIVED, "group", RecordingListener())
    with pytest.raises(LogGap, match="offset 4 is outside the log, which holds 5 to 10"):
        await member.fetch(0, 4, max_records=1, timeout=1)
    assert [record.offset for record in await member.fetch(0, 5, max_records=100, timeout=1)] == [5, 6, 7, 8, 9]
    assert await log.prune(RECEIVED, 0, before_ms=10_000, keep_from=100) == 5
    assert (await log.append(RECEIVED, [NewRecord(0, None, b"v")]))[0].offset == 10
    await log.stop()
