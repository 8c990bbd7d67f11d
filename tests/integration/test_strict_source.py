"""A strict source from its definition to its verdicts: events that skip a status wait, and are refused at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from backbone.store.engine import Store
from backbone.store.secrets import SecretBox
from backbone.store.sources import NewSource, SourceRepository
from backbone.store.tables import admin_acts, held_events, trail
from consumers.applier import Applier
from schemas.errors import DefinitionInvalid
from schemas.events import StatusEvent
from schemas.records import EventRecord, SourceStamp, load_record
from schemas.statuses import OrderStatus, Policy, Role
from schemas.times import TimeMark
from service.dialects.port import ParsedEvent
from service.ingress.stamping import stamp
from tests.support.received import event_record, logged, placed, source, status, tick
from tests.support.stores import KEYS, store

__all__ = ["store"]
PLATFORM = source("platform")
STRICT = source("restaurant", "r1", policy=Policy.STRICT, ahead_hold_ms=1000)


@pytest.fixture
def repository(store: Store) -> SourceRepository:
    """The sources of an empty store."""
    return SourceRepository(store, SecretBox.parse(KEYS), now_ms=lambda: 1)


async def test_a_strict_source_is_kept_and_stamped(repository: SourceRepository, store: Store) -> None:
    """Policy and hold come back from the store, stand in the audit trail, and ride on every record."""
    new = NewSource(name="k", role=Role.RESTAURANT, policy=Policy.STRICT, ahead_hold_ms=1234)
    made, _ = await repository.add(new, actor="anna")
    (kept,) = await repository.all()
    assert (kept.policy, kept.ahead_hold_ms) == (made.policy, made.ahead_hold_ms) == (Policy.STRICT, 1234)
    async with store.reading() as connection:
        detail = await connection.scalar(select(admin_acts.c.detail))
    assert orjson.loads(detail or "")["ahead_hold_ms"] == 1234
    assert stamp_of(kept) == (Policy.STRICT, 1234)
    assert stamp_of(replace(kept, hold_ms=0, ahead_hold_ms=0)) == (Policy.STRICT, 0)


def stamp_of(kept: Any) -> tuple[Policy, int]:
    """Policy and ahead hold as a record carries them."""
    event = StatusEvent(status=OrderStatus.READY, occurred_mark=TimeMark.MISSING)
    (stamped,) = stamp([ParsedEvent("o1", "e1", event)], kept, b"{}", partitions=1)
    record = load_record(stamped.record.value)
    assert isinstance(record, EventRecord)
    by: SourceStamp = record.source
    return by.policy, by.ahead_hold_ms


async def test_a_hold_beyond_its_limits_is_refused(repository: SourceRepository) -> None:
    """Neither negative nor longer than 30 days."""
    for wrong in (-1, 31 * 24 * 3600 * 1000):
        with pytest.raises(DefinitionInvalid, match="ahead hold"):
            await repository.add(NewSource(name="k", role=Role.RESTAURANT, ahead_hold_ms=wrong), actor="anna")


async def test_what_skips_a_status_waits_for_it_batch_by_batch(store: Store) -> None:
    """Each record in a transaction of its own: the hold is found again when the order moves, whoever moves it."""
    applier = Applier(store)
    await applier.claim(0)
    log = logged(
        [
            (event_record("1", placed(restaurant="r1"), PLATFORM), 0),
            (event_record("1", status("READY"), STRICT), 10),
            (event_record("1", status("COOKING"), STRICT), 20),
            (event_record("1", status("ACCEPTED_BY_RESTAURANT"), PLATFORM), 30),
        ]
    )
    held = []
    for record in log:
        await applier.apply(0, [record], start=record.offset, published=0)
        async with store.reading() as connection:
            held.append(sorted(await connection.scalars(select(held_events.c.kind))))
    assert held == [[], ["ahead"], ["ahead", "ahead"], []]
    async with store.reading() as connection:
        rows = await connection.execute(
            select(trail.c.offset, trail.c.verdict, trail.c.to_status).order_by(trail.c.seq)
        )
        assert [tuple(row) for row in rows] == [
            (0, "applied", "NEW"),
            (3, "applied", "ACCEPTED_BY_RESTAURANT"),
            (2, "applied", "COOKING"),
            (1, "applied", "READY"),
        ]


async def test_at_its_deadline_it_is_refused(store: Store) -> None:
    """The statuses between did not come: `skipped_status`, and the order stays where it is."""
    applier = Applier(store)
    await applier.claim(0)
    log = logged(
        [
            (event_record("1", placed(restaurant="r1"), PLATFORM), 0),
            (event_record("1", status("READY"), STRICT), 10),
            (tick(), 1009),
            (tick(), 1010),
        ]
    )
    counts = []
    for record in log:
        applied = await applier.apply(0, [record], start=record.offset, published=0)
        counts.append((applied.held, applied.released))
    assert counts == [(0, 0), (1, 0), (0, 0), (0, 1)]
    async with store.reading() as connection:
        row = (await connection.execute(select(trail).order_by(trail.c.seq.desc()).limit(1))).one()
    assert (row.verdict, row.reason, row.to_status) == ("rejected", "skipped_status", "NEW")
