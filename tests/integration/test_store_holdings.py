"""What the store says of data that could be erased, on both databases."""

from __future__ import annotations

import pytest

from backbone.store.engine import Store
from backbone.store.holdings import NOTHING, HoldingsReadings, classes_in
from backbone.store.next_offsets import next_offsets
from consumers.applier import Applier
from schemas.records import ApplicableRecord, Erasable, TickRecord, dump_record
from tests.support.received import event_record, logged, placed, source, status, tick
from tests.support.stores import store

__all__ = ["store"]

PLATFORM = source("platform")


async def apply(store: Store, *records: ApplicableRecord | TickRecord) -> None:
    """Applies records as one batch, a second apart."""
    await Applier(store).claim(0)
    log = logged([(record, 1000 * number) for number, record in enumerate(records)])
    await Applier(store).apply(0, log, start=0, published=0)


async def test_a_body_is_found_under_whichever_order_it_lies(store: Store) -> None:
    """One request told of three orders, its body lies with the first: whoever erases another one is told of that."""
    first = event_record("a", placed(restaurant="r1"), PLATFORM)
    behind = [
        event_record(order_id, placed(restaurant="r1"), PLATFORM).model_copy(
            update={"payload": None, "payload_digest": first.payload_digest}
        )
        for order_id in ("b", "c")
    ]
    alone = event_record("d", placed(restaurant="r1"), PLATFORM)
    moved = event_record("d", status("COOKING"), source("operator")).model_copy(update={"payload": None})
    await apply(store, first, *behind, alone, moved)
    readings = HoldingsReadings(store)
    assert await readings.carriers(["b"]) == {"a": {"b"}}
    assert await readings.carriers(["b", "c", "d"]) == {"a": {"b", "c"}}
    assert await readings.carriers(["a", "b"]) == {}
    assert await readings.carriers(["d"]) == {}
    assert await readings.carriers([]) == {}


async def test_what_is_known_and_what_is_held(store: Store) -> None:
    """An order, one of which events wait alone, one that was only refused, and one that nobody ever heard of."""
    waits, refused = source("courier", "c1"), source("restaurant", "r1", hold_ms=0)
    await apply(
        store,
        event_record("o1", placed(restaurant="r1"), PLATFORM),
        event_record("waits", status("DELIVERED", comment="at the door"), waits),
        event_record("refused", status("COOKING"), refused),
    )
    readings = HoldingsReadings(store)
    assert await readings.known(["o1", "waits", "refused", "nobody"]) == {"o1", "waits", "refused"}
    found = await readings.holdings(["o1", "waits", "refused", "nobody"])
    assert set(found) == {"o1", "waits", "refused"}
    assert found["waits"].as_document() == NOTHING.as_document() | {"bodies": 1, "notes": 1, "waiting": 1}
    assert found["waits"].has(Erasable.PERSONAL)
    assert not found["refused"].has(Erasable.PERSONAL)
    assert await next_offsets(store) == {0: 3}
    assert await readings.set_aside([(0, 1)]) == set()


async def test_what_is_left_from_before_a_record(store: Store) -> None:
    """Events that lie before it, decided or waiting; what came at or after its offset is not meant."""
    courier = source("courier", "c1")
    await apply(
        store,
        event_record("o1", placed(restaurant="r1"), PLATFORM),
        event_record("waits", status("DELIVERED", comment="at the door"), courier),
    )
    readings = HoldingsReadings(store)
    assert await readings.left_before({"o1": (0, 0), "waits": (0, 1)}) == {"o1": set(), "waits": set()}
    assert await readings.left_before({"o1": (0, 1), "waits": (0, 2)}) == {
        "o1": {Erasable.PAYLOADS},
        "waits": set(Erasable),
    }
    assert await readings.left_before({"o1": (1, 5)}) == {"o1": set()}, "an order lies in one partition"


async def test_many_orders_are_asked_for_in_portions(store: Store) -> None:
    """More than one statement takes; the answer is the same."""
    records = [event_record(f"o{number}", placed(restaurant="r1"), PLATFORM) for number in range(450)]
    await apply(store, *records)
    wanted = [f"o{number}" for number in range(450)]
    assert len(await HoldingsReadings(store).holdings(wanted)) == 450
    assert len(await HoldingsReadings(store).known(wanted)) == 450


@pytest.mark.parametrize(
    ("value", "classes"),
    [
        (dump_record(event_record("o", status("NEW"), PLATFORM)), {Erasable.PAYLOADS}),
        (b'{"kind":"event","salt":"","event":{"type":"status","comment":null,"attributes":[]}}', set()),
        (b'{"kind":"event","salt":"","event":{"type":"status","reason":"no cheese"}}', {Erasable.PERSONAL}),
        (b'{"kind":"event","event":{"type":"amendment","details":{},"external_ids":["X"]}}', {Erasable.PERSONAL}),
        (dump_record(tick()), set()),
        (b'{"kind":"replay","original":"e30="}', set(Erasable)),
        (b"no JSON", set(Erasable)),
        (b"[]", set(Erasable)),
    ],
)
def test_what_a_record_holds(value: bytes, classes: set[Erasable]) -> None:
    """By its members; what cannot be read may hold anything."""
    assert classes_in(value) == classes
