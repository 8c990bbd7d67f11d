"""What the fake log does beyond the port; that it keeps the port's promises is the contract suite's matter."""

from __future__ import annotations

import pytest

from backbone.eventlog.port import NewRecord
from schemas.errors import LogUnavailable, PartitionLost
from schemas.topics import RECEIVED, topic_specs
from tests.support.fake_log import FakeLog
from tests.support.listening import RecordingListener

SPECS = topic_specs(prefix="", partitions=2, replication=1, min_insync=1)


@pytest.fixture
async def log() -> FakeLog:
    """A fake log with its topics."""
    made = FakeLog(now_ms=lambda: 5, publish_limit_s=0.01)
    await made.start()
    await made.create_topics(SPECS)
    return made


async def test_fake_log_shares_partitions_among_members(log: FakeLog) -> None:
    """Members own disjoint shares; what a member does not own it cannot fetch; stopping gives it back."""
    first, second = RecordingListener(), RecordingListener()
    one = await log.join(RECEIVED, "g", first)
    assert first.owned == {0, 1}
    two = await log.join(RECEIVED, "g", second)
    assert sorted(first.owned | second.owned) == [0, 1]
    assert not first.owned & second.owned
    (lost,) = second.owned
    with pytest.raises(PartitionLost):
        await one.fetch(lost, 0, max_records=1, timeout=0.01)
    await two.stop()
    assert first.owned == {0, 1}
    assert second.owned == set()


async def test_fake_log_can_be_down(log: FakeLog) -> None:
    """While it is down nothing is stored and everything says so; then it goes on."""
    tail = await log.tail(RECEIVED, {0: 0})
    log.down = True
    with pytest.raises(LogUnavailable):
        await log.append(RECEIVED, [NewRecord(0, None, b"v")])
    with pytest.raises(LogUnavailable):
        await tail.read(max_records=1, timeout=0)
    log.down = False
    assert log.records(RECEIVED) == []
    assert (await log.append(RECEIVED, [NewRecord(0, None, b"v")]))[0].log_ms == 5
    assert [record.value for record in log.records(RECEIVED)] == [b"v"]


async def test_fake_log_can_stall(log: FakeLog) -> None:
    """An append waits for the publish limit and is unknown then; nothing stays unresolved."""
    log.stalled = True
    with pytest.raises(LogUnavailable, match="in time"):
        await log.append(RECEIVED, [NewRecord(0, None, b"v")])
    assert log.unresolved == 0
