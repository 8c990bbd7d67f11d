from __future__ import annotations

from collections.abc import Collection

import pytest

from backbone.eventlog.port import Bounds, EventLog, NewRecord
from schemas.errors import LogGap, LogUnavailable, PartitionLost, TopicMisconfigured
from schemas.topics import RECEIVED, topic_specs
from tests.support.fake_log import FakeLog

SPECS = topic_specs(prefix="", partitions=2, replication=1, min_insync=1)


class Listener:
    """Remembers what it owns."""

    def __init__(self) -> None:
        self.owned: set[int] = set()

    def gained(self, partitions: Collection[int]) -> None:
        """More."""
        self.owned |= set(partitions)

    async def lost(self, partitions: Collection[int]) -> None:
        """Less."""
        self.owned -= set(partitions)


@pytest.fixture
async def log() -> EventLog:
    """A fake log with its topics."""
    made: EventLog = FakeLog(now_ms=lambda: 5)
    await made.create_topics(SPECS)
    return made


async def test_fake_log_keeps_records_in_order(log: EventLog) -> None:
    """Offsets count per partition, bounds and a tail reader agree, and topics are checked as the real ones are."""
    positions = await log.append(RECEIVED, [NewRecord(p, b"k", b"v%d" % n) for n, p in enumerate((0, 1, 0))])
    assert [(at.partition, at.offset, at.log_ms) for at in positions] == [(0, 0, 5), (1, 0, 5), (0, 1, 5)]
    assert await log.bounds(RECEIVED, [0, 1]) == {0: Bounds(0, 2), 1: Bounds(0, 1)}
    tail = await log.tail(RECEIVED, {0: 1, 1: 0})
    assert [record.value for record in await tail.read(max_records=9, timeout=1)] == [b"v2", b"v1"]
    assert await tail.read(max_records=9, timeout=0.01) == []
    await log.check_topics(SPECS)
    with pytest.raises(TopicMisconfigured):
        await log.check_topics(topic_specs(prefix="", partitions=3, replication=1, min_insync=1))


async def test_fake_log_shares_partitions_among_members(log: EventLog) -> None:
    """Members own disjoint shares; what a member does not own it cannot fetch; outside the log there is a gap."""
    first, second = Listener(), Listener()
    one = await log.join(RECEIVED, "g", first)
    assert first.owned == {0, 1}
    two = await log.join(RECEIVED, "g", second)
    assert sorted(first.owned | second.owned) == [0, 1]
    assert not first.owned & second.owned
    (lost,) = second.owned
    with pytest.raises(PartitionLost):
        await one.fetch(lost, 0, max_records=1, timeout=0.01)
    with pytest.raises(LogGap):
        await two.fetch(lost, 1, max_records=1, timeout=0.01)
    await two.stop()
    assert first.owned == {0, 1}
    assert second.owned == set()


async def test_fake_log_can_be_down(log: EventLog) -> None:
    """While it is down nothing is stored and everything says so."""
    assert isinstance(log, FakeLog)
    log.down = True
    with pytest.raises(LogUnavailable):
        await log.append(RECEIVED, [NewRecord(0, None, b"v")])
    log.down = False
    assert log.records(RECEIVED) == []
