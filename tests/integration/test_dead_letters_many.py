"""Many events under one record: who is blamed, when the partition stops, how long it takes, and what is told."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from sqlalchemy import select

from backbone.store.dead_letters import PairId
from backbone.store.engine import Store
from backbone.store.tables import attempts, held_events, offsets, trail
from consumers import applier, ledger_reading, ledger_writing, lone_record, rehearsal
from consumers.applier import Applier
from consumers.composition import consumers_check
from consumers.dead_letter import Failure
from consumers.dead_letter_limits import DeadLetterLimits
from consumers.runner import Runner
from schemas.errors import NotReady, StoreUnavailable
from tests.integration.test_dead_letters import applied_to, check_model, letters, of_order, replayed_record, worker
from tests.integration.test_runner import at_work, make_runner, records_of
from tests.support.logs import LogUnderTest, event_log
from tests.support.poison import FaultyRelease
from tests.support.received import discarded, event_record, logged, new_record, placed, source, status, tick
from tests.support.stores import store
from tests.support.waiting import wait_until

__all__ = ["event_log", "store"]
PLATFORM, KITCHEN = source("platform"), source("restaurant", "r1")


async def append_holds(log: LogUnderTest, count: int, **stamp: Any) -> None:
    """Events of as many orders that wait, and a tick at which all of them end."""
    courier = source("courier", "c1", hold_ms=1, **stamp)
    waiting = [new_record(event_record(f"o{i}", status("READY"), courier), partition=0) for i in range(count)]
    await log.log.append(log.received, [*waiting, new_record(tick(), partition=0)])


async def ended(log: LogUnderTest, store: Store, runner: Runner) -> bool:
    """Whether everything is applied, or the worker gave up."""
    if runner.status().stopped:
        return True
    if not await applied_to(log, store):
        return False
    async with store.reading() as connection:
        return await connection.scalar(select(held_events.c.offset).limit(1)) is None


def measure(runner: Runner, name: str, **labels: str) -> float | None:
    """A metric of the worker."""
    return runner._metrics.registry.get_sample_value(f"mealtrail_{name}", labels)


async def readiness(runner: Runner) -> str | None:
    """What /readyz would say of the worker."""
    try:
        return await consumers_check(runner).probe()
    except NotReady as error:
        return str(error)


@pytest.mark.parametrize("guilty", [0, 59])
async def test_the_culprit_is_found_among_sixty(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch, guilty: int
) -> None:
    """Holds of sixty orders end at one tick, and the store refuses the row of one: that one is set aside."""
    write = ledger_writing.write_changes

    async def refuse(connection: Any, ledger: Any) -> None:
        await write(connection, ledger)
        if any(row.order_id == f"o{guilty}" for row, _ in ledger.changes.rows):
            row = dict((await connection.execute(select(trail).limit(1))).mappings().one())
            await connection.execute(trail.insert().values(row))  # the same key twice

    monkeypatch.setattr(applier, "write_changes", refuse)
    await append_holds(event_log, 60)
    runner = worker(event_log, store)
    async with at_work(runner):
        await wait_until(lambda: ended(event_log, store, runner), timeout=60.0, what="the holds to end")
        assert runner.status().stopped == {}
    (letter,) = await letters(store)
    assert (letter["event_offset"], letter["order_id"], letter["attempts"]) == (guilty, f"o{guilty}", 3)
    async with store.reading() as connection:
        assert len(set(await connection.scalars(select(trail.c.order_id)))) == 59
    await check_model(event_log, store)


async def test_a_bad_release_stops_within_one_record_too(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every hold that ends fails: the partition stops at the run's limit though all of it is one tick; nothing is set
    aside, and the repaired release decides them all.
    """
    release = FaultyRelease(monkeypatch, lambda situation: not situation.may_wait)
    await append_holds(event_log, 40)
    runner = worker(event_log, store, limits=DeadLetterLimits(run=5))
    async with at_work(runner):
        await wait_until(lambda: runner.status().stopped != {}, timeout=60.0, what="the partition to stop")
        assert runner.status().stopped == {0: "too_many_dead_letters"}
        assert await readiness(runner) == "partition_stopped: 0 (too_many_dead_letters)"
    assert release.tries <= 1 + 3 * 6
    assert await letters(store) == []
    async with store.reading() as connection:
        assert (await connection.execute(select(attempts))).fetchall() == []
    release.repair()
    runner = worker(event_log, store)
    async with at_work(runner):
        await wait_until(lambda: ended(event_log, store, runner), timeout=60.0, what="the holds to end")
    await check_model(event_log, store)


