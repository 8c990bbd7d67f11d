"""Dead letters in the running worker: poison, its release, bad releases, publication."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from sqlalchemy import func, select

from backbone.eventlog.port import NewRecord
from backbone.store.engine import Store
from backbone.store.tables import attempts, dead_letters, held_events, offsets, receipts, trail
from consumers import applier, ledger_reading, ledger_writing, rehearsal
from consumers.dead_letter import Failure
from consumers.dead_letter_limits import DeadLetterLimits
from consumers.lifecycle import Situation
from consumers.runner import Runner
from schemas.cloudevents import header
from schemas.errors import StoreUnavailable
from tests.integration.test_runner import at_work, make_runner, read_all, records_of
from tests.support.logs import LogUnderTest, event_log, started_log
from tests.support.model import apply_all
from tests.support.poison import FaultyRelease
from tests.support.received import Broken, discarded, event_record, new_record, placed, replayed, source, status, tick
from tests.support.stores import embedded_settings, store
from tests.support.waiting import wait_until

__all__ = ["event_log", "store"]
PLATFORM, KITCHEN = source("platform"), source("restaurant", "r1")


def worker(log: LogUnderTest, store: Store, **config: Any) -> Runner:
    """A worker that does not wait between tries."""
    return make_runner(log, store, retry_pause_s=0.0, **config)


def of_order(order_id: str) -> Any:
    """Fails for that order's status events."""
    return lambda situation: situation.order_id == order_id and situation.event.type == "status"


async def letters(store: Store) -> list[dict[str, Any]]:
    """All dead letters by partition and number."""
    query = select(dead_letters).order_by(dead_letters.c.partition, dead_letters.c.seq)
    async with store.reading() as connection:
        return [dict(row) for row in (await connection.execute(query)).mappings()]


async def applied_to(log: LogUnderTest, store: Store) -> bool:
    """Whether everything in the log is applied."""
    bounds = await log.log.bounds(log.received, range(log.partitions))
    async with store.reading() as connection:
        rows = await connection.execute(select(offsets.c.partition, offsets.c.next))
        following = {row.partition: row.next for row in rows}
    return all(following.get(partition) == known.end for partition, known in bounds.items())


async def check_model(log: LogUnderTest, store: Store) -> None:
    """The trail is what the model makes of the log and the committed list of pairs."""
    received = await read_all(log, log.received)
    found = await letters(store)
    expected = []
    for partition in range(log.partitions):
        aside = {
            (row["in_hand_offset"], row["event_offset"]): Failure(row["error"], row["attempts"])
            for row in found
            if row["partition"] == partition
        }
        expected += [h for _, h in apply_all(received, partition=partition, aside=aside).changes.rows]
    async with store.reading() as connection:
        rows = await connection.execute(select(trail.c.hash).order_by(trail.c.partition, trail.c.seq))
        assert [bytes(row.hash) for row in rows] == expected


