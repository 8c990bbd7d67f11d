"""Retention of the embedded log, on real files: bounded, and never at the cost of what is not applied."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from backbone.clocks import Clock
from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.eventlog.embedded_pruning import EmbeddedPruning
from backbone.eventlog.port import Bounds, NewRecord
from backbone.steady_time import CONFIRM_S
from backbone.store.engine import Store
from backbone.store.tables import offsets
from schemas.errors import LogUnavailable
from schemas.topics import DEAD_LETTERS, OUTCOMES, RECEIVED, topic_specs
from tests.support.chains import write_offsets
from tests.support.logs import embedded_log
from tests.support.stores import migrated_sqlite

DAY = 86_400_000
KEEP = 14 * DAY


@dataclass
class Directory:
    """A log and a store in one directory, and a clock."""

    store: Store
    path: Path
    now_ms: int = 1_790_000_000_000
    uptime_s: float = 0.0

    async def open(self) -> EmbeddedEventLog:
        """The log, as a server that starts opens it."""
        self.log = embedded_log(self.path, clock=lambda: self.now_ms)
        await self.log.start()
        await self.log.create_topics(topic_specs(prefix="", partitions=2, replication=1, min_insync=1))
        return self.log

    async def append(self, topic: str, partition: int, count: int) -> None:
        """So many records, a day apart."""
        for _ in range(count):
            await self.log.append(topic, [NewRecord(partition, None, b"x" * 1000)])
            self.now_ms += DAY

    async def applied(self, partition: int, following: int) -> None:
        """The store has applied everything before offset `following`."""
        async with self.store.transaction() as connection:
            await connection.execute(offsets.delete().where(offsets.c.partition == partition))
            await write_offsets(connection, partition, following)

    def pruning(self) -> EmbeddedPruning:
        """That of a server that has just started."""
        topics = (OUTCOMES, DEAD_LETTERS)
        clock = Clock(lambda: self.now_ms, lambda: self.uptime_s)
        return EmbeddedPruning(
            log=self.log, store=self.store, received=RECEIVED, others=topics, keep_ms=KEEP, clock=clock
        )

    async def prune(self) -> int:
        """Two rounds, of which the first only looks at the time."""
        pruning = self.pruning()
        assert await pruning.prune() == 0
        self.uptime_s += CONFIRM_S
        return await pruning.prune()

    async def touch(self) -> None:
        """Two records of now, in a partition of no interest."""
        for _ in range(2):
            await self.log.append(DEAD_LETTERS, [NewRecord(1, None, b"now")])

    async def held(self, topic: str, partition: int = 0) -> Bounds:
        """What the log holds."""
        return (await self.log.bounds(topic, [partition]))[partition]


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[Directory]:
    """An empty directory with a log and a store."""
    made = Directory(await migrated_sqlite(tmp_path), tmp_path)
    await made.open()
    yield made
    await made.log.stop()
    await made.store.close()


async def test_what_is_old_and_applied_goes(directory: Directory) -> None:
    """Of 30 days the last 14 stay, in every topic, also over a restart; offsets and appends go on as before."""
    for topic in (RECEIVED, OUTCOMES, DEAD_LETTERS):
        before = directory.now_ms
        await directory.append(topic, 0, 30)
        directory.now_ms = before
    directory.now_ms += 30 * DAY
    await directory.touch()
    await directory.applied(0, 30)
    assert await directory.prune() == 3 * 16
    for topic in (RECEIVED, OUTCOMES, DEAD_LETTERS):
        assert await directory.held(topic) == Bounds(16, 30)
    assert await directory.prune() == 0
    await directory.log.stop()
    await directory.open()
    assert await directory.held(RECEIVED) == Bounds(16, 30)
    assert (await directory.log.append(RECEIVED, [NewRecord(0, None, b"next")]))[0].offset == 30


async def test_what_is_not_applied_stays_however_old(directory: Directory) -> None:
    """Nor the record before it, by which the store knows its log; nor anything of a partition that nobody owned."""
    await directory.append(RECEIVED, 0, 20)
    await directory.append(RECEIVED, 1, 20)
    await directory.applied(0, 7)
    directory.now_ms += 1000 * DAY
    await directory.touch()
    assert await directory.prune() == 6
    assert await directory.held(RECEIVED, 0) == Bounds(6, 20)
    assert await directory.held(RECEIVED, 1) == Bounds(0, 20)
    await directory.applied(0, 0)
    assert await directory.prune() == 0


async def test_the_newest_outcome_stays_however_old(directory: Directory) -> None:
    """So that an idle log still shows how far it was published."""
    await directory.append(OUTCOMES, 0, 3)
    await directory.applied(0, 5)
    directory.now_ms += 1000 * DAY
    await directory.touch()
    assert await directory.prune() == 2
    assert await directory.held(OUTCOMES) == Bounds(2, 3)


async def test_a_log_ahead_of_the_clock_is_left_alone(directory: Directory) -> None:
    """One of both is wrong. Told once; when the clock has caught up, what is old goes."""
    await directory.append(RECEIVED, 0, 30)
    await directory.applied(0, 30)
    directory.now_ms -= 300 * DAY
    pruning = directory.pruning()
    with capture_logs() as lines:
        for _ in range(3):
            assert await pruning.prune() == 0
            directory.uptime_s += CONFIRM_S
    assert [line["event"] for line in lines] == ["log_not_pruned"]
    directory.now_ms += 300 * DAY
    assert await pruning.prune() == 0
    directory.uptime_s += CONFIRM_S
    assert await pruning.prune() == 14


@pytest.mark.parametrize("records", [0, 1])
async def test_a_wrong_clock_and_one_record_prune_nothing(directory: Directory, records: int) -> None:
    """A start under a clock that is 400 days ahead, however long it stays so."""
    await directory.append(RECEIVED, 0, 13)
    await directory.applied(0, 13)
    directory.now_ms += 400 * DAY
    await directory.append(RECEIVED, 1, records)
    assert await directory.prune() == 0
    assert await directory.held(RECEIVED) == Bounds(0, 13)


async def test_the_file_stays_bounded(directory: Directory) -> None:
    """Years of records in a window of two weeks: the file takes up the pages that pruning freed."""
    sizes = []
    for days in range(50, 401, 50):
        await directory.append(RECEIVED, 0, 50)
        await directory.applied(0, days)
        await directory.prune()
        pages = await directory.log._writer.change(lambda log: log.execute("PRAGMA page_count").fetchone()[0])
        sizes.append(pages)
    assert sizes[-1] <= sizes[1]


async def test_pruned_bytes_are_gone_from_the_disk(directory: Directory) -> None:
    """Not only from the tables: no file holds them once the server has stopped."""
    await directory.log.append(RECEIVED, [NewRecord(0, None, b"Ana Lovelace" * 1000)])
    await directory.append(RECEIVED, 0, 40)
    await directory.applied(0, 41)
    assert await directory.prune() > 20
    await directory.log.stop()
    files = list(directory.path.glob("log.db*"))
    assert files
    assert not [path for path in files if b"Ana Lovelace" in path.read_bytes()]


async def test_a_stopped_log_is_an_outage(directory: Directory) -> None:
    """Nothing is decided from what could not be read."""
    await directory.log.stop()
    with pytest.raises(LogUnavailable):
        await directory.prune()
