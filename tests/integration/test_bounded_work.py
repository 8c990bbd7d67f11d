"""What one record may set off is bounded, in the store as in the model: parked events, and holds that end at once."""

from __future__ import annotations

from random import Random

import pytest
from sqlalchemy import func, select

from backbone.store.engine import Store
from backbone.store.tables import held_events, trail
from consumers.applier import Applier
from tests.integration.test_dead_letters_applied import apply_in_batches, check_against
from tests.integration.test_runner import at_work, make_runner
from tests.support.logs import LogUnderTest, event_log
from tests.support.model import FAILURE, apply_all
from tests.support.received import event_record, logged, new_record, placed, replayed, source, status, tick
from tests.support.stores import store
from tests.support.troubled_logs import random_trouble
from tests.support.waiting import wait_until

__all__ = ["event_log", "store"]
PLATFORM = source("platform")
KITCHEN = source("restaurant", "r1")


@pytest.fixture(autouse=True)
def few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that short logs meet."""
    monkeypatch.setattr("consumers.deciding.HOLDS_PER_SOURCE", 3)
    monkeypatch.setattr("consumers.waiting.PARKED_PER_SOURCE", 2)
    for module in ("fold", "waiting_rows"):
        monkeypatch.setattr(f"consumers.{module}.EXPIRIES_PER_RECORD", 2)


@pytest.mark.parametrize("seed", range(100, 108))
async def test_any_batches_give_the_models_rows_where_limits_are_met(store: Store, seed: int) -> None:
    """Counts and holds are loaded as far as a batch needs them, and no further: whatever its size, one outcome."""
    trouble = random_trouble(Random(seed), records=220, orders=1 + seed % 5)
    log, aside = logged(trouble.log), dict.fromkeys(sorted(trouble.aside), FAILURE)
    await apply_in_batches(store, log, aside, Random(seed + 1000))
    await check_against(store, apply_all(log, aside=aside))


@pytest.mark.parametrize("sizes", [[1] * 17, [11, 2, 4], [17]], ids=str)
async def test_holds_that_leave_out_of_turn_make_place_for_others(store: Store, sizes: list[int]) -> None:
    """An announcement takes a due one, and a failure at its deadline parks another: the next in turn end instead."""
    day = 24 * 3_600_000
    early = [(event_record("a", status("COOKING"), KITCHEN), 0) for _ in range(3)]
    couriers = [source("courier", f"c{n}", hold_ms=day) for n in range(4)]
    later = [(event_record(by.name, status("DELIVERED"), by), 1) for by in couriers for _ in range(2)]
    announced = (event_record("a", placed(restaurant="r1"), PLATFORM), 2 * day)
    ticks = [(tick(), 2 * day + n) for n in range(1, 5)]
    again = (replayed(later[2][0], (13, 5), order="courier-c1"), 3 * day)
    log, aside = logged([*early, *later, announced, *ticks, again]), {(13, 5): FAILURE}
    model = apply_all(log, aside=aside)
    ended = [row.offset for row, _ in model.changes.rows if row.reason == "order_not_found"]
    assert (ended, sorted(model.dead_letters)) == ([0, 1, 3, 4, 7, 8, 9, 10], [(13, 5)])
    applier = Applier(store)
    start = (await applier.claim(0)).next
    for size in sizes:
        start = (await applier.apply(0, log[start : start + size], start=start, published=0, aside=aside)).next
    await check_against(store, model)


async def test_ticks_follow_at_once_while_holds_are_due(event_log: LogUnderTest, store: Store) -> None:
    """One tick ends so many; an idle partition's owner does not wait for its idle time with the rest."""
    couriers = [source("courier", f"c{n}", hold_ms=1_000) for n in range(3)]
    records = [event_record("a", status("DELIVERED"), by) for by in couriers for _ in range(3)]
    await event_log.log.append(event_log.received, [new_record(record) for record in records])

    async def all_ended() -> bool:
        async with store.reading() as connection:
            rows = await connection.scalar(select(func.count()).select_from(trail))
            return rows == len(records) and not await connection.scalar(select(func.count()).select_from(held_events))

    async with at_work(make_runner(event_log, store, idle_s=300.0)):
        await wait_until(all_ended, timeout=30.0, what="every hold to end")