async def test_poison_delays_its_partition_by_its_retries_and_no_more(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One order's events fail in the middle of a batch: it is set aside and parked, all others get their verdicts; a
    replay after the repair gives the trail that a healthy worker would have written.
    """
    release = FaultyRelease(monkeypatch, of_order("o3"))
    records = records_of(range(12), event_log.partitions)
    await event_log.log.append(event_log.received, records)
    runner = worker(event_log, store)
    async with at_work(runner):
        await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the log to be applied")
        (letter,) = await letters(store)
        assert (letter["order_id"], letter["state"], letter["attempts"], letter["error"]) == (
            "o3",
            "open",
            3,
            "ZeroDivisionError",
        )
        assert release.tries == 1 + 3  # the batch, then alone
        assert runner.status().stopped == {}
        async with store.reading() as connection:
            decided = await connection.scalar(select(func.count()).select_from(trail))
            states = await connection.execute(
                select(receipts.c.state, func.count())
                .where(receipts.c.order_id == "o3")
                .group_by(receipts.c.state)
                .order_by(receipts.c.state)
            )
            assert [tuple(row) for row in states] == [("final", 1), ("held", 2), ("set_aside", 1)]
            assert await connection.scalar(select(func.count()).select_from(attempts)) == 0
        assert decided == 48 - 3
        release.repair()
        received = await read_all(event_log, event_log.received)
        (original,) = [
            record
            for record in received
            if (record.partition, record.offset) == (letter["partition"], letter["event_offset"])
        ]
        act = replayed_record(original.value, letter)
        await event_log.log.append(event_log.received, [act])
        await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the replay")
    async with store.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(trail)) == 48
        assert await connection.scalar(select(func.count()).select_from(held_events)) == 0
    assert [row["state"] for row in await letters(store)] == ["replayed"]
    await check_model(event_log, store)
    published = await read_all(event_log, event_log.dead_letters)
    assert [orjson.loads(record.value)["seq"] for record in published] == [1]
    assert header(published[0].headers, "ce_id") == f"{letter['partition']}-1"
    document = orjson.loads(published[0].value)
    assert (document["in_hand_offset"], document["event_offset"]) == (letter["in_hand_offset"], letter["event_offset"])
    assert b"telephone" not in published[0].value


def replayed_record(value: bytes, letter: dict[str, Any]) -> NewRecord:
    """The replay of a dead letter, in its partition."""
    pair = (letter["in_hand_offset"], letter["event_offset"])
    act = replayed(Broken(letter["order_id"], value), pair, order=letter["order_id"], log_ms=letter["received_ms"])
    return new_record(act, partition=letter["partition"])


async def test_the_hold_is_blamed_and_not_the_record_that_released_it(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An announcement releases a kitchen's event whose decision fails: the order is announced, the event set aside."""

    def fails(situation: Situation) -> bool:
        return situation.order is not None and situation.source.uid == KITCHEN.uid

    FaultyRelease(monkeypatch, fails)
    early = new_record(event_record("1", status("READY"), KITCHEN), partitions=event_log.partitions)
    announced = new_record(event_record("1", placed(restaurant="r1"), PLATFORM), partitions=event_log.partitions)
    await event_log.log.append(event_log.received, [early, announced])
    async with at_work(worker(event_log, store)):
        await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the log to be applied")
    (letter,) = await letters(store)
    assert (letter["in_hand_offset"], letter["event_offset"], letter["parks"]) == (1, 0, "order")
    async with store.reading() as connection:
        rows = (await connection.execute(select(trail.c.offset, trail.c.verdict))).fetchall()
    assert [tuple(row) for row in rows] == [(1, "applied")]
    await check_model(event_log, store)


async def test_several_events_of_one_record_are_set_aside_one_after_the_other(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Holds of several orders end at the same tick, and two of them fail: both are set aside, the third is rejected."""
    waiting = [
        new_record(event_record(f"o{i}", status("READY"), source("courier", "c1", hold_ms=1)), partition=0)
        for i in range(3)
    ]
    FaultyRelease(monkeypatch, lambda situation: not situation.may_wait and situation.order_id != "o1")
    await event_log.log.append(event_log.received, [*waiting, new_record(tick(), partition=0)])
    async with at_work(worker(event_log, store)):

        async def ended() -> bool:
            return len(await letters(store)) == 2 and await applied_to(event_log, store)

        await wait_until(ended, timeout=30.0, what="the holds to end")
    found = await letters(store)
    assert sorted(row["order_id"] for row in found) == ["o0", "o2"]
    assert [row["seq"] for row in found] == [1, 2]
    assert {row["attempts"] for row in found} == {3}
    async with store.reading() as connection:
        rows = (await connection.execute(select(trail.c.order_id, trail.c.verdict))).fetchall()
    assert [tuple(row) for row in rows] == [("o1", "rejected")]
    await check_model(event_log, store)


async def test_a_bad_release_stops_at_the_limit_and_the_next_one_goes_on(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything fails: after a run of set-aside records the partitions stop and say so; with the repaired release all
    goes on, and once the dead letters are replayed nothing is missing.
    """
    release = FaultyRelease(monkeypatch, lambda _: True)
    records = records_of(range(30), event_log.partitions)
    await event_log.log.append(event_log.received, records)
    limits = DeadLetterLimits(run=3)
    runner = worker(event_log, store, limits=limits)
    everywhere = dict.fromkeys(range(event_log.partitions), "too_many_dead_letters")
    async with at_work(runner):
        await wait_until(lambda: runner.status().stopped == everywhere, timeout=30.0, what="the partitions to stop")
    assert len(await letters(store)) == 3 * event_log.partitions
    async with store.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(attempts)) == 0
        assert set(await connection.scalars(select(offsets.c.next))) == {3}
    again = worker(event_log, store, limits=limits)
    async with at_work(again):
        await wait_until(
            lambda: again.status().stopped == everywhere, timeout=30.0, what="the partitions to stop again"
        )
    assert len(await letters(store)) == 3 * event_log.partitions
    release.repair()
    received = {(r.partition, r.offset): r.value for r in await read_all(event_log, event_log.received)}
    async with at_work(worker(event_log, store, limits=limits)):
        await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the log to be applied")
        acts = [replayed_record(received[row["partition"], row["event_offset"]], row) for row in await letters(store)]
        await event_log.log.append(event_log.received, acts)
        await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the replays")
    async with store.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(trail)) == 120
    assert {row["state"] for row in await letters(store)} == {"replayed"}
    await check_model(event_log, store)


