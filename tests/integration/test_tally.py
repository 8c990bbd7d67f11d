"""What is counted before it is begun: no healthy record keeps a count, and no death is lost, whatever ends it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import distinct, func, select

from backbone.metrics import Metrics
from backbone.store.engine import Store
from backbone.store.tables import attempts
from consumers import logged_event
from consumers.applier import Applier
from consumers.attempts import PROCESS_DIED, AttemptRepository
from consumers.dead_letter import Aside, Failure
from consumers.dead_letter_limits import DEFAULT_LIMITS
from consumers.lone_record import LoneRecord
from consumers.tally import Tally
from schemas.dead_letters import PROCESS_DIED_READING
from schemas.records import AnyRecord, load_record
from tests.support.received import event_record, logged, placed, source
from tests.support.stores import store

__all__ = ["store"]
UNREAD = Failure(PROCESS_DIED_READING, 3)
LOGGED = logged([(event_record("A", placed(restaurant="r1"), source("platform")), 0)])[0]


def a_record(store: Store, partition: int, careful: asyncio.Lock, upcoming: list[int]) -> LoneRecord:
    """The first record of a partition, tried by itself; `upcoming` is where its worker stands."""
    record, applier = LOGGED._replace(partition=partition), Applier(store)

    async def apply(records: Any, aside: Aside | None) -> None:
        applied = await applier.apply(partition, records, start=0, published=0, aside=aside)
        upcoming[0] = applied.next

    return LoneRecord(
        record,
        applier=applier,
        apply=apply,
        upcoming=lambda: upcoming[0],
        limits=DEFAULT_LIMITS,
        metrics=Metrics(),
        stopping=asyncio.Event(),
        careful=careful,
        pause_s=0,
    )


async def test_one_partition_at_a_time_has_counted_beforehand(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the death of one record would count against the records that others were about to look at."""
    standing = []
    note = AttemptRepository.note

    async def watched(self: AttemptRepository, *given: Any, **named: Any) -> None:
        await note(self, *given, **named)
        async with store.reading() as connection:
            standing.append(await connection.scalar(select(func.count(distinct(attempts.c.partition)))))

    monkeypatch.setattr(AttemptRepository, "note", watched)
    careful, partitions = asyncio.Lock(), range(4)
    for partition in partitions:
        await Applier(store).claim(partition)
    await asyncio.gather(*(a_record(store, one, careful, [0]).insist(rehearse=True) for one in partitions))
    assert len(standing) >= 3 * len(partitions)
    assert set(standing) == {1}


@pytest.mark.parametrize("second", [False, True])
async def test_a_stop_while_a_count_is_written_leaves_none(
    store: Store, monkeypatch: pytest.MonkeyPatch, second: bool
) -> None:
    """The count is committed and the answer is on its way when the worker is cancelled: it is taken back."""
    await Applier(store).claim(0)
    tally, committed = Tally(AttemptRepository(store, 0), 0, 0), asyncio.Event()
    await tally.load()
    if second:
        await tally.begin(0, PROCESS_DIED_READING)
    note = AttemptRepository.note

    async def slow(self: AttemptRepository, *given: Any, **named: Any) -> None:
        await note(self, *given, **named)
        committed.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(AttemptRepository, "note", slow)

    async def work() -> None:
        try:
            await tally.begin(7, PROCESS_DIED)
        except asyncio.CancelledError:
            await tally.leave()
            raise

    task = asyncio.create_task(work())
    await committed.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await AttemptRepository(store, 0).of(0) == {}


@pytest.mark.parametrize("failed_before", [False, True])
async def test_a_thawed_owner_takes_back_its_own_count_alone(store: Store, failed_before: bool) -> None:
    """Its successor stands at the same offset, and counts on from what the frozen one left."""
    await Applier(store).claim(0)
    if failed_before:
        await AttemptRepository(store, 0).note((0, 0), Failure("KeyError", 1))
    frozen, successor = (Tally(AttemptRepository(store, 0), 0, 0) for _ in range(2))
    await frozen.load()
    await frozen.begin(0, PROCESS_DIED_READING)
    await successor.load()
    await successor.begin(0, PROCESS_DIED_READING)
    await frozen.end()
    assert await AttemptRepository(store, 0).of(0) == {0: Failure(PROCESS_DIED_READING, 2 + failed_before)}


async def test_asking_whom_the_store_refuses_parses_nothing_that_is_aside_unread(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record in hand is among the suspects, and its bytes would kill the process again."""
    parsed = []

    def load(value: bytes) -> AnyRecord:
        parsed.append(value)
        return load_record(value)

    monkeypatch.setattr(logged_event, "load_record", load)
    await Applier(store).claim(0)
    lone = a_record(store, 0, asyncio.Lock(), [0])
    lone._aside = {(0, 0): UNREAD}
    assert await lone._takes([0])
    assert not parsed
