"""A store made again from the log is the store that was lost, or says where it is not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import select

from backbone.eventlog.port import NewRecord
from backbone.store.engine import Store
from backbone.store.kept_settings import RECEIVED_TOPIC_ID, all_kept_within
from backbone.store.tables import attempts, kept_settings
from consumers.applier import Applied, Applier
from consumers.log_identity import LogIdentity
from consumers.logged_event import LoggedControl
from consumers.rebuild_list import read_list
from consumers.rebuilt import Rebuilt
from schemas.errors import (
    RebuildRefused,
    RecordUnappliable,
    RecordUnknown,
    StoreRebuilding,
    StoreUnavailable,
)
from schemas.records import ReplayRecord, dump_record
from schemas.topics import DEAD_LETTERS, OUTCOMES, RECEIVED
from tests.support.model import FAILURE, apply_all, understood
from tests.support.postgres_databases import DatabaseUrls
from tests.support.rebuilding import PARTITIONS, TOPICS, Deployment, contents, cursors, fill, made_log, reached_by
from tests.support.received import (
    START_MS,
    erased,
    event_record,
    logged,
    new_record,
    placed,
    replayed,
    source,
    status,
)
from tests.support.stores import migrated_postgres, migrated_sqlite
from tests.support.troubled_logs import moved_log, troubled_log


@dataclass(frozen=True, slots=True)
class Stores:
    """Two stores on one kind of database, both empty."""

    lost: Store
    new: Store


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    """Both databases in turn."""
    if request.param == "sqlite":
        (tmp_path / "lost").mkdir()
        (tmp_path / "new").mkdir()
        made = Stores(await migrated_sqlite(tmp_path / "lost"), await migrated_sqlite(tmp_path / "new"))
    else:
        create = cast("Callable[[], DatabaseUrls]", request.getfixturevalue("create_database"))
        made = Stores(await migrated_postgres(create()), await migrated_postgres(create()))
    yield made
    await made.lost.close()
    await made.new.close()


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[Stores]:
    """Two stores in files, for what does not differ between the databases."""
    (tmp_path / "lost").mkdir()
    (tmp_path / "new").mkdir()
    made = Stores(await migrated_sqlite(tmp_path / "lost"), await migrated_sqlite(tmp_path / "new"))
    yield made
    await made.lost.close()
    await made.new.close()


async def lived(store: Store, *, seed: int = 1) -> Deployment:
    """A deployment that applied and published a random log, with trouble in one of its two partitions."""
    log = await made_log()
    troubled, aside = troubled_log(seed)
    fill(log, troubled)
    fill(log, moved_log(seed + 100, partition=1))
    deployment = Deployment(log, store)
    await deployment.apply(seed=seed, aside={0: aside})
    await deployment.publish()
    return deployment


async def test_the_rebuilt_store_is_the_lost_one(stores: Stores) -> None:
    """Every table but the administration's: trail and hashes, orders, receipts, holds, payloads, dead letters."""
    deployment = await lived(stores.lost)
    before = deployment.log.records(RECEIVED), deployment.log.records(OUTCOMES), deployment.log.records(DEAD_LETTERS)
    done = await deployment.rebuild_into(stores.new).run()
    expected = await contents(stores.lost)
    assert await contents(stores.new) == expected
    assert len(expected["dead_letters"]) >= 6
    assert {row[-1] for row in expected["offsets"]}  # there is something to compare
    assert (done.same, done.let_go, done.resumed) == (True, True, False)
    assert sum(partition.comparison.compared for partition in done.partitions) == len(expected["trail"])
    after = deployment.log.records(RECEIVED), deployment.log.records(OUTCOMES), deployment.log.records(DEAD_LETTERS)
    assert after == before, "a rebuild appends nothing"


@pytest.mark.parametrize("seed", range(2, 10))
async def test_any_log_and_any_list_of_dead_letters_give_the_same_store(files: Stores, seed: int) -> None:
    """Replays that failed again, discards and erasures included; the batches differ from those of the first life."""
    deployment = await lived(files.lost, seed=seed)
    assert (await deployment.rebuild_into(files.new).run()).same
    assert await contents(files.new) == await contents(files.lost)


