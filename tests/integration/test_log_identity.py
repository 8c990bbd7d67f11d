"""Is the log the one that the store was filled from? Every way in which it may not be, on the log in memory."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from backbone.eventlog.port import GroupMember, NewRecord
from backbone.metrics import Metrics
from backbone.store.engine import Store
from backbone.store.kept_settings import PARTITIONS, REBUILD, RECEIVED_TOPIC_ID, keep_setting, kept_setting
from consumers.applier import Applier
from consumers.composition import consumers_check, running
from consumers.log_identity import LogIdentity
from consumers.offset_rows import Cursor
from consumers.runner import Runner, RunnerConfig
from schemas.errors import (
    HistoryLost,
    LogGap,
    LogMismatch,
    LogReplaced,
    LogUnavailable,
    NotReady,
    PartitionSetInvalid,
    StoreRebuilding,
)
from schemas.topics import OUTCOMES, RECEIVED, TopicNames, TopicSpec, topic_specs
from tests.support.fake_log import FakeLog
from tests.support.listening import RecordingListener
from tests.support.logs import embedded_log, started_log
from tests.support.rebuilding import Deployment, fill, made_log
from tests.support.received import START_MS, event_record, logged, placed, source
from tests.support.stores import embedded_settings, store
from tests.support.waiting import wait_until

__all__ = ["store"]

NAMES = TopicNames.with_prefix("")
PLATFORM = source("platform")


class Watched:
    """A partition that applied ten records of a log, and a worker that is about to take it."""

    def __init__(self, log: FakeLog, store: Store, member: GroupMember, cursor: Cursor) -> None:
        self.log = log
        self.store = store
        self.member = member
        self.cursor = cursor
        self.identity = LogIdentity(log, store, NAMES)

    async def check(self, cursor: Cursor | None = None) -> None:
        """What the worker does before its first batch."""
        await self.identity.check_partition(self.member, 0, cursor or self.cursor)

    def make_anew(self, *, records: int, tag: str = "other") -> None:
        """Deletes the received topic and fills a new one of the same name."""
        self.log.topics.delete(RECEIVED)
        self.log.topics.make(received_spec())
        fill(self.log, ten_records(tag)[:records])


def received_spec(partitions: int = 2) -> TopicSpec:
    """The received topic of these tests."""
    return next(
        spec
        for spec in topic_specs(prefix="", partitions=partitions, replication=1, min_insync=1)
        if spec.name == RECEIVED
    )


def ten_records(tag: str) -> list[Any]:
    """Announcements of ten orders."""
    made = [event_record(f"o{n}", placed(restaurant="r1"), PLATFORM, event_id=f"{tag}-{n}") for n in range(10)]
    return logged([(record, n) for n, record in enumerate(made)])


async def watched(store: Store, *, process_seen: bool = True) -> Watched:
    """Ten records applied and published; the process that did it knew its log, unless told otherwise."""
    log = await made_log()
    fill(log, ten_records("own"))
    deployment = Deployment(log, store)
    await deployment.apply()
    await deployment.publish()
    if process_seen:
        await LogIdentity(log, store, NAMES).check_process(2)
    listener = RecordingListener()
    member = await log.join(RECEIVED, "workers", listener)
    return Watched(log, store, member, await Applier(store).cursor(0))


async def test_the_own_log_is_recognised(store: Store) -> None:
    """By process and partition, as often as one likes, also when the last record has expired."""
    there = await watched(store)
    await there.identity.check_process(2)
    await there.check()
    there.log.topics.partition(RECEIVED, 0).trim(10)
    await there.check()
    await there.identity.check_process(2)
    assert await there.identity.is_same_topic()


async def test_a_store_takes_the_first_log_it_sees_for_its_own(store: Store) -> None:
    """That of a release before topics had ids: it goes on, and knows from then on."""
    there = await watched(store, process_seen=False)
    assert await there.identity.is_same_topic()
    await there.check()
    assert await kept_setting(store, RECEIVED_TOPIC_ID) is None
    await there.identity.check_process(2)
    assert await kept_setting(store, RECEIVED_TOPIC_ID) == there.log.topics.ids[RECEIVED]


@pytest.mark.parametrize("records", [0, 5, 10])
async def test_a_topic_made_anew_stops_process_and_partition(store: Store, records: int) -> None:
    """Empty, shorter, refilled exactly up to `next`: the id tells before anything else is looked at."""
    there = await watched(store)
    there.make_anew(records=records)
    with pytest.raises(LogMismatch, match=r"made anew.*runbook\.md"):
        await there.identity.check_process(2)
    with pytest.raises(LogReplaced, match=r"made anew.*runbook\.md"):
        await there.check()
    assert not await there.identity.is_same_topic()


async def test_a_topic_made_anew_with_the_same_records_is_another_one(store: Store) -> None:
    """A copy: the record before `next` looks right, and what comes after it need not."""
    there = await watched(store)
    there.make_anew(records=10, tag="own")
    with pytest.raises(LogReplaced):
        await there.check()


async def test_a_topic_made_anew_whose_beginning_expired_is_found(store: Store) -> None:
    """The record before `next` is gone, so the id alone can tell."""
    there = await watched(store)
    there.make_anew(records=10)
    there.log.topics.partition(RECEIVED, 0).trim(10)
    with pytest.raises(LogReplaced):
        await there.check()


async def test_a_worker_without_partitions_tells_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stops, as it owns nothing; it is not ready, until the topic is the right one again."""
    monkeypatch.setattr("consumers.runner.LAG_EVERY_S", 0.01)
    there = await watched(store)
    others = [await there.log.join(RECEIVED, "group", RecordingListener()) for _ in range(2)]
    config = RunnerConfig(topics=NAMES, group="group")
    runner = Runner(log=there.log, store=store, config=config, metrics=Metrics())
    probe = consumers_check(runner).probe
    with capture_logs() as logs:
        async with running(runner, stop_timeout_s=1.0):
            await wait_until(lambda: runner._member is not None and runner._member.done(), 10, "joining")
            assert await probe() == "waiting: no partition is assigned to this worker"
            own = there.log.topics.ids[RECEIVED]
            there.log.topics.ids[RECEIVED] = "another"
            await wait_until(lambda: runner.status().is_log_replaced, 10, "the worker to notice")
            with pytest.raises(NotReady, match="log_replaced"):
                await probe()
            there.log.topics.ids[RECEIVED] = own
            await wait_until(lambda: not runner.status().is_log_replaced, 10, "the worker to notice that it is back")
    assert len([entry for entry in logs if entry["event"] == "log_replaced"]) == 1
    for member in others:
        await member.stop()


