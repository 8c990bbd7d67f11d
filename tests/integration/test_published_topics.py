"""Store and topics come apart, and a worker brings them together: older stores, topics that were cut or made anew."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from backbone.clocks import Clock
from backbone.eventlog.port import LogRecord, NewRecord
from backbone.metrics import Metrics
from backbone.store.engine import Store
from consumers.applier import Applier
from consumers.composition import running
from consumers.dead_letter import Aside
from consumers.listed_applier import ListedApplier
from consumers.published_tails import NEAR_END, highest_number
from consumers.published_topics import PublishedTopics
from consumers.runner import Runner, RunnerConfig
from schemas.errors import HistoryLost, RecordUnappliable
from schemas.topics import DEAD_LETTERS, OUTCOMES, RECEIVED, TopicNames, topic_specs
from tests.support.fake_log import FakeLog
from tests.support.model import FAILURE
from tests.support.rebuilding import PARTITIONS, Deployment, contents, cursors, fill, made_log, reached_by
from tests.support.received import START_MS, Broken, event_record, logged, placed, source, status
from tests.support.stores import migrated_sqlite
from tests.support.troubled_logs import moved_log, troubled_log
from tests.support.waiting import wait_until

NAMES = TopicNames.with_prefix("")
PLATFORM = source("platform")


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    """The store of a deployment, and one for an older copy of it."""
    for name in ("own", "older"):
        (tmp_path / name).mkdir()
    own, older = await migrated_sqlite(tmp_path / "own"), await migrated_sqlite(tmp_path / "older")
    yield own, older
    await own.close()
    await older.close()


def a_runner(log: FakeLog, store: Store) -> Runner:
    """A worker whose clock stands still, so that no hold is due by it."""
    config = RunnerConfig(topics=NAMES, group="workers", idle_s=0.05, batch_size=37)
    clock = Clock(now_ms=lambda: 0, monotonic=time.monotonic)
    return Runner(log=log, store=store, config=config, metrics=Metrics(), clock=clock)


@asynccontextmanager
async def at_work(log: FakeLog, store: Store) -> AsyncIterator[tuple[Runner, list[Any]]]:
    """A worker, and what it logs."""
    runner = a_runner(log, store)
    with capture_logs() as logs:
        async with running(runner, stop_timeout_s=5.0):
            yield runner, logs


async def settled(log: FakeLog, store: Store) -> None:
    """A worker applies and publishes all there is, and ends."""
    async with at_work(log, store) as (runner, _):

        async def is_settled() -> bool:
            assert not runner.status().stopped
            heads = {row[0]: (row[1], row) for row in (await contents(store))["offsets"]}
            ends = {p: log.topics.partition(RECEIVED, p).bounds.end for p in range(PARTITIONS)}
            return {p: heads[p][0] for p in heads} == ends and not await missing(log, store)

        await wait_until(is_settled, 20, "all to be applied and published")


async def missing(log: FakeLog, store: Store) -> set[tuple[int, int]]:
    """Rows of the store that the outcomes topic does not have."""
    rows = {(row[0], row[1]) for row in (await contents(store))["trail"]}
    return rows - {(record.partition, orjson.loads(record.value)["seq"]) for record in outcomes(log)}


def outcomes(log: FakeLog) -> list[LogRecord]:
    """The outcomes topic's records that are rows."""
    return [record for record in log.records(OUTCOMES) if record.value.startswith(b'{"partition"')]


async def lived(store: Store, seed: int = 1) -> tuple[Deployment, Aside]:
    """A deployment that applied and published a log with trouble in one partition."""
    log = await made_log()
    troubled, aside = troubled_log(seed)
    fill(log, troubled)
    fill(log, moved_log(seed + 100, partition=1))
    deployment = Deployment(log, store)
    await deployment.apply(seed=seed, aside={0: aside})
    await deployment.publish()
    return deployment, aside


async def restored(deployment: Deployment, store: Store, aside: Aside, *, at: int) -> None:
    """An older copy of the deployment's store: it had applied so many records of each partition."""
    applier = Applier(store)
    for partition in range(PARTITIONS):
        await applier.claim(partition)
        records = deployment.log.topics.partition(RECEIVED, partition).records[:at]
        if records:
            await applier.apply(partition, records, start=0, published=0, aside=aside if partition == 0 else {})


# --- Dead letters that the store does not know ----------------------------------------------------------