async def test_a_replay_under_the_same_release_puts_the_event_back(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails again under the replay's offset, is set aside again, may be discarded; the limit does not count it."""
    FaultyRelease(monkeypatch, of_order("o1"))
    first = event_record("o1", status("COOKING"), KITCHEN)
    announced = event_record("o1", placed(restaurant="r1"), PLATFORM)
    log, partitions = event_log.log, event_log.partitions
    await log.append(event_log.received, [new_record(r, partitions=partitions) for r in (announced, first)])
    async with at_work(worker(event_log, store, limits=DeadLetterLimits(run=1))):
        await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the event to be set aside")
        for count in (2, 3):
            latest = (await letters(store))[-1]
            await log.append(event_log.received, [replayed_record(b"{}", latest)])
            await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the replay")
            assert len(await letters(store)) == count
        latest = (await letters(store))[-1]
        pair = (latest["in_hand_offset"], latest["event_offset"])
        await log.append(event_log.received, [new_record(discarded(pair, order="o1"), partition=latest["partition"])])
        await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the discard")
    assert [row["state"] for row in await letters(store)] == ["replayed", "replayed", "discarded"]
    async with store.reading() as connection:
        last = (await connection.execute(select(trail).order_by(trail.c.seq.desc()).limit(1))).one()
    assert (last.verdict, last.reason) == ("rejected", "discarded")
    await check_model(event_log, store)


async def test_what_nobody_can_read_is_set_aside(event_log: LogUnderTest, store: Store) -> None:
    """Bytes that are no record of ours, and one of ours that is broken: set aside, their orders parked."""
    announced = new_record(event_record("o1", placed(restaurant="r1"), PLATFORM), partition=1)
    broken = [NewRecord(1, b"default:o1", b'{"kind":"event"}'), NewRecord(1, b"\xff", b"\x00")]
    later = new_record(event_record("o1", status("READY"), KITCHEN), partition=1)
    await event_log.log.append(event_log.received, [announced, *broken, later])
    async with at_work(worker(event_log, store)):
        await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the log to be applied")
    found = await letters(store)
    assert [(row["order_id"], row["parks"], row["error"]) for row in found] == [
        ("o1", "order", "unreadable"),
        ("unreadable-2", "nothing", "unreadable"),
    ]
    async with store.reading() as connection:
        assert list(await connection.scalars(select(held_events.c.kind))) == ["parked"]


async def test_a_row_that_the_store_refuses_is_the_events_fault(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database refuses what one event makes of it, found in a batch and as a hold that another record releases."""
    write = ledger_writing.write_changes

    async def refuse(connection: Any, ledger: Any) -> None:
        await write(connection, ledger)
        if any(row.source_uid == "uid-cursed" for row, _ in ledger.changes.rows):
            row = dict((await connection.execute(select(trail).limit(1))).mappings().one())
            await connection.execute(trail.insert().values(row))  # the same key twice

    monkeypatch.setattr(applier, "write_changes", refuse)
    cursed = source("restaurant", "r1", uid="cursed")
    records = [
        event_record("o1", status("READY"), cursed),
        event_record("o2", placed(restaurant="r1"), PLATFORM),
        event_record("o2", status("READY"), KITCHEN),
        event_record("o1", placed(restaurant="r1"), PLATFORM),
        event_record("o3", placed(restaurant="r1"), PLATFORM),
    ]
    await event_log.log.append(event_log.received, [new_record(record, partition=0) for record in records])
    async with at_work(worker(event_log, store)):
        await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the log to be applied")
    (letter,) = await letters(store)
    assert (letter["in_hand_offset"], letter["event_offset"], letter["attempts"]) == (3, 0, 3)
    assert letter["error"].startswith("IntegrityError")
    async with store.reading() as connection:
        assert sorted(set(await connection.scalars(select(trail.c.order_id)))) == ["o1", "o2", "o3"]
    await check_model(event_log, store)


async def test_an_outage_counts_against_nobody(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store goes away again and again in the middle of a batch: no attempt is counted, nothing is set aside."""
    write, outages = ledger_writing.write_changes, iter(range(6))

    async def go_away(connection: Any, ledger: Any) -> None:
        if next(outages, None) is not None:
            raise StoreUnavailable("the store does not answer")
        await write(connection, ledger)

    monkeypatch.setattr(applier, "write_changes", go_away)
    records = records_of(range(3), event_log.partitions)
    await event_log.log.append(event_log.received, records)
    runner = worker(event_log, store)
    async with at_work(runner):
        await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the log to be applied")
    assert await letters(store) == []
    assert runner._metrics.attempts._value.get() == 0


async def test_each_failure_is_counted_before_the_next_try(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """A try finds all failures before it counted in the store, so one that kills the process counts."""
    counted: list[int] = []
    log = await started_log(embedded_settings(tmp_path), partitions=1)
    release = FaultyRelease(monkeypatch, of_order("o1"))

    load = ledger_reading.load_ledger

    async def look(connection: Any, *arguments: Any, **more: Any) -> None:
        found = await connection.scalar(select(func.max(attempts.c.attempts)))
        counted.append(found or 0)
        await load(connection, *arguments, **more)

    monkeypatch.setattr(rehearsal, "load_ledger", look)
    records = [event_record("o1", placed(restaurant="r1"), PLATFORM), event_record("o1", status("READY"), KITCHEN)]
    await log.log.append(log.received, [new_record(record, partition=0) for record in records])
    async with at_work(worker(log, store)):
        await wait_until(lambda: applied_to(log, store), timeout=30.0, what="the log to be applied")
    await log.log.stop()
    assert release.tries == 4
    assert counted == [0, 0, 0, 1, 2, 3]  # the batch, what comes before the culprit, three tries, and with it aside


async def test_what_was_published_is_not_published_again(event_log: LogUnderTest, store: Store) -> None:
    """The cursor rides in the next fenced update: a second worker publishes only what came since, without a hole."""
    for number in range(2):
        await event_log.log.append(event_log.received, [NewRecord(0, b"default:o1", b"{")])
        async with at_work(worker(event_log, store)):
            await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the log to be applied")

            async def published(wanted: int = number + 1) -> bool:
                return len(await read_all(event_log, event_log.dead_letters)) >= wanted

            await wait_until(published, timeout=30.0, what="the dead letter to be published")
            await event_log.log.append(event_log.received, [new_record(tick(), partition=0)])
            await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the tick")
        async with store.reading() as connection:
            row = (await connection.execute(select(offsets).where(offsets.c.partition == 0))).one()
        assert (row.dead_seq, row.dead_published, row.claims) == (number + 1, number + 1, 0)
    published_seqs = [orjson.loads(r.value)["seq"] for r in await read_all(event_log, event_log.dead_letters)]
    assert published_seqs == [1, 2]


async def test_an_idle_worker_that_leaves_in_order_leaves_no_suspicion(event_log: LogUnderTest, store: Store) -> None:
    """Start and stop without a record to apply, several times: no claim stays counted."""
    for _ in range(3):
        runner = worker(event_log, store)
        async with at_work(runner):
            await wait_until(lambda r=runner: len(r._workers()) == 3, timeout=20.0, what="ownership")
    async with store.reading() as connection:
        assert set(await connection.scalars(select(offsets.c.claims))) == {0}