async def test_another_deployments_log_stops_the_process(store: Store) -> None:
    """Settings that name a wrong prefix or cluster: its topic has another id."""
    await watched(store)
    other = await made_log()
    fill(other, ten_records("theirs"))
    with pytest.raises(LogMismatch, match="two deployments"):
        await LogIdentity(other, store, NAMES).check_process(2)


class OldKafka(FakeLog):
    """A log from before topics had ids."""

    async def identity(self, topic: str) -> str | None:  # noqa: ARG002
        """See the port."""
        return None


async def test_without_ids_the_record_before_the_next_one_tells(store: Store) -> None:
    """As far as the log still has it."""
    there = await watched(store, process_seen=False)
    there.make_anew(records=10)
    there.identity = LogIdentity(_without_ids(there.log), store, NAMES)
    await there.identity.check_process(2)
    assert await kept_setting(store, RECEIVED_TOPIC_ID) is None
    with pytest.raises(LogReplaced, match="offset 9 is not the one that was applied"):
        await there.check()


def _without_ids(log: FakeLog) -> FakeLog:
    old = OldKafka(now_ms=lambda: START_MS, topics=log.topics)
    old._running = True
    return old


async def test_a_tail_that_was_lost_and_written_again_is_found(store: Store) -> None:
    """The same topic, with other records at its end: an unclean election, or a restored backup that went on."""
    there = await watched(store)
    records = there.log.topics.partition(RECEIVED, 0).records
    records[8:] = [new._replace(offset=n) for n, new in enumerate(ten_records("other")[8:], 8)]
    with pytest.raises(LogReplaced, match="tail was lost and written again"):
        await there.check()