def test_those_logs_have_replays_that_failed_again() -> None:
    """And acts of every other kind, on dead letters of every kind: what is claimed above is there to be compared."""
    again = 0
    states: set[str] = set()
    for seed in range(2, 10):
        log, aside = troubled_log(seed)
        items = [understood(record) for record in log]
        for in_hand, event in aside:
            entry = items[in_hand]
            record = entry.record if isinstance(entry, LoggedControl) else None
            again += isinstance(record, ReplayRecord) and record.event_offset == event
        states |= {letter.state.value for letter in apply_all(log, aside=aside).dead_letters.values()}
    assert again >= 8
    assert states == {"open", "replayed", "discarded"}


async def test_an_act_that_was_erased_before_it_was_done_leaves_no_words(files: Stores) -> None:
    """However the records were batched: an operator's move is set aside, erased, and replayed in a batch of its own."""
    move = event_record("o1", status("READY"), source("operator", uid="ann"))
    announced = event_record("o1", placed(restaurant="r1"), source("platform"))
    *first, last = logged([(announced, 0), (move, 1), (erased("o1"), 2), (replayed(move, (1, 1), order="o1"), 3)])
    deployment = Deployment(await made_log(), files.lost)
    for part in (first, [last]):
        fill(deployment.log, part)
        await deployment.apply(aside={0: {(1, 1): FAILURE}})
    await deployment.publish()
    assert (await deployment.rebuild_into(files.new).run()).same
    kept = await contents(files.new)
    assert kept == await contents(files.lost)
    assert "asked by the restaurant" not in repr(kept)


async def test_without_the_list_the_store_would_be_another_one(files: Stores) -> None:
    """What was set aside is part of what the trail depends on: this is what the list is for."""
    platform = source("platform")
    records = [
        (event_record("o1", placed(restaurant="r1"), platform), 0),
        (event_record("o1", status("COOKING"), platform), 1),
        (event_record("o2", placed(restaurant="r1"), platform), 2),
    ]
    deployment = Deployment(await made_log(), files.lost)
    fill(deployment.log, logged(records))
    await deployment.apply(aside={0: {(1, 1): FAILURE}})
    await deployment.publish()
    deployment.log.topics.partition(DEAD_LETTERS, 0).records.clear()
    done = await deployment.rebuild_into(files.new).run()
    assert not done.same
    assert not done.let_go


async def test_consumers_go_on_from_where_it_ends(files: Stores) -> None:
    """The cursors say what the topics have; the store knows its log and carries no mark."""
    deployment = await lived(files.lost)
    outcomes = deployment.log.topics.partition(OUTCOMES, 1).records
    del outcomes[60:]  # the relay had not published the rest
    await deployment.rebuild_into(files.new).run()
    dead = len(deployment.log.topics.partition(DEAD_LETTERS, 0).records)
    rows = len(deployment.log.topics.partition(OUTCOMES, 0).records)
    assert await cursors(files.new) == {0: (rows, dead), 1: (60, 0)}
    async with files.new.reading() as connection:
        kept = await all_kept_within(connection)
    assert kept == {RECEIVED_TOPIC_ID: deployment.log.topics.ids[RECEIVED]}
    await LogIdentity(deployment.log, files.new, TOPICS).check_process(PARTITIONS)


# --- What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [0, 2])
async def test_a_list_with_a_gap_is_refused(files: Stores, gone: int) -> None:
    """At its beginning and in its middle; nothing is written."""
    deployment = await lived(files.lost)
    del deployment.log.topics.partition(DEAD_LETTERS, 0).records[gone]
    deployment.log.topics.partition(DEAD_LETTERS, 0).records[gone:] = [
        record._replace(offset=record.offset - 1)
        for record in deployment.log.topics.partition(DEAD_LETTERS, 0).records[gone:]
    ]
    with pytest.raises(RebuildRefused, match=f"after number {gone} comes {gone + 2}"):
        await deployment.rebuild_into(files.new).run()
    assert not any((await contents(files.new)).values())


