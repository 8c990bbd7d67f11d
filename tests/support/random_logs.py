"""Random received logs: several orders, all roles, odd times, retries, repeats, foreign and early events, ticks."""

from __future__ import annotations

from random import Random

from backbone.eventlog.port import LogRecord
from schemas.events import FactEvent, OrderAmended
from schemas.records import ApplicableRecord, EventRecord, OperatorRecord, TickRecord
from schemas.statuses import OrderStatus, Role
from schemas.times import TimeMark
from tests.support.received import START_MS, Timed, event_record, logged, placed, source, status, tick

_SOURCES = (
    source(Role.PLATFORM),
    source(Role.MARKETPLACE, "m1"),
    source(Role.RESTAURANT, "r1", hold_ms=5_000),
    source(Role.RESTAURANT, "r2", hold_ms=5_000),
    source(Role.COURIER, "c1", hold_ms=20_000),
    source(Role.COURIER, "c2", hold_ms=0),
    source(Role.OPERATOR, uid="operator", hold_ms=0),
    source(Role.RESTAURANT, "r1", uid="strict-kitchen", policy="strict", ahead_hold_ms=2_000),
    source(Role.MARKETPLACE, "m1", uid="strict-marketplace", policy="strict", ahead_hold_ms=9_000),
    source(Role.COURIER, "c1", uid="strict-courier", policy="strict", hold_ms=5_000, ahead_hold_ms=0),
)


def random_log(seed: int, *, records: int = 300, orders: int = 12) -> list[LogRecord]:
    """A log of one partition. The same seed gives the same log."""
    rng = Random(seed)
    made: list[Timed] = []
    after_ms = 0
    for number in range(records):
        after_ms = max(0, after_ms + rng.choice([0, 0, 1, 3, 50, 800, -20]))
        made.append((random_record(rng, number, after_ms, orders, made), after_ms))
    return logged(made)


def random_record(
    rng: Random, number: int, after_ms: int, orders: int, made: list[Timed]
) -> ApplicableRecord | TickRecord:
    """Something that a source, an operator or the partition's owner may append after what was made so far."""
    draw = rng.random()
    earlier = [record for record, _ in made if isinstance(record, EventRecord | OperatorRecord)]
    if draw < 0.05:
        return tick()
    if draw < 0.2 and earlier:
        return rng.choice(earlier)
    order_id = f"order-{rng.randrange(orders)}"
    by = rng.choice(_SOURCES)
    event_id = f"event-{number}" if rng.random() < 0.9 or not earlier else rng.choice(earlier).event_id
    if by.role is Role.OPERATOR or draw < 0.75:
        claimed = rng.choice([None, (START_MS + after_ms + rng.randrange(-9000, 3000)) * 1000, -1_041_337_172_130_000])
        return event_record(order_id, status(rng.choice(list(OrderStatus)), claimed), by, event_id=event_id)
    parties = {"restaurant": rng.choice(["r1", "r2"]), "courier": rng.choice(["c1", "c2"])}
    if draw < 0.85:
        return event_record(order_id, placed(**parties), by, event_id=event_id)
    if draw < 0.93:
        amended = OrderAmended.model_validate(
            {
                "parties": rng.choice([parties, {}, {"courier": None}]),
                "fulfilment": rng.choice([None, "pickup", "own_delivery"]),
                "details": rng.choice([{}, {"remarks": f"n{number}"}, {"remarks": None}]),
                "external_ids": (f"ext-{number}",),
                "occurred_mark": TimeMark.MISSING,
            }
        )
        return event_record(order_id, amended, by, event_id=event_id)
    return event_record(order_id, FactEvent(code="courier_assigned"), by, event_id=event_id)