async def test_a_log_that_lost_its_end_is_a_gap(store: Store) -> None:
    """The same topic, shorter."""
    there = await watched(store)
    del there.log.topics.partition(RECEIVED, 0).records[7:]
    with pytest.raises(LogGap, match="wants offset 10, the log holds 0 to 7: the log is shorter"):
        await there.check()


async def test_records_that_expired_before_they_were_applied_are_a_gap(store: Store) -> None:
    """Retention, or somebody's deletion, went past `next`; the message says how many are gone."""
    there = await watched(store)
    fill(there.log, ten_records("late"))
    there.log.topics.partition(RECEIVED, 0).trim(13)
    with pytest.raises(LogGap, match="log holds 13 to 20: 3 records expired or were deleted"):
        await there.check()


async def test_a_partition_too_many_is_refused(store: Store) -> None:
    """The topic has grown: no order lives there."""
    there = await watched(store)
    await keep_setting(store, PARTITIONS, "1")
    with pytest.raises(PartitionSetInvalid, match="made with 1 partitions"):
        await there.identity.check_partition(there.member, 1, replace(there.cursor, next=0))


async def test_nobody_works_on_a_half_built_store(store: Store) -> None:
    """Neither a process that starts nor one that runs already."""
    there = await watched(store)
    await keep_setting(store, REBUILD, "{}")
    with pytest.raises(StoreRebuilding):
        await there.identity.check_process(2)
    with pytest.raises(StoreRebuilding):
        await there.check()


async def test_an_empty_store_whose_outcomes_were_published_is_a_lost_one(store: Store) -> None:
    """Applying the log again without the dead letters could decide otherwise; the message names the command."""
    log = await made_log()
    fill(log, ten_records("own"))
    await log.append(OUTCOMES, [NewRecord(0, None, b"{}")])
    identity, member = LogIdentity(log, store, NAMES), await log.join(RECEIVED, "workers", RecordingListener())
    with pytest.raises(HistoryLost, match=r"partitions 0, .*mealtrail rebuild"):
        await identity.check_process(2)
    with pytest.raises(HistoryLost):
        await identity.check_partition(member, 0, await Applier(store).claim(0))
    await identity.check_partition(member, 1, await Applier(store).claim(1))


async def test_a_new_deployment_is_no_lost_one(store: Store) -> None:
    """An empty store, records that wait, nothing published."""
    log = await made_log()
    fill(log, ten_records("own"))
    await LogIdentity(log, store, NAMES).check_process(2)


async def test_an_outage_is_no_mismatch(store: Store) -> None:
    """Whoever asks waits it out."""
    there = await watched(store)
    there.log.down = True
    for asking in (there.identity.check_process(2), there.check(), there.identity.is_same_topic()):
        with pytest.raises(LogUnavailable):
            await asking


async def test_an_embedded_log_from_before_topics_had_ids_gets_them(tmp_path: Path) -> None:
    """At its next opening, once and for all."""
    under_test = await started_log(embedded_settings(tmp_path))
    await under_test.log.stop()
    with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as connection:
        connection.execute("DROP TABLE topic_ids")
    seen = []
    for _ in range(2):
        log = embedded_log(tmp_path)
        await log.start()
        seen.append(await log.identity(RECEIVED))
        await log.stop()
    assert seen[0]
    assert seen[0] == seen[1]
