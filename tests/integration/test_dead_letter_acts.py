"""What `dead-letters replay` and `discard` tell of each act: the truth about where its event is now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backbone.store.dead_letters import DeadLetterReadings, PairId
from backbone.store.engine import Store
from backbone.store.tables import dead_letters
from consumers.lifecycle import Situation
from schemas.dead_letters import DeadLetterState
from schemas.records import AnyRecord
from service.cli.dead_letter_acts import Act, Done, Fate, act_on, choose
from service.cli.parts import Parts
from tests.integration.test_dead_letters import applied_to, worker
from tests.integration.test_runner import at_work
from tests.support.logs import LogUnderTest, started_log
from tests.support.poison import FaultyRelease
from tests.support.received import event_record, new_record, placed, source, status
from tests.support.stores import embedded_settings, migrated_sqlite, store
from tests.support.waiting import wait_until

__all__ = ["store"]
PLATFORM, KITCHEN = source("platform"), source("restaurant", "r1")
MANY = 12_000


@asynccontextmanager
async def working(data_dir: Path, *records: AnyRecord) -> AsyncIterator[Parts]:
    """A worker that has applied the records, in one partition, and goes on beside the block."""
    settings = embedded_settings(data_dir).model_copy(update={"partitions": 1})
    made = await migrated_sqlite(data_dir)
    log: LogUnderTest = await started_log(settings, partitions=1)
    try:
        await log.log.append(log.received, [new_record(record, partition=0) for record in records])
        async with at_work(worker(log, made)):
            await wait_until(lambda: applied_to(log, made), timeout=30.0, what="the log to be applied")
            yield Parts(settings, made)
    finally:
        await log.log.stop()
        await made.close()


def reports(situation: Situation, value: str) -> bool:
    """Whether it is about an event that reports this status."""
    return situation.event.type == "status" and situation.event.status == value


async def act(parts: Parts, pairs: list[PairId], what: Act = Act.REPLAY) -> list[Done]:
    """The act on the dead letters of these names, whatever their state was when they were chosen."""
    letters = await choose(DeadLetterReadings(parts.store), pairs, None, everything=False)
    return await act_on(parts, letters, what, why="test", actor="ann", wait_s=20.0)


async def test_a_replay_that_came_second_tells_where_the_event_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two shells chose the same dead letters; the first one's replay failed. The second did nothing, and says that the
    event is open, under the name that the first one gave it.
    """
    FaultyRelease(monkeypatch, lambda situation: reports(situation, "COOKING"))
    told = event_record("o1", placed(restaurant="r1"), PLATFORM), event_record("o1", status("COOKING"), KITCHEN)
    async with working(tmp_path, *told) as parts:
        chosen = await choose(DeadLetterReadings(parts.store), (), None, everything=True)
        shells = [
            await act_on(parts, chosen, what, why="test", actor="ann", wait_s=20.0)
            for what in (Act.REPLAY, Act.REPLAY, Act.DISCARD)
        ]
        assert [[one.fate for one in done] for done in shells] == [[Fate.SET_ASIDE_AGAIN]] * 3
        is_open, _ = await DeadLetterReadings(parts.store).page(state=DeadLetterState.OPEN)
        assert [one.again for done in shells for one in done] == [letter.pair for letter in is_open] * 3
        [closed] = await act(parts, [chosen[0].pair])
        assert (closed.fate, closed.offset) == (Fate.CLOSED_BEFORE, None)


async def test_what_fails_behind_a_replayed_event_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event was decided; another one, that had waited behind it, was set aside when it was let go."""
    poison = {"COOKING"}
    FaultyRelease(monkeypatch, lambda situation: any(reports(situation, value) for value in poison))
    told = [event_record("o1", placed(restaurant="r1"), PLATFORM)]
    told += [event_record("o1", status(value), KITCHEN) for value in ("COOKING", "READY", "CANCELLED", "READY")]
    async with working(tmp_path, *told) as parts:
        poison.clear()
        poison.add("CANCELLED")
        [done] = await act(parts, [PairId(0, 1, 1)])
        assert done.fate is Fate.REPLAYED
        assert done.again is None
        assert [str(other.pair) for other in done.others] == [f"0:{done.offset}:3"]
        poison.clear()
        [done] = await act(parts, [done.others[0].pair])
        assert (done.fate, done.others) == (Fate.REPLAYED, ())


async def test_thousands_are_read_in_pieces_and_without_their_bytes(store: Store) -> None:
    """More than one statement has parameters for; a list tells how large a record is, and does not hold it."""
    row = {
        "workspace": "default",
        "order_id": "o1",
        "event_id": "e1",
        "state": "open",
        "parks": "order",
        "source_uid": None,
        "digest": None,
        "content_digest": None,
        "received_ms": 1,
        "set_aside_ms": 1,
        "error": "TypeError",
        "attempts": 3,
        "partition": 0,
    }
    rows = [
        {**row, "in_hand_offset": n, "event_offset": n, "seq": n + 1, "record": None if n == 1 else b"\x00" * (n % 9)}
        for n in range(MANY)
    ]
    async with store.transaction() as connection:
        for start in range(0, MANY, 1000):
            await connection.execute(dead_letters.insert(), rows[start : start + 1000])
    readings = DeadLetterReadings(store)
    pairs = [PairId(0, n, n) for n in range(MANY)]
    found = await readings.several([*pairs, PairId(0, 1, 2)])
    assert len(found) == MANY
    assert [found[PairId(0, n, n)].record_bytes for n in (0, 1, 8)] == [0, None, 8]
    assert len(await readings.still_open([(0, n) for n in range(MANY)])) == MANY
    assert len(await readings.set_aside_under([(0, n) for n in range(MANY)])) == MANY
    assert len(await readings.records(pairs)) == MANY - 1
    assert (await readings.record(pairs[8]), await readings.record(pairs[1])) == (b"\x00" * 8, None)
