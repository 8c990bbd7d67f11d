"""Readings on both databases: what each sight shows, in which order."""

from typing import Any

import pytest
from sqlalchemy import text

from backbone.store.engine import Store
from backbone.store.readings import SEES_ALL, Readings, Sight
from backbone.store.tables import event_payloads, held_events
from schemas.errors import MalformedEvent
from schemas.events import AnyEvent, FactEvent
from schemas.outcomes import Outcome
from schemas.records import SourceStamp, dump_record
from schemas.statuses import Role
from schemas.times import TimeMark
from tests.support.chains import DAY_ONE_MS, trail_row, write_offsets, write_order, write_trail
from tests.support.received import event_record, source, status
from tests.support.stores import store

__all__ = ["store"]

KITCHEN = Sight(Role.RESTAURANT, ("r1",), "k1")
STRANGER = Sight(Role.RESTAURANT, ("r9",), "k9")
COURIERS = Sight(Role.COURIER, ("c1", "c2"), "c")
EVERY_KITCHEN = Sight(Role.RESTAURANT, None, "k0")


@pytest.fixture
def readings(store: Store) -> Readings:
    """Readings of the default workspace."""
    return Readings(store)


async def test_an_order_with_everything(store: Store, readings: Readings) -> None:
    """All parts of an order come together from their tables."""
    await write_order(
        store,
        "o1",
        parties={"restaurant": "r1", "courier": "c2"},
        former={"courier": ["c1"]},
        external_ids=("x2", "x1"),
        details='{"total":"12.50"}',
        fulfilment="delivery",
        placed_us=5,
    )
    async with store.transaction() as connection:
        await connection.execute(text("""UPDATE orders SET former = '{"courier":["c1"]}'"""))
    order = await readings.order("o1")
    assert order is not None
    assert (order.status, order.updated_ms, order.announced_ms) == ("COOKING", DAY_ONE_MS + 5, DAY_ONE_MS)
    assert (order.restaurant, order.courier, order.marketplace) == ("r1", "c2", None)
    assert (order.fulfilment, order.placed_us, order.details) == ("delivery", 5, {"total": "12.50"})
    assert (order.external_ids, order.former) == (("x1", "x2"), {"courier": ["c1"]})


async def test_an_order_without_details_has_none(store: Store, readings: Readings) -> None:
    """Nothing announced, nothing shown; and an unknown order is None."""
    await write_order(store, "o1")
    order = await readings.order("o1")
    assert order is not None
    assert (order.details, order.external_ids, order.former) == ({}, (), {})
    assert await readings.order("o2") is None


@pytest.mark.parametrize(
    ("sight", "seen"),
    [
        (SEES_ALL, True),
        (KITCHEN, True),
        (STRANGER, False),
        (EVERY_KITCHEN, True),
        (Sight(Role.RESTAURANT, (), "k"), False),
        (Sight(Role.RESTAURANT, ("c1",), "k"), False),
        (COURIERS, True),
        (Sight(Role.COURIER, ("c0",), "former"), True),
        (Sight(Role.MARKETPLACE, ("r1",), "m"), False),
        (Sight(Role.PLATFORM, None, "p"), True),
        (Sight(Role.OPERATOR, None, None), True),
    ],
)
async def test_who_sees_an_order(store: Store, readings: Readings, sight: Sight, seen: bool) -> None:
    """The slot of the role decides, former parties included; order, history and list agree."""
    await write_order(store, "o1", parties={"restaurant": "r1", "courier": "c1"}, former={"courier": ["c0"]})
    await write_trail(store, [trail_row(0, 1)])
    assert (await readings.order("o1", sight) is not None) is seen
    assert (await readings.history("o1", sight) is not None) is seen
    assert [order.order_id for order in (await readings.orders(sight=sight))[0]] == ["o1"] * seen
    items, _ = await readings.changes({}, sight=sight)
    assert len(items) == seen


