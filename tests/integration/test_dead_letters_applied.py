"""Dead letters, strict holds and erasure in the store: on both databases, held against the in-memory model."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import orjson
import pytest
from sqlalchemy import select

from backbone.eventlog.port import LogRecord
from backbone.store.engine import Store
from backbone.store.tables import (
    attempts,
    dead_letters,
    event_payloads,
    held_events,
    offsets,
    order_details,
    order_external_ids,
    orders,
    receipts,
    trail,
)
from consumers import applier as applying
from consumers.applier import Applier
from consumers.dead_letter import Aside, DeadLetter, Failure
from consumers.ledger import Ledger
from consumers.order_rows import ORDER_COLUMNS, order_state
from schemas.errors import PartitionLost, StoreUnavailable
from schemas.records import Erasable, dump_record
from tests.support.model import apply_all
from tests.support.received import (
    discarded,
    erased,
    event_record,
    logged,
    placed,
    replayed,
    source,
    status,
)
from tests.support.stores import store
from tests.support.troubled_logs import troubled_log

__all__ = ["store"]
PLATFORM = source("platform")
KITCHEN = source("restaurant", "r1")


async def apply_in_batches(store: Store, log: Sequence[LogRecord], aside: Aside, sizes: Random) -> None:
    """Applies the log with random batch sizes, every batch by an applier that knows nothing of the one before."""
    start = (await Applier(store).claim(0)).next
    while start < len(log):
        size = sizes.choice([1, 1, 2, 7, 50, 1000])
        batch = log[start : start + size]
        applied = await Applier(store).apply(0, batch, start=start, published=0, aside=aside)
        start = applied.next


async def check_against(store: Store, model: Ledger) -> None:
    """Everything that the store has is what the model has: trail, heads, orders, receipts, holds, dead letters."""
    async with store.reading() as connection:
        rows = await connection.execute(select(trail.c.seq, trail.c.hash).order_by(trail.c.seq))
        assert [(row.seq, bytes(row.hash)) for row in rows] == [(row.seq, h) for row, h in model.changes.rows]
        head = (await connection.execute(select(offsets))).one()
        assert (head.seq, bytes(head.hash), head.watermark_ms, head.dead_seq) == (
            model.seq,
            model.hash,
            model.watermark_ms,
            model.dead_seq,
        )
        order_rows = (await connection.execute(select(*(orders.c[name] for name in ORDER_COLUMNS)))).fetchall()
        assert {(row.workspace, row.order_id): order_state(tuple(row)) for row in order_rows} == model.orders
        assert {row.order_id: row.parked for row in order_rows} == {
            key[1]: model.is_parked(key) for key in model.orders
        }
        found = (await connection.execute(select(receipts))).fetchall()
        assert {
            (r.digest, r.state, r.verdict, r.reason, r.from_status, r.to_status, r.repeats, r.last_offset, r.foreign)
            for r in found
        } == {
            (key[1], r.state, r.verdict, r.reason, r.from_status, r.to_status, r.repeats, r.last_offset, r.foreign)
            for key, r in model.receipts.items()
        }
        held = (await connection.execute(select(held_events))).fetchall()
        assert {(h.offset, h.kind, h.deadline_ms, h.content_digest, bytes(h.record)) for h in held} == {
            (offset, h.kind.value, h.deadline_ms, h.logged.content, dump_record(h.logged.record))
            for offset, h in model.held.items()
        }
        letters = (await connection.execute(select(dead_letters))).mappings().fetchall()
        names = ("seq", "order_id", "event_id", "state", "parks", "source_uid", "digest", "content_digest", "record")
        times = ("received_ms", "set_aside_ms", "error", "attempts")
        assert {
            (row["in_hand_offset"], row["event_offset"]): tuple(row[name] for name in names + times) for row in letters
        } == {
            pair: tuple(getattr(letter, name) for name in names + times) for pair, letter in model.dead_letters.items()
        }
        details = (await connection.execute(select(order_details))).fetchall()
        assert {row.order_id: (orjson.loads(row.details), row.erased) for row in details} == {
            key[1]: (model.details[key].content, model.details[key].erased) for key in model.changes.details
        }
        ids = (await connection.execute(select(order_external_ids))).fetchall()
        assert {(row.workspace, row.external_id, row.order_id) for row in ids} == model.changes.external_ids


@pytest.mark.parametrize("seed", range(8))
async def test_any_batches_give_the_models_rows(store: Store, seed: int) -> None:
    """Random logs with pairs set aside, replays, discards and erasures, in random batches: one outcome, to the byte."""
    log, aside = troubled_log(seed)
    await apply_in_batches(store, log, aside, Random(seed + 1000))
    await check_against(store, apply_all(log, aside=aside))


def test_the_random_logs_hold_what_they_are_for() -> None:
    """Every kind of hold and dead letter occurs, replayed, discarded, and set aside for the second time."""
    letters: list[DeadLetter] = []
    kinds: set[str] = set()
    reasons: set[str | None] = set()
    for seed in range(8):
        log, aside = troubled_log(seed)
        model = apply_all(log, aside=aside)
        letters += list(model.dead_letters.values())
        kinds |= {held.kind.value for held in model.held.values()}
        reasons |= {row.reason for row, _ in model.changes.rows}
    assert kinds >= {"foreign", "parked"}
    assert reasons >= {"skipped_status", "order_not_found", "discarded"}
    assert {letter.state.value for letter in letters} == {"open", "replayed", "discarded"}
    assert {letter.parks.value for letter in letters} == {"order", "source", "nothing"}
    assert any(letter.in_hand_offset > letter.event_offset for letter in letters)
    assert any(letter.record is None for letter in letters)


async def test_setting_aside_forgets_what_was_counted(store: Store) -> None:
    """The transaction that passes the offset deletes its counts, and nothing of later offsets."""
    log = logged([(event_record("1", placed(restaurant="r1"), PLATFORM), 1)])
    applier = Applier(store)
    await applier.claim(0)
    async with store.transaction() as connection:
        for offset in (0, 1):
            row = {"partition": 0, "in_hand_offset": offset, "event_offset": 0, "attempts": 3, "error": "KeyError"}
            await connection.execute(attempts.insert().values(row))
    await applier.apply(0, log, start=0, published=0, aside={(0, 0): Failure("KeyError", 3)})
    async with store.reading() as connection:
        assert list(await connection.scalars(select(attempts.c.in_hand_offset))) == [1]
        letter = (await connection.execute(select(dead_letters))).one()
    assert (letter.seq, letter.state, letter.error, letter.attempts, letter.parks) == (
        1,
        "open",
        "KeyError",
        3,
        "order",
    )


async def test_a_claim_counts_until_the_offset_moves_or_is_let_go(store: Store) -> None:
    """Owners that are never heard of again add up; a commit and an orderly leave begin anew, a stale leave does not."""
    applier = Applier(store)
    assert [(await applier.claim(0)).claims for _ in range(3)] == [1, 2, 3]
    await applier.let_go(0, 0)
    assert (await applier.claim(0)).claims == 1
    await applier.apply(0, logged([(event_record("1", placed(), PLATFORM), 1)]), start=0, published=0)
    assert (await applier.cursor(0)).claims == 0
    await applier.claim(0)
    await applier.let_go(0, 0)
    assert (await applier.cursor(0)).claims == 1


async def test_an_erasure_empties_what_came_before_it(store: Store) -> None:
    """Payloads, salts, comments and reasons go; what comes after the erasure, in the same batch too, stays."""
    told = status("COOKING", comment="ring twice", reason="late")
    log = logged(
        [
            (event_record("1", placed(restaurant="r1"), PLATFORM), 1),
            (event_record("1", told, KITCHEN), 2),
            (event_record("2", status("READY", comment="another order"), KITCHEN), 3),
            (erased("1"), 4),
            (event_record("1", status("READY", comment="afterwards"), KITCHEN), 5),
        ]
    )
    applier = Applier(store)
    await applier.claim(0)
    await applier.apply(0, log, start=0, published=0)
    async with store.reading() as connection:
        rows = (await connection.execute(select(event_payloads).order_by(event_payloads.c.offset))).fetchall()
    assert [(row.payload is None, row.salt is None, row.comment, row.cancel_reason) for row in rows] == [
        (True, True, None, None),
        (True, True, None, None),
        (False, False, "another order", None),
        (False, False, "afterwards", None),
    ]


async def test_an_erasure_of_one_class_leaves_the_other(store: Store) -> None:
    """Payloads alone: the words that people wrote stay."""
    log = logged(
        [
            (event_record("1", placed(restaurant="r1"), PLATFORM), 1),
            (event_record("1", status("COOKING", comment="ring twice"), KITCHEN), 2),
            (erased("1", Erasable.PAYLOADS), 3),
        ]
    )
    applier = Applier(store)
    await applier.claim(0)
    await applier.apply(0, log, start=0, published=0)
    async with store.reading() as connection:
        row = (await connection.execute(select(event_payloads).where(event_payloads.c.offset == 1))).one()
    assert (row.payload, row.salt, row.comment) == (None, None, "ring twice")


async def test_a_discarded_event_is_rejected_and_a_replayed_one_decided(store: Store) -> None:
    """Through the store: set aside, the order parked, its next event waiting; then the acts, each in its own batch."""
    first, second = event_record("1", status("COOKING"), KITCHEN), event_record("1", status("READY"), KITCHEN)
    third = event_record("1", status("DELIVERED"), PLATFORM)
    log = logged(
        [
            (event_record("1", placed(restaurant="r1"), PLATFORM), 1),
            (first, 2),
            (second, 3),
            (third, 4),
            (replayed(first, (1, 1), order="1"), 5),
            (discarded((4, 2), order="1"), 6),
        ]
    )
    aside = {(1, 1): Failure("KeyError", 3), (4, 2): Failure("TypeError", 3)}
    applier = Applier(store)
    await applier.claim(0)
    parked = []
    for record in log:
        await applier.apply(0, [record], start=record.offset, published=0, aside=aside)
        async with store.reading() as connection:
            parked.append(await connection.scalar(select(orders.c.parked)))
    assert parked == [False, True, True, True, True, False]
    async with store.reading() as connection:
        rows = await connection.execute(select(trail.c.offset, trail.c.verdict, trail.c.reason).order_by(trail.c.seq))
        assert [tuple(row) for row in rows if not (row.offset == 3 and row.verdict != "applied")][:3] == [
            (0, "applied", None),
            (1, "applied", None),
            (1, "applied", None),
        ]
    await check_against(store, _model(log, aside))


def _model(log: Sequence[LogRecord], aside: Aside) -> Ledger:
    model = apply_all(log, aside=set(aside))
    for pair, letter in model.dead_letters.items():
        letter.error, letter.attempts = aside[pair]
    return model


async def test_a_stale_owner_sets_nothing_aside(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dead letter stands behind the fence and goes with the rows: not without them, and not for who lost it."""
    log = logged([(event_record("1", placed(restaurant="r1"), PLATFORM), n) for n in range(2)])
    aside = {(0, 0): Failure("KeyError", 3)}
    applier = Applier(store)
    await applier.claim(0)

    async def fail(*_: object) -> None:
        raise StoreUnavailable("the store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(applying, "write_head", fail)
        with pytest.raises(StoreUnavailable):
            await applier.apply(0, log[:1], start=0, published=0, aside=aside)
    await applier.apply(0, log, start=0, published=0)
    with pytest.raises(PartitionLost):
        await applier.apply(0, log[:1], start=0, published=0, aside=aside)
    async with store.reading() as connection:
        assert (await connection.execute(select(dead_letters))).fetchall() == []


async def test_parked_events_take_no_place_among_the_held(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """That they wait is our fault: a source may have as many others waiting as ever, counted anew in each batch."""
    monkeypatch.setattr("consumers.deciding.HOLDS_PER_SOURCE", 2)
    failing = event_record("1", status("COOKING"), KITCHEN)
    parked = [(event_record("1", status("READY"), KITCHEN), 3 + n) for n in range(3)]
    early = [(event_record(f"unknown-{n}", status("READY"), KITCHEN), 10 + n) for n in range(3)]
    log = logged([(event_record("1", placed(restaurant="r1"), PLATFORM), 1), (failing, 2), *parked, *early])
    applier = Applier(store)
    await applier.claim(0)
    for record in log:
        aside = {(1, 1): Failure("KeyError", 3)}
        await applier.apply(0, [record], start=record.offset, published=0, aside=aside)
    async with store.reading() as connection:
        kinds = await connection.scalars(select(held_events.c.kind).order_by(held_events.c.offset))
        assert list(kinds) == ["parked"] * 3 + ["foreign"] * 2