async def test_a_list_that_expired_is_refused(files: Stores) -> None:
    """All of it is gone, and its offsets say that there was something."""
    deployment = await lived(files.lost)
    partition = deployment.log.topics.partition(DEAD_LETTERS, 0)
    partition.trim(partition.bounds.end)
    with pytest.raises(RebuildRefused, match="expired or were deleted"):
        await deployment.rebuild_into(files.new).run()


@pytest.mark.parametrize("value", [b"{", b"[]", b'{"seq": 1}', b'{"seq": "x", "in_hand_offset": 0}'])
async def test_a_list_that_cannot_be_read_is_refused(value: bytes) -> None:
    """Somebody else wrote to the topic."""
    log = await made_log()
    await log.append(DEAD_LETTERS, [NewRecord(0, None, value)])
    with pytest.raises(RebuildRefused, match="offset 0 cannot be read"):
        await read_list(log, DEAD_LETTERS, 0)


async def test_repeats_in_the_list_count_once(files: Stores) -> None:
    """A publish whose answer was lost is sent again."""
    deployment = await lived(files.lost)
    records = deployment.log.topics.partition(DEAD_LETTERS, 0).records
    again = [NewRecord(0, record.key, record.value, record.headers) for record in records[1:4]]
    before = await read_list(deployment.log, DEAD_LETTERS, 0)
    await deployment.log.append(DEAD_LETTERS, again)
    assert list((await read_list(deployment.log, DEAD_LETTERS, 0)).items()) == list(before.items())


async def test_a_log_that_no_longer_reaches_back_is_refused(files: Stores) -> None:
    """It says where the log begins, and nothing is half built."""
    deployment = await lived(files.lost)
    deployment.log.topics.partition(RECEIVED, 1).trim(3)
    with pytest.raises(RebuildRefused, match="partition 1: the log no longer reaches back: it begins at offset 3"):
        await deployment.rebuild_into(files.new).run()


async def test_a_store_with_something_in_it_is_refused(stores: Stores) -> None:
    """The one that is not lost at all, for instance."""
    deployment = await lived(stores.lost)
    with pytest.raises(RebuildRefused, match="not empty"):
        await deployment.rebuild_into(stores.lost).run()


async def test_a_record_of_a_newer_release_stops_the_rebuild(files: Stores) -> None:
    """Whatever this release would make of it, the one that wrote it made something else."""
    log = await made_log()
    await log.append(RECEIVED, [NewRecord(0, None, b'{"kind": "rain", "event_id": "x"}')])
    with pytest.raises(RecordUnknown, match="partition 0, offset 0"):
        await Deployment(log, files.lost).rebuild_into(files.new).run()


# --- Differences --------------------------------------------------------------------------------------


async def test_another_decision_is_reported_at_its_row(stores: Stores) -> None:
    """What was rejected is applied now: the first such row, what both say, and nobody starts on the store."""
    courier, platform = source("courier", "c1", hold_ms=0), source("platform")
    records = [
        (event_record("o1", placed(restaurant="r1"), platform), 0),
        (event_record("o1", status("COOKING"), platform), 1),
        (event_record("o2", status("READY"), courier, event_id="odd"), 2),
        (event_record("o1", status("READY"), platform), 3),
    ]
    log = await made_log()
    fill(log, logged(records))
    deployment = Deployment(log, stores.lost)
    await deployment.apply()
    await deployment.publish()
    altered = log.topics.partition(RECEIVED, 0).records
    odd = event_record("o2", placed(restaurant="r1"), platform, event_id="odd")
    altered[2] = altered[2]._replace(value=dump_record(odd))
    done = await deployment.rebuild_into(stores.new).run()
    found = done.partitions[0].comparison
    assert found.first is not None
    assert found.first.published is not None
    assert found.first.rebuilt is not None
    assert (found.first.order_id, found.first.event_id) == ("o2", "odd")
    assert (found.first.published["verdict"], found.first.published["reason"]) == ("rejected", "order_not_found")
    assert found.first.rebuilt["verdict"] == "applied"
    assert (found.first.seq, found.differing, found.first_hash) == (4, 1, 4)
    assert (done.same, done.let_go) == (False, False)
    with pytest.raises(StoreRebuilding):
        await LogIdentity(log, stores.new, TOPICS).check_process(PARTITIONS)
    accepted = await deployment.rebuild_into(stores.new).run(accept_differences=True)
    assert (accepted.same, accepted.let_go, accepted.resumed, accepted.records) == (False, True, True, 0)
    assert (await cursors(stores.new))[0][0] == 3, "what differs is published again"