async def test_each_event_waits_for_its_own_tries(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten holds of one tick fail: between the tries of each the pauses of one event, and none once it is given up."""
    FaultyRelease(monkeypatch, lambda situation: not situation.may_wait)
    pauses: list[float] = []

    def remember(seconds: float) -> asyncio.Timeout:
        pauses.append(seconds)
        return asyncio.timeout(0.0)

    own = SimpleNamespace(timeout=remember, CancelledError=asyncio.CancelledError)
    monkeypatch.setattr(lone_record, "asyncio", own)
    await append_holds(event_log, 10)
    runner = make_runner(event_log, store, retry_pause_s=0.125)
    async with at_work(runner):
        await wait_until(lambda: ended(event_log, store, runner), timeout=60.0, what="the holds to end")
    assert len(await letters(store)) == 10
    assert pauses == [0.125, 0.25] * 10


async def test_the_log_names_the_order_the_pair_and_the_line(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a failed try and of an event that is given up; the line is one of ours and carries no path of a machine."""
    FaultyRelease(monkeypatch, lambda situation: not situation.may_wait)
    await append_holds(event_log, 1)
    runner = worker(event_log, store)
    with structlog.testing.capture_logs() as logs:
        async with at_work(runner):
            await wait_until(lambda: ended(event_log, store, runner), timeout=60.0, what="the hold to end")
    failed = [entry for entry in logs if entry["event"] == "decision_failed"]
    (given_up,) = [entry for entry in logs if entry["event"] == "event_given_up"]
    (letter,) = await letters(store)
    name = str(PairId(0, letter["in_hand_offset"], letter["event_offset"]))
    assert {(entry["order_id"], entry["pair"]) for entry in (*failed, given_up)} == {("o0", name)}
    assert len(failed) == 3
    for entry in failed:
        file, _, rest = entry["where"].partition(":")
        assert (file, rest.partition(" in ")[2]) == ("consumers/deciding.py", "_settle")


async def test_a_lost_answer_hides_no_dead_letter(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit that sets an event aside is confirmed by looking: it is counted as any other, and so are what is open
    after a replay and a discard whose answers are lost.
    """
    release = FaultyRelease(monkeypatch, of_order("o1"))
    apply = Applier.apply

    async def lose_answer(self: Applier, *arguments: Any, **more: Any) -> Any:
        applied = await apply(self, *arguments, **more)
        if applied.dead_letters:
            raise StoreUnavailable("the answer is lost")
        return applied

    monkeypatch.setattr(Applier, "apply", lose_answer)
    for order in ("o1", "o2"):
        records = [
            event_record(order, placed(restaurant="r1"), PLATFORM),
            event_record(order, status("COOKING"), KITCHEN),
        ]
        await event_log.log.append(event_log.received, [new_record(record, partition=0) for record in records])
    runner = worker(event_log, store)

    def is_told(count: int, open_ones: int) -> bool:
        return (
            measure(runner, "dead_letters_total") == count
            and measure(runner, "dead_letters_open", partition="0") == open_ones
        )

    async with at_work(runner):
        await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the log to be applied")
        await wait_until(lambda: is_told(1, 1), timeout=30.0, what="the dead letter to be counted")
        (letter,) = await letters(store)
        await event_log.log.append(event_log.received, [replayed_record(b"{}", letter)])
        await wait_until(lambda: is_told(2, 1), timeout=30.0, what="the one put back to be counted")
        release.repair()
        letter = (await letters(store))[-1]
        pair = (letter["in_hand_offset"], letter["event_offset"])
        await event_log.log.append(event_log.received, [new_record(discarded(pair, order="o1"), partition=0)])
        await wait_until(lambda: is_told(2, 0), timeout=30.0, what="the discard")
    await check_model(event_log, store)


async def test_a_batch_that_is_too_heavy_is_halved(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store never finishes a transaction of more than three records, and answers everything else."""
    apply, sizes = Applier.apply, list[int]()

    async def give_up(self: Applier, partition: int, records: Any, **more: Any) -> Any:
        if len(records) > 3:
            raise StoreUnavailable("canceling statement due to statement timeout")
        sizes.append(len(records))
        return await apply(self, partition, records, **more)

    monkeypatch.setattr(Applier, "apply", give_up)
    await event_log.log.append(event_log.received, records_of(range(4), event_log.partitions))
    runner = worker(event_log, store)
    async with at_work(runner):
        await wait_until(lambda: applied_to(event_log, store), timeout=60.0, what="the log to be applied")
    assert max(sizes) > 1
    assert await letters(store) == []
    await check_model(event_log, store)


async def test_a_record_that_is_too_heavy_is_told_of(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can halve it: the log, a metric and the readiness name it until it goes through."""
    apply, is_heavy = Applier.apply, [True]

    async def give_up(self: Applier, *arguments: Any, **more: Any) -> Any:
        if is_heavy:
            raise StoreUnavailable("canceling statement due to statement timeout")
        return await apply(self, *arguments, **more)

    monkeypatch.setattr(Applier, "apply", give_up)
    await event_log.log.append(event_log.received, [new_record(tick(), partition=1)])
    runner = worker(event_log, store)
    with structlog.testing.capture_logs() as logs:
        async with at_work(runner):
            await wait_until(lambda: runner.status().heavy == {1: 0}, timeout=30.0, what="the worker to tell")
            assert await readiness(runner) == "transaction_too_heavy: 1 (offset 0)"
            assert measure(runner, "transaction_too_heavy", partition="1") == 1
            is_heavy.clear()
            await wait_until(lambda: applied_to(event_log, store), timeout=30.0, what="the record to be applied")
            await wait_until(
                lambda: runner.status().heavy == {}, timeout=30.0, what="the worker to tell that it is over"
            )
            assert (await readiness(runner) or "").startswith("ok")
    told = [entry for entry in logs if entry["event"] == "transaction_too_heavy"]
    assert [(entry["partition"], entry["offset"], entry["log_level"]) for entry in told] == [(1, 0, "error")]


async def test_a_worker_stopped_while_it_writes_has_not_died(
    event_log: LogUnderTest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A careful owner that is cancelled within its transaction takes back what it counted before."""
    write, is_writing = ledger_writing.write_changes, asyncio.Event()

    async def hang(connection: Any, ledger: Any) -> None:
        await write(connection, ledger)
        is_writing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(applier, "write_changes", hang)
    await event_log.log.append(event_log.received, [new_record(event_record("o1", placed(), PLATFORM), partition=0)])
    claims = Applier(store)
    await claims.claim(0)  # by an owner that is never heard of again
    async with at_work(make_runner(event_log, store, stop_timeout_s=0.1)):
        await asyncio.wait_for(is_writing.wait(), 30)
    async with store.reading() as connection:
        assert (await connection.execute(select(attempts))).fetchall() == []
        assert await connection.scalar(select(offsets.c.next).where(offsets.c.partition == 0)) == 0


async def test_another_partitions_waiting_events_are_left_alone(store: Store) -> None:
    """Somebody wrote events of one order to two partitions: each partition decides its own."""
    applies = Applier(store)
    early = event_record("o1", status("READY"), KITCHEN)
    announced = event_record("o1", placed(restaurant="r1"), PLATFORM)
    for partition in (0, 1):
        await applies.claim(partition)
    filler = event_record("o2", placed(), PLATFORM)
    waiting = logged([(filler, 0), (early, 0)], partition=1)
    await applies.apply(1, waiting, start=0, published=0)
    await applies.apply(0, logged([(announced, 0)], partition=0), start=0, published=0)
    async with store.reading() as connection:
        rows = await connection.execute(select(trail.c.partition, trail.c.order_id, trail.c.offset))
        assert sorted(tuple(row) for row in rows) == [(0, "o1", 0), (1, "o2", 0)]
        assert [tuple(row) for row in await connection.execute(select(held_events.c.partition))] == [(1,)]


async def test_parked_events_are_loaded_for_acts_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An amendment of a parked order asks for what waits for it, not for the thousands behind its dead letter."""
    applies = Applier(store)
    await applies.claim(0)
    first = event_record("o1", placed(restaurant="r1"), PLATFORM)
    bad = event_record("o1", status("COOKING"), KITCHEN)
    later = [event_record("o1", status("READY"), KITCHEN) for _ in range(3)]
    again = event_record("o1", placed(restaurant="r1"), PLATFORM)
    log = logged([(record, 0) for record in (first, bad, *later, again, discarded((1, 1), order="o1"))])
    await applies.apply(0, log[:2], start=0, published=0, aside={(1, 1): Failure("KeyError", 3)})
    await applies.apply(0, log[2:5], start=2, published=0)
    loaded: list[int] = []
    load = ledger_reading.load_ledger

    async def count(connection: Any, ledger: Any, *arguments: Any, **more: Any) -> None:
        await load(connection, ledger, *arguments, **more)
        loaded.append(len(ledger.held))

    monkeypatch.setattr(rehearsal, "load_ledger", count)
    await applies.apply(0, log[5:6], start=5, published=0)
    await applies.apply(0, log[6:], start=6, published=0)
    assert loaded == [0, 4]