async def test_history_is_the_orders_own(store: Store, readings: Readings) -> None:
    """Oldest first, with the sender's words on its own row, without foreign attempts and other orders."""
    await write_order(store, "o1")
    rows = [
        trail_row(0, 1, offset=0, inferred=True, reported_status=None),
        trail_row(0, 2, offset=0),
        trail_row(0, 3, order_id="o2"),
        trail_row(0, 4, foreign=True, verdict="rejected", reason="not_your_order"),
        trail_row(0, 5, offset=4, verdict="rejected", reason="illegal_transition", occurred_us=None),
    ]
    await write_trail(store, rows)
    async with store.transaction() as connection:
        payload: dict[str, Any] = {"workspace": "default", "partition": 0, "order_id": "o1", "attributes": "[]"}
        await connection.execute(
            event_payloads.insert().values(payload | {"offset": 0, "comment": "hot", "cancel_reason": "why"})
        )
    entries = await readings.history("o1")
    assert entries is not None
    assert [(entry.seq, entry.comment, entry.cancel_reason) for entry in entries] == [
        (1, None, None),
        (2, "hot", "why"),
        (5, None, None),
    ]
    last = entries[-1]
    assert (last.verdict, last.reason, last.from_status, last.to_status) == (
        "rejected",
        "illegal_transition",
        "NEW",
        "COOKING",
    )
    assert (last.event_id, last.source, last.role, last.partition) == ("e5", "kitchen", "restaurant", 0)
    assert (last.received_ms, last.decided_ms, last.occurred_us) == (DAY_ONE_MS + 5, DAY_ONE_MS + 5, None)
    assert len(last.hash) == 64
    assert await readings.history("o9") is None


async def _pages(readings: Readings, limit: int, **wanted: Any) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        orders, cursor = await readings.orders(cursor=cursor, limit=limit, **wanted)
        pages.append([order.order_id for order in orders])
        if cursor is None:
            return pages


async def _many(store: Store) -> None:
    """o00 … o11, two announced at each moment; couriers c1, c2, and c3 everywhere as a former one of c1."""
    for n in range(12):
        courier = "c1" if n % 2 else "c2"
        await write_order(
            store,
            f"o{n:02}",
            DAY_ONE_MS + n // 2,
            parties={"restaurant": "r1" if n < 6 else "r2", "courier": courier},
            former={"courier": ["c1" if n % 2 == 0 else "c3"]},
            external_ids=("shared",) if n in {3, 8} else (),
            status="COOKING" if n % 3 else "READY",
        )


NEWEST_FIRST = [f"o{n:02}" for n in reversed(range(12))]


@pytest.mark.parametrize("limit", [1, 5, 12, 50])
@pytest.mark.parametrize(
    "sight",
    [
        SEES_ALL,
        COURIERS,
        Sight(Role.COURIER, ("c1",), "c"),
        Sight(Role.COURIER, tuple(f"c{n}" for n in range(60)), "c"),
    ],
)
async def test_pages_are_stable_and_complete(store: Store, readings: Readings, limit: int, sight: Sight) -> None:
    """Whatever the page size and the way to the orders: all of them once, the last announced first."""
    await _many(store)
    pages = await _pages(readings, limit, sight=sight)
    assert [order_id for page in pages for order_id in page] == NEWEST_FIRST
    assert all(len(page) == limit for page in pages[:-1])


async def test_orders_announced_meanwhile_shift_no_page(store: Store, readings: Readings) -> None:
    """The second page goes on where the first one ended."""
    await _many(store)
    first, cursor = await readings.orders(limit=4)
    await write_order(store, "o99", DAY_ONE_MS + 99)
    second, _ = await readings.orders(limit=4, cursor=cursor)
    assert [order.order_id for order in first + second] == NEWEST_FIRST[:8]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"status": "READY"}, ["o09", "o06", "o03", "o00"]),
        ({"restaurant": "r1", "status": "READY"}, ["o03", "o00"]),
        ({"courier": "c1"}, ["o11", "o09", "o07", "o05", "o03", "o01"]),
        ({"courier": "c3"}, []),
        ({"courier": "c1", "restaurant": "r2"}, ["o11", "o09", "o07"]),
        ({"external_id": "shared"}, ["o08", "o03"]),
        ({"external_id": "shared", "courier": "c1"}, ["o03"]),
        ({"external_id": "none"}, []),
        ({"marketplace": "m"}, []),
        ({"sight": KITCHEN}, ["o05", "o04", "o03", "o02", "o01", "o00"]),
        ({"sight": KITCHEN, "external_id": "shared"}, ["o03"]),
        ({"sight": KITCHEN, "courier": "c2"}, ["o04", "o02", "o00"]),
        ({"sight": KITCHEN, "restaurant": "r2"}, []),
        ({"sight": COURIERS, "status": "READY"}, ["o09", "o06", "o03", "o00"]),
        ({"sight": STRANGER}, []),
    ],
)
async def test_filters_narrow_what_is_seen(
    store: Store, readings: Readings, wanted: dict[str, Any], expected: list[str]
) -> None:
    """Filters are about the parties of now; sight is about former ones too."""
    await _many(store)
    assert [order_id for page in await _pages(readings, 2, **wanted) for order_id in page] == expected


