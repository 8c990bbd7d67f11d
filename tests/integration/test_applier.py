"""The applier on both databases, held against the in-memory model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import orjson
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.eventlog.port import LogRecord
from backbone.store.engine import Store
from backbone.store.tables import (
    event_payloads,
    held_events,
    order_details,
    order_external_ids,
    order_parties,
    orders,
    receipts,
    trail,
)
from consumers.applier import Applier
from consumers.ledger import Ledger
from consumers.ledger_writing import write_changes
from consumers.order_rows import ORDER_COLUMNS, order_state
from schemas.errors import LogGap, PartitionLost, RecordUnknown
from tests.support.model import apply_all
from tests.support.random_logs import random_log
from tests.support.received import event_record, logged, placed, source, status
from tests.support.stores import store

__all__ = ["store"]


async def apply_in_batches(store: Store, log: Sequence[LogRecord], sizes: Random) -> None:
    """Applies the log with random batch sizes, every batch by an applier that knows nothing of the one before."""
    start = (await Applier(store).claim(0)).next
    while start < len(log):
        size = sizes.choice([1, 2, 7, 50, 1000])
        applied = await Applier(store).apply(0, log[start : start + size], start=start, published=0)
        start = applied.next


async def stored_rows(store: Store) -> list[tuple[object, ...]]:
    """All trail rows with their hashes, by seq."""
    async with store.reading() as connection:
        rows = await connection.execute(select(trail).order_by(trail.c.seq))
        return [(row.seq, row.order_id, row.verdict, row.reason, row.to_status, bytes(row.hash)) for row in rows]


def model_rows(ledger: Ledger) -> list[tuple[object, ...]]:
    """The same of the model."""
    return [(row.seq, row.order_id, row.verdict, row.reason, row.to_status, h) for row, h in ledger.changes.rows]


@pytest.mark.parametrize("seed", range(6))
async def test_any_batches_give_the_models_rows_and_hashes(store: Store, seed: int) -> None:
    """Random logs in random batches end in byte-identical trails, orders, holds, receipts and details."""
    log = random_log(seed)
    model = apply_all(log)
    await apply_in_batches(store, log, Random(seed + 1000))
    assert await stored_rows(store) == model_rows(model)
    async with store.reading() as connection:
        order_rows = (await connection.execute(select(*(orders.c[name] for name in ORDER_COLUMNS)))).fetchall()
        states = {(row.workspace, row.order_id): order_state(tuple(row)) for row in order_rows}
        assert states == model.orders
        held = (await connection.execute(select(held_events.c.offset, held_events.c.deadline_ms))).fetchall()
        assert {tuple(row) for row in held} == {(offset, h.deadline_ms) for offset, h in model.held.items()}
        found = (await connection.execute(select(receipts))).fetchall()
        assert {
            (r.digest, r.state, r.verdict, r.reason, r.from_status, r.to_status, r.repeats, r.revision, r.last_offset)
            for r in found
        } == {
            (key[1], r.state, r.verdict, r.reason, r.from_status, r.to_status, r.repeats, r.revision, r.last_offset)
            for key, r in model.receipts.items()
        }
        kept = (await connection.execute(select(order_details.c.order_id, order_details.c.details))).fetchall()
        assert {row.order_id: orjson.loads(row.details) for row in kept} == {
            key[1]: model.details[key].content for key in model.changes.details
        }
        ids = (await connection.execute(select(order_external_ids))).fetchall()
        assert {(row.workspace, row.external_id, row.order_id) for row in ids} == model.changes.external_ids
        parties = (await connection.execute(select(order_parties))).fetchall()
        assert {(row.order_id, row.slot, row.party) for row in parties if not row.former} == {
            (key[1], slot, party) for key, order in model.orders.items() for slot, party in order.parties.items()
        }
        assert {(row.order_id, row.slot, row.party) for row in parties if row.former} == {
            (key[1], slot, party)
            for key, order in model.orders.items()
            for slot, gone in order.former.items()
            for party in gone
        }
        payloads = await connection.scalars(select(event_payloads.c.offset))
        assert set(payloads) == {logged.offset for logged in model.changes.arrivals}


async def test_two_workers_that_both_believe_one_commits(store: Store) -> None:
    """The same batch at the same time from two appliers: one commits, the other meets the fence and leaves no row."""
    log = random_log(7, records=120)
    await Applier(store).claim(0)
    results = await asyncio.gather(
        *(Applier(store).apply(0, log, start=0, published=0) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["Applied", "PartitionLost"]
    assert await stored_rows(store) == model_rows(apply_all(log))


async def test_a_stale_owner_writes_nothing(store: Store) -> None:
    """A worker that comes back with an old offset is refused, whatever it holds."""
    log = random_log(8, records=60)
    applier = Applier(store)
    await applier.claim(0)
    await applier.apply(0, log[:40], start=0, published=0)
    with pytest.raises(PartitionLost):
        await applier.apply(0, log[20:60], start=20, published=0)
    assert await stored_rows(store) == model_rows(apply_all(log[:40]))
    assert (await applier.cursor(0)).next == 40


async def test_a_gap_in_the_offsets_is_refused(store: Store) -> None:
    """Offsets that are not contiguous from the start are an error, and nothing is applied."""
    log = random_log(9, records=20)
    applier = Applier(store)
    await applier.claim(0)
    with pytest.raises(LogGap, match="expected offset 3, the log gave 4"):
        await applier.apply(0, [*log[:3], *log[4:]], start=0, published=0)
    assert (await applier.cursor(0)).next == 0


async def test_an_unknown_record_stops_the_batch_with_its_offset(store: Store) -> None:
    """A record kind from a later release is named by partition and offset; nothing of the batch is applied."""
    platform = source("platform")
    log = logged(
        [(event_record("1", placed(restaurant="r"), platform), 1), (event_record("1", status("READY"), platform), 2)]
    )
    later = LogRecord(0, 2, log[1].log_ms, None, b'{"kind":"archive","event_id":"x"}', ())
    applier = Applier(store)
    await applier.claim(0)
    with pytest.raises(RecordUnknown, match="partition 0, offset 2"):
        await applier.apply(0, [*log, later], start=0, published=0)
    assert await stored_rows(store) == []


async def test_a_held_event_does_not_carry_its_body(store: Store) -> None:
    """A waiting event is kept without the request's body, which lies with the payloads: holds stay cheap to load."""
    early = event_record("never", status("READY"), source("courier", "c1"))
    early = early.model_copy(update={"payload": "eHh4" * 50_000})
    applier = Applier(store)
    await applier.claim(0)
    await applier.apply(0, logged([(early, 1)]), start=0, published=0)
    async with store.reading() as connection:
        record = await connection.scalar(select(held_events.c.record))
        payload = await connection.scalar(select(event_payloads.c.payload))
    assert record is not None
    assert payload is not None
    assert len(record) < 1000
    assert len(payload) == 150_000


async def test_held_events_are_loaded_only_when_they_may_be_released(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another early event of the same order does not bring the ones before it back from the store."""
    courier = source("courier", "c1")
    log = logged([(event_record("never", status("READY"), courier), ms) for ms in (1, 2)])
    applier = Applier(store)
    await applier.claim(0)
    await applier.apply(0, log[:1], start=0, published=0)
    loaded: list[Ledger] = []
    monkeypatch.setattr("consumers.applier.write_changes", _remember(loaded))
    await applier.apply(0, log[1:], start=1, published=0)
    assert set(loaded[0].held) == {1}


def _remember(ledgers: list[Ledger]) -> Callable[[AsyncConnection, Ledger], Awaitable[None]]:
    async def write(connection: AsyncConnection, ledger: Ledger) -> None:
        ledgers.append(ledger)
        await write_changes(connection, ledger)

    return write