async def test_rows_that_nobody_rebuilt_are_reported(files: Stores) -> None:
    """The log lost its end: outcomes were published of what is not there any more."""
    deployment = await lived(files.lost)
    del deployment.log.topics.partition(RECEIVED, 1).records[100:]
    done = await deployment.rebuild_into(files.new).run()
    first = done.partitions[1].comparison.first
    assert first is not None
    assert first.rebuilt is None
    assert first.seq == done.partitions[1].seq + 1


async def test_a_hole_in_the_outcomes_topic_is_reported_and_filled(files: Stores) -> None:
    """Its readers were promised every number: rows are published again from the hole on."""
    deployment = await lived(files.lost)
    partition = deployment.log.topics.partition(OUTCOMES, 1)
    partition.records[10:] = [record._replace(offset=record.offset - 1) for record in partition.records[11:]]
    done = await deployment.rebuild_into(files.new).run(accept_differences=True)
    found = done.partitions[1].comparison
    assert (found.missing, found.first_missing, found.differing) == (1, 11, 0)
    assert (await cursors(files.new))[1] == (10, 0)


async def test_an_outcomes_topic_that_begins_later_is_compared_from_there(files: Stores) -> None:
    """Retention took its beginning; what is left fits."""
    deployment = await lived(files.lost)
    deployment.log.topics.partition(OUTCOMES, 1).trim(20)
    done = await deployment.rebuild_into(files.new).run()
    assert done.same
    assert done.partitions[1].comparison.first_seq == 21


# --- Interrupted, resumed, disturbed ------------------------------------------------------------------


class Interrupted(Applier):
    """An applier whose store goes away after some batches."""

    def __init__(self, store: Store, batches: int) -> None:
        super().__init__(store)
        self._left = batches

    async def apply(self, *args: Any, **kwargs: Any) -> Applied:
        """See `Applier.apply`."""
        if self._left == 0:
            raise StoreUnavailable("gone")
        self._left -= 1
        return await super().apply(*args, **kwargs)