@pytest.mark.parametrize(
    "cursor", ["", "x", "!!!!", "W10", "bnVsbA", "WzEsMl0", "WyJhIiwiYiJd", "é", "WzEsIlx1MDAwMCJd"]
)
async def test_a_cursor_that_was_not_given_is_malformed(readings: Readings, cursor: str) -> None:
    """Not an error of ours, and not the first page."""
    with pytest.raises(MalformedEvent, match="cursor"):
        await readings.orders(cursor=cursor)


async def _three_partitions(store: Store) -> None:
    await write_order(store, "o1", parties={"restaurant": "r1"})
    await write_order(store, "o2", parties={"restaurant": "r2"})
    await write_trail(store, [trail_row(0, n, order_id=f"o{1 + n % 2}") for n in range(1, 11)])
    await write_trail(store, [trail_row(1, n, foreign=n == 2) for n in range(1, 4)])
    async with store.transaction() as connection:
        await write_offsets(connection, 2, 0)


async def test_changes_are_outcome_documents_in_order(store: Store, readings: Readings) -> None:
    """Small pages from every position to the heads: each row once, in order in its partition, as published."""
    await _three_partitions(store)
    assert await readings.heads() == {0: 10, 1: 3, 2: 0}
    seen: list[tuple[int, int]] = []
    positions: dict[int, int] = {}
    while True:
        items, following = await readings.changes(positions, limit=3)
        assert len(items) <= 3
        for item in items:
            Outcome.model_validate(item)
        seen += [(item["partition"], item["seq"]) for item in items]
        if following == positions:
            break
        positions = following
    assert positions == {0: 10, 1: 3, 2: 0}
    assert sorted(seen) == [(0, n) for n in range(1, 11)] + [(1, n) for n in range(1, 4)]
    assert [seq for partition, seq in seen if partition == 0] == list(range(1, 11))


async def test_a_limited_sight_moves_on_over_what_it_may_not_see(
    store: Store, readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets its own orders' rows, no foreign attempts, and still reaches the heads in bounded steps."""
    monkeypatch.setattr("backbone.store.readings.SCAN_LIMIT", 4)
    await _three_partitions(store)
    seen: list[tuple[int, int]] = []
    positions: dict[int, int] = {}
    for _ in range(10):
        items, positions = await readings.changes(positions, sight=KITCHEN, limit=50)
        seen += [(item["partition"], item["seq"]) for item in items]
    assert positions == {0: 10, 1: 3, 2: 0}
    assert seen == [(0, 2), (0, 4), (1, 1), (1, 3), (0, 6), (0, 8), (0, 10)]
    items, positions = await readings.changes({}, sight=STRANGER, limit=50)
    assert (items, positions) == ([], {0: 4, 1: 3, 2: 0})


async def test_positions_beyond_the_head_stay(store: Store, readings: Readings) -> None:
    """A position from elsewhere neither fails nor goes back."""
    await _three_partitions(store)
    items, positions = await readings.changes({0: 10, 1: 3, 7: 5, 2: 99})
    assert (items, positions) == ([], {0: 10, 1: 3, 2: 99, 7: 5})


async def test_events_that_wait_are_seen_by_the_operator(store: Store, readings: Readings) -> None:
    """Who reported what, and until when it waits; of this order alone, oldest first."""
    kitchen, riders = source("restaurant", "r1", uid="k"), source("courier", "c1", uid="c")
    fact = FactEvent(code="eta", occurred_mark=TimeMark.MISSING)
    waiting: list[tuple[str, AnyEvent, SourceStamp, int | None]] = [
        ("o1", status("READY"), kitchen, 900),
        ("o1", fact, riders, None),
        ("o2", status("NEW"), kitchen, 1),
    ]
    async with store.transaction() as connection:
        for offset, (order_id, event, by, deadline_ms) in enumerate(waiting):
            record = event_record(order_id, event, by)
            await connection.execute(
                held_events.insert().values(
                    workspace="default",
                    partition=0,
                    offset=offset,
                    order_id=order_id,
                    source_uid=by.uid,
                    digest=record.receipt_digest,
                    kind="foreign",
                    deadline_ms=deadline_ms,
                    received_ms=100 + offset,
                    record=dump_record(record),
                )
            )
    first, second = await readings.held("o1")
    assert (first.source, first.role, first.event_type, first.reported_status) == ("k", "restaurant", "status", "READY")
    assert (first.received_ms, first.until_ms) == (100, 900)
    assert (second.source, second.event_type, second.reported_status, second.until_ms) == ("c", "fact", None, None)
    assert (first.fact, second.fact) == (None, "eta")
    assert await readings.held("o3") == []