@pytest.mark.parametrize("seed", range(1, 7))
async def test_an_older_store_sets_aside_again_what_was_set_aside(files: tuple[Store, Store], seed: int) -> None:
    """A backup, and a release that fails on nothing: rows, hashes and the list come out as they were published."""
    own, older = files
    deployment, aside = await lived(own, seed)
    length = len(deployment.log.topics.partition(RECEIVED, 0).records)
    await restored(deployment, older, aside, at=length * seed // 8)
    assert len((await contents(older))["dead_letters"]) < len((await contents(own))["dead_letters"])
    await settled(deployment.log, older)
    assert await contents(older) == await contents(own)
    said: dict[tuple[int, int], bytes] = {}
    for record in outcomes(deployment.log):
        document = orjson.loads(record.value)
        assert said.setdefault((record.partition, document["seq"]), record.value) == record.value


async def test_a_store_put_back_under_a_running_worker_follows_the_list_too(
    files: tuple[Store, Store], tmp_path: Path
) -> None:
    """The fence tells that the offset went back; the list is looked at again before anything is applied."""
    own, older = files
    deployment, aside = await lived(own)
    await restored(deployment, older, aside, at=10)
    async with at_work(deployment.log, own) as (runner, logs):
        await wait_until(lambda: len(runner.status().owned) == PARTITIONS, 20, "owning the partitions")
        await wait_until(lambda: len(runner._workers()) == PARTITIONS, 20, "the workers")
        for worker in runner._workers().values():
            worker._applier.store = older
            worker._parts.published._store = older
        late = event_record("late", placed(restaurant="r1"), PLATFORM)
        fill(deployment.log, [logged([(late, 1)])[0]._replace(partition=0, log_ms=START_MS + 10**9)])
        end = deployment.log.topics.partition(RECEIVED, 0).bounds.end

        async def is_applied() -> bool:
            return (await Applier(older).cursor(0)).next == end

        await wait_until(is_applied, 20, "the older store to be brought up to the log")
        assert not runner.status().stopped
        assert "dead_letters_followed" in {entry["event"] for entry in logs}
    assert (await contents(older))["dead_letters"] == (await contents(own))["dead_letters"]


async def stopped(log: FakeLog, store: Store) -> str:
    """Why a worker stops partition 0."""
    async with at_work(log, store) as (runner, logs):
        await wait_until(lambda: 0 in runner.status().stopped, 20, "the partition to stop")
        assert runner.status().stopped[0] == "configuration_error"
    return next(
        str(entry["exc_info"]) for entry in logs if entry["event"] == "partition_stopped" and entry["partition"] == 0
    )


async def test_an_older_store_whose_list_expired_is_stopped(files: tuple[Store, Store]) -> None:
    """Nobody knows what was set aside: nothing is applied, and the page says what to do."""
    own, older = files
    deployment, aside = await lived(own)
    await restored(deployment, older, aside, at=10)
    known = len((await contents(older))["dead_letters"])
    deployment.log.topics.partition(DEAD_LETTERS, 0).trim(known + 1)
    before = await Applier(older).cursor(0)
    words = await stopped(deployment.log, older)
    assert f"after number {known} comes {known + 2}" in words
    assert "docs/runbook.md, history_lost" in words
    assert (await Applier(older).cursor(0)).next == before.next


async def test_a_store_that_went_another_way_is_stopped(files: tuple[Store, Store]) -> None:
    """It has applied a record without setting aside what the list has there: what it has since is a fork."""
    own, older = files
    deployment, applier = await steps(own)
    records = deployment.log.topics.partition(RECEIVED, 0).records
    await applier.apply(0, records[1:], start=1, published=0, aside={(2, 2): FAILURE})
    await deployment.publish()
    await restored(deployment, older, {}, at=len(records))
    assert "without setting it aside" in await stopped(deployment.log, older)


async def steps(store: Store) -> tuple[Deployment, ListedApplier]:
    """Four records of one order, and an applier that applied the first."""
    log = await made_log()
    told = [event_record("o1", placed(restaurant="r1"), PLATFORM)]
    told += [event_record("o1", status(value), PLATFORM) for value in ("COOKING", "READY", "TAKEN_BY_COURIER")]
    fill(log, logged([(record, n) for n, record in enumerate(told)]))
    applier = ListedApplier(store)
    await applier.claim(0)
    await applier.apply(0, log.topics.partition(RECEIVED, 0).records[:1], start=0, published=0)
    return Deployment(log, store), applier


async def test_another_failure_before_the_listed_ones_is_no_dead_letter(files: tuple[Store, Store]) -> None:
    """It would take a number that is published for another event; nothing is applied then."""
    deployment, applier = await steps(files[0])
    applier.follow({(2, 2): FAILURE}, after=0)
    records = deployment.log.topics.partition(RECEIVED, 0).records
    with pytest.raises(HistoryLost, match="offset 1 fails now"):
        await applier.apply(0, records[1:2], start=1, published=0, aside={(1, 1): FAILURE})
    assert (await applier.cursor(0)).next == 1
    applied = await applier.apply(0, records[1:3], start=1, published=0)
    assert (applied.dead_seq, applied.set_aside) == (1, 1)
    again = await applier.apply(0, records[3:], start=3, published=0, aside={(3, 3): FAILURE})
    assert again.dead_seq == 2, "past the list the applier is an ordinary one"


async def test_a_listed_pair_that_is_not_met_stops_the_partition(files: tuple[Store, Store]) -> None:
    """Under this release the event is not decided there."""
    deployment, applier = await steps(files[0])
    applier.follow({(1, 0): FAILURE}, after=0)
    with pytest.raises(HistoryLost, match="1 events are listed as set aside, now it is 0"):
        await applier.apply(0, deployment.log.topics.partition(RECEIVED, 0).records[1:], start=1, published=0)


async def test_trials_follow_the_list_too(files: tuple[Store, Store]) -> None:
    """What fails, and is listed, is rehearsed as set aside."""
    deployment, applier = await steps(files[0])
    fill(deployment.log, logged([(Broken("o1", b"{"), 4)]))
    records = deployment.log.topics.partition(RECEIVED, 0).records
    await applier.apply(0, records[1:4], start=1, published=0)
    entry = applier.understand(0, records[4], {})
    rehearsal = await applier.rehearse(0, entry, {})
    with pytest.raises(RecordUnappliable):
        list(iter(rehearsal.step, None))
    applier.follow({(4, 4): FAILURE}, after=0)
    rehearsal = await applier.rehearse(0, entry, {})
    assert list(iter(rehearsal.step, None)) == [4]


async def test_what_another_owner_published_meanwhile_is_no_older_store(files: tuple[Store, Store]) -> None:
    """The cursor in hand may be older than the topic; the store is asked after it."""
    own, older = files
    deployment, aside = await lived(own)
    await restored(deployment, older, aside, at=10)
    stale = await Applier(older).cursor(0)
    standing = await PublishedTopics(deployment.log, own, NAMES).look(0, stale)
    assert standing.cursor == await Applier(own).cursor(0)
    assert not standing.listed


# --- Outcomes that the topic does not have --------------------------------------------------------------


async def marked_published(deployment: Deployment) -> None:
    """The store knows how far its rows are published, and the worker that did it was orderly.

    What a relay had acknowledged is kept with the next batch: one that comes before the relay's turn keeps nothing.
    """
    log, store = deployment.log, deployment.store
    await settled(log, store)
    heads = {p: reached.seq for p, reached in (await reached_by(store)).items()}
    async with at_work(log, store):

        async def is_kept() -> bool:
            _place_more(log)
            kept = await cursors(store)
            return all(kept[p][0] >= seq for p, seq in heads.items())

        await wait_until(is_kept, 20, "the store to know what is published")
    await settled(log, store)


def _place_more(log: FakeLog) -> None:
    number = log.topics.partition(RECEIVED, 0).bounds.end
    more = [
        NewRecord(p, r.key, r.value, r.headers)
        for p in range(PARTITIONS)
        for r in logged([(event_record(f"more-{p}-{number}", placed(restaurant="r1"), PLATFORM), 0)])
    ]
    log.topics.append(RECEIVED, more, START_MS + 10**9)


@pytest.mark.parametrize("left", [0, 1, 40])
async def test_an_outcomes_topic_that_lost_its_end_is_filled_again(files: tuple[Store, Store], left: int) -> None:
    """Cut, or empty: the rows are in the store and are published again from where the topic ends."""
    deployment, _ = await lived(files[0])
    await marked_published(deployment)
    assert min(published for published, _ in (await cursors(files[0])).values()) > 40
    del deployment.log.topics.partition(OUTCOMES, 1).records[left:]
    async with at_work(deployment.log, files[0]) as (_, logs):

        async def is_whole() -> bool:
            return not await missing(deployment.log, files[0])

        await wait_until(is_whole, 20, "the topic to be whole")
    [warning] = [entry for entry in logs if entry["event"] == "outcomes_topic_behind"]
    assert (warning["partition"], warning["published_again_after"]) == (1, left)
    seqs = [orjson.loads(r.value)["seq"] for r in outcomes(deployment.log) if r.partition == 1]
    assert seqs == list(range(1, len(seqs) + 1)), "no row twice, none left out"


async def test_an_outcomes_topic_made_anew_is_published_from_the_start(files: tuple[Store, Store]) -> None:
    """Also where a worker that noticed nothing has put its next rows there: its end looks right, its id does not."""
    deployment, _ = await lived(files[0])
    await marked_published(deployment)
    log = deployment.log
    kept = {p: log.topics.partition(OUTCOMES, p).records[-3:] for p in range(PARTITIONS)}
    log.topics.delete(OUTCOMES)
    specs = topic_specs(prefix="", partitions=PARTITIONS, replication=1, min_insync=1)
    log.topics.make(next(spec for spec in specs if spec.name == OUTCOMES))
    for records in kept.values():
        log.topics.append(OUTCOMES, [NewRecord(r.partition, r.key, r.value, r.headers) for r in records], START_MS)
    for expected in (PARTITIONS, 0):
        async with at_work(log, files[0]) as (runner, logs):
            await wait_until(lambda runner=runner: len(runner._workers()) == PARTITIONS, 20, "the workers")

            async def is_whole() -> bool:
                return not await missing(log, files[0])

            await wait_until(is_whole, 20, "the topic to be whole")
        warnings = [entry for entry in logs if entry["event"] == "outcomes_topic_replaced"]
        assert len(warnings) == expected, "the new topic is known from then on"


async def test_a_topic_that_is_as_it_should_be_is_left_alone(files: tuple[Store, Store]) -> None:
    """Its beginning expired, its last records are repeats and a stranger's: nothing is published, nothing warned."""
    deployment, _ = await lived(files[0])
    await marked_published(deployment)
    partition = deployment.log.topics.partition(OUTCOMES, 0)
    again = [NewRecord(0, r.key, r.value, r.headers) for r in partition.records[-5:-2]]
    strangers = [NewRecord(0, None, value) for value in (b"{", b"[]", b"{}", b'{"partition":1,"seq":7}', b"\xff")]
    partition.trim(30)
    await deployment.log.append(OUTCOMES, [*again, *strangers])
    acknowledged = (await cursors(files[0]))[0][0]
    end = partition.bounds.end
    async with at_work(deployment.log, files[0]) as (runner, logs):
        await wait_until(lambda: len(runner._workers()) == PARTITIONS, 20, "the workers")
        late = event_record("late", placed(restaurant="r1"), PLATFORM)
        fill(deployment.log, logged([(late, 1)]))
        await wait_until(lambda: b'"late"' in partition.records[-1].value, 20, "the row")
    assert all(orjson.loads(record.value)["seq"] > acknowledged for record in partition.records[end - 30 :])
    assert not [entry for entry in logs if entry["event"].endswith(("_behind", "_replaced"))]


async def test_a_topic_that_expired_as_a_whole_tells_nothing(files: tuple[Store, Store]) -> None:
    """Retention took all of it; what was acknowledged once counts as published."""
    deployment, _ = await lived(files[0])
    await marked_published(deployment)
    partition = deployment.log.topics.partition(OUTCOMES, 0)
    partition.trim(partition.bounds.end)
    cursor = await Applier(files[0]).cursor(0)
    standing = await PublishedTopics(deployment.log, files[0], NAMES).look(0, cursor)
    assert standing.outcomes == cursor.published


async def test_the_end_of_a_topic_is_found_behind_any_number_of_strangers() -> None:
    """They may have written more than a relay ever repeats."""
    log = await made_log()
    assert await highest_number(log, OUTCOMES, 0) == 0
    log.topics.append(OUTCOMES, [NewRecord(0, None, b'{"partition":0,"seq":4}')], START_MS)
    log.topics.append(OUTCOMES, [NewRecord(0, None, b"x")] * (NEAR_END + 1), START_MS)
    for enough in (None, 4, 5):
        assert await highest_number(log, OUTCOMES, 0, enough=enough) == 4
    log.topics.partition(OUTCOMES, 0).trim(1)
    assert await highest_number(log, OUTCOMES, 0) is None