async def test_an_interrupted_rebuild_lets_nobody_start_and_goes_on(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark stands until the end; the second run applies the rest, no more, and ends in the same store."""
    deployment = await lived(stores.lost)
    monkeypatch.setattr("consumers.rebuild.BATCH_RECORDS", 40)
    interrupted = deployment.rebuild_into(stores.new)
    interrupted._applier = Interrupted(stores.new, 3)
    with pytest.raises(StoreUnavailable):
        await interrupted.run()
    with pytest.raises(StoreRebuilding):
        await LogIdentity(deployment.log, stores.new, TOPICS).check_process(PARTITIONS)
    seen: list[tuple[int, int]] = []
    applied = sum(row[1] for row in (await contents(stores.new))["offsets"])
    assert applied > 0
    done = await deployment.rebuild_into(stores.new).run(progress=lambda now, total: seen.append((now, total)))
    total = sum(len(deployment.log.topics.partition(RECEIVED, p).records) for p in range(PARTITIONS))
    assert (done.resumed, done.records, done.same) == (True, total - applied, True)
    assert (seen[0], seen[-1]) == ((applied, total), (total, total))
    assert await contents(stores.new) == await contents(stores.lost)


async def test_a_rebuild_of_another_log_does_not_go_on(files: Stores) -> None:
    """Half of one log and half of another would be no store at all."""
    deployment = await lived(files.lost)
    interrupted = deployment.rebuild_into(files.new)
    interrupted._applier = Interrupted(files.new, 0)
    with pytest.raises(StoreUnavailable):
        await interrupted.run()
    other = await made_log()
    with pytest.raises(RebuildRefused, match="another received topic"):
        await Deployment(other, files.lost).rebuild_into(files.new).run()


async def test_whoever_else_works_on_the_store_ends_the_rebuild(files: Stores) -> None:
    """The fence tells: a consumer that was running already moves the offset."""
    deployment = await lived(files.lost)

    class Disturbed(Applier):
        async def apply(self, partition: int, records: Any, **kwargs: Any) -> Applied:
            await Applier(files.new).apply(partition, records[:1], start=records[0].offset, published=0)
            return await super().apply(partition, records, **kwargs)

    disturbed = deployment.rebuild_into(files.new)
    disturbed._applier = Disturbed(files.new)
    with pytest.raises(RebuildRefused, match="works on the store"):
        await disturbed.run()


# --- Records that fail --------------------------------------------------------------------------------


async def rebuilt_with_failure_at(deployment: Deployment, store: Store, offset: int) -> Rebuilt:
    """A rebuild by a release that fails on the record at that offset of partition 1."""

    class Failing(Applier):
        async def apply(self, partition: int, records: Any, **kwargs: Any) -> Applied:
            if partition == 1 and any(record.offset == offset for record in records):
                raise RecordUnappliable("partition 1: cannot", partition=1, offset=offset)
            return await super().apply(partition, records, **kwargs)

    failing = deployment.rebuild_into(store)
    failing._applier = Failing(store)
    return await failing.run()


async def test_a_failing_record_that_was_applied_before_stops_the_rebuild(files: Stores) -> None:
    """What comes after it is published: another release could do it."""
    deployment = await lived(files.lost)
    with pytest.raises(RecordUnappliable, match="use the release that did that"):
        await rebuilt_with_failure_at(deployment, files.new, 30)


async def test_a_failing_record_beyond_what_was_published_is_left_to_the_consumers(files: Stores) -> None:
    """Nobody has seen a verdict of it or after it; consumers can try it again and set it aside."""
    deployment = await lived(files.lost)
    platform = source("platform")
    end = deployment.log.topics.partition(RECEIVED, 1).bounds.end
    late = [new_record(event_record(f"late-{n}", placed(restaurant="r1"), platform), partition=1) for n in range(3)]
    deployment.log.topics.append(RECEIVED, late, START_MS)
    done = await rebuilt_with_failure_at(deployment, files.new, end + 1)
    assert (done.partitions[1].left, done.partitions[1].next) == (end + 1, end + 1)
    assert (done.same, done.let_go) == (True, True)


# --- Beside a living deployment -----------------------------------------------------------------------


async def test_a_living_deployment_is_compared_as_far_as_it_came(files: Stores) -> None:
    """Records that it has not applied are left out, and so is what it publishes meanwhile."""
    deployment = await lived(files.lost)
    reached = await reached_by(files.lost)
    fill(deployment.log, moved_log(999, partition=1, records=40))
    done = await deployment.rebuild_into(files.new).run(reached=reached)
    assert done.same
    assert await contents(files.new) == await contents(files.lost)


async def test_a_list_behind_the_living_deployment_is_refused(files: Stores) -> None:
    """Its relay has not published the last dead letters yet."""
    deployment = await lived(files.lost)
    reached = {0: replace((await reached_by(files.lost))[0], dead_seq=10_000)}
    with pytest.raises(RebuildRefused, match="has 10000 dead letters"):
        await deployment.rebuild_into(files.new).run(reached=reached)


async def test_an_empty_log_gives_an_empty_store(files: Stores) -> None:
    """And no error; the mark is gone."""
    done = await Deployment(await made_log(), files.lost).rebuild_into(files.new).run()
    assert (done.same, done.let_go, done.records) == (True, True, 0)
    async with files.new.reading() as connection:
        assert (await connection.execute(select(attempts))).fetchall() == []
        names = set(await connection.scalars(select(kept_settings.c.name)))
    assert names == {RECEIVED_TOPIC_ID}
