"""A plan from a seed: short lives of a few orders, told out of order, on a bad day."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any, Literal

from schemas.records import SourceStamp
from schemas.statuses import OrderStatus, Policy, Role
from tests.simulation.plans import (
    Act,
    Deed,
    Effect,
    Event,
    Fault,
    Garbage,
    Jump,
    Move,
    Outage,
    Plan,
    Point,
    Poison,
    Post,
    Tick,
    Trouble,
)
from tests.support.received import source

SOURCES: tuple[SourceStamp, ...] = (
    source(Role.PLATFORM, hold_ms=4_000),
    source(Role.MARKETPLACE, "m1", hold_ms=4_000),
    source(Role.RESTAURANT, "r1", hold_ms=1_000),
    source(Role.RESTAURANT, "r2", hold_ms=5_000),
    source(Role.RESTAURANT, "r1", uid="kitchen", hold_ms=3_000, ahead_hold_ms=1_500, policy=Policy.STRICT),
    source(Role.COURIER, "c1", hold_ms=6_000),
    source(Role.COURIER, "c2", hold_ms=0),
    source(Role.OPERATOR, uid="operator", hold_ms=0),
)
_FITTING = {
    Role.RESTAURANT: (
        OrderStatus.ACCEPTED_BY_RESTAURANT,
        OrderStatus.COOKING,
        OrderStatus.READY,
        OrderStatus.CANCELLED,
    ),
    Role.COURIER: (OrderStatus.TAKEN_BY_COURIER, OrderStatus.DELIVERED),
}
"""What a role usually reports."""
_POINTS: dict[Point, tuple[int, tuple[Effect, ...]]] = {
    "statement": (100, ("crash", "freeze", "slow", "fail")),
    "commit": (10, ("crash", "freeze", "slow", "fail", "lose_answer", "late")),
    "committed": (9, ("crash", "freeze", "slow")),
    "append": (4, ("crash", "freeze", "slow", "fail", "lose_answer", "late")),
    "appended": (4, ("crash", "freeze")),
    "fetch": (9, ("crash", "freeze", "fail")),
    "bounds": (5, ("crash", "fail")),
}
"""Points with about how often a run reaches each, and what may happen there."""
_POISONS: tuple[tuple[Poison, int], ...] = (
    ("fails", 0),
    ("fails", 1),
    ("fails", 3),
    ("fails", 5),
    ("kills", 1),
    ("kills", 0),
    ("kills_reader", 1),
    ("kills_reader", 5),
    ("kills_reader", 0),
)
_LENGTHS_S = (0.05, 0.4, 1.5, 4.0, 8.0)


def make_plan(seed: int) -> Plan:
    """The plan of a seed; the same on every machine."""
    rng = Random(f"plan {seed}")
    workers, partitions = rng.choice((1, 2, 2, 2, 3)), rng.choice((1, 1, 2))
    length_s = rng.choice((1.0, 3.0, 6.0))
    orders = [f"o{rng.randrange(100)}" for _ in range(rng.choice((1, 2, 3)))]
    poison = rng.choice((0.0, 0.0, 0.12))
    posts = _posts(rng, length_s, orders, poison)
    deeds: list[Deed] = [*posts]
    for _ in range(rng.choice((0, 1, 2, 3))):
        near = max(0.0, rng.choice(posts).at + rng.uniform(-0.05, 0.02))  # trouble is where the work is
        at = near if rng.random() < 0.6 else rng.random() * length_s
        deeds.append(_trouble(rng, at, workers, partitions))
    deeds += [_control(rng, length_s, partitions, number) for number in range(rng.choice((0, 0, 1, 2)))]
    deeds += _acts(rng, length_s, orders, poison)
    faults = {}
    for _ in range(rng.choice((0, 1, 2, 4))):
        fault = _fault(rng)
        faults[fault.point, fault.nth] = fault
    return Plan(
        seed=seed,
        workers=workers,
        partitions=partitions,
        batch_size=rng.choice((1, 2, 3, 100)),
        skews_ms=tuple(rng.choice((0, 0, -30_000, -900, 700, 25_000)) for _ in range(workers)),
        afterwards=rng.choice(("replay", "discard", "")) if poison else "",
        deeds=tuple(sorted(deeds, key=lambda deed: deed.at)),
        faults=tuple(faults.values()),
    )


def _posts(rng: Random, length_s: float, orders: list[str], poison: float) -> list[Post]:
    posts: list[Post] = []
    bursts = rng.random() < 0.5
    for number in range(rng.randrange(4, 15)):
        at = rng.random() * length_s
        if bursts:
            at = round(at)
        if posts and rng.random() < 0.12:
            posts.append(Post(at=at, event=rng.choice(posts).event))
            continue
        event = _event(rng, f"e{number}", rng.choice(orders), at, posts)
        if rng.random() < poison:
            kind, times = rng.choice(_POISONS)
            event = replace(event, poison=kind, times=times)
        posts.append(Post(at=at, event=event))
    return posts


def _acts(rng: Random, length_s: float, orders: list[str], poison: float) -> list[Deed]:
    """What people do, and what nobody can read. Dead letters take their time to come about, so acts come late."""
    found: list[Deed] = []
    if rng.random() < 0.15:
        at, number = rng.random() * length_s, rng.choice((0, 0, 1, 2))
        found.append(Act(at=at, act="erase", order=rng.choice(orders), number=number))
    if rng.random() < 0.04 + poison:
        found.append(Garbage(at=rng.random() * length_s, order=rng.choice(orders)))
    for _ in range(rng.choice((1, 2, 3)) if poison else 0):
        act: Literal["replay", "discard"] = rng.choice(("replay", "replay", "discard"))
        found.append(Act(at=rng.random() * length_s + 1.0, act=act, number=rng.choice((0, 1))))
    return found


def _event(rng: Random, event_id: str, order: str, at: float, earlier: list[Post]) -> Event:
    if earlier and rng.random() < 0.06:
        event_id = rng.choice(earlier).event.id  # another content under a known id
    claimed = rng.choice((None, None, int(at * 1000) + rng.randrange(-4000, 500)))
    common: dict[str, Any] = {"id": event_id, "order": order, "occurred_ms": claimed}
    parties: dict[str, Any] = {"restaurant": rng.choice(("r1", "r1", "r2")), "courier": rng.choice(("c1", "c2", ""))}
    draw = rng.random()
    is_announced = any(post.event.order == order and post.event.what == "placed" for post in earlier)
    if draw < 0.1 or (draw < 0.45 and not is_announced):
        return Event(source=rng.choice((0, 0, 1, 2)), what="placed", **parties, **common)
    if draw < 0.2:
        return Event(source=rng.choice((0, 0, 7)), what="amended", **parties, **common)
    if draw < 0.25:
        return Event(source=rng.randrange(len(SOURCES) - 1), what="fact", **common)
    by = rng.randrange(len(SOURCES))
    fitting = _FITTING.get(SOURCES[by].role, tuple(OrderStatus))
    status = rng.choice(tuple(OrderStatus) if rng.random() < 0.2 else fitting)
    return Event(source=by, what="status", status=str(status), **common)


def _trouble(rng: Random, at: float, workers: int, partitions: int) -> Deed:
    for_s, worker = rng.choice(_LENGTHS_S), rng.randrange(workers)
    draw = rng.random()
    if draw < 0.4:
        believes_s = rng.choice((0.0, *_LENGTHS_S))
        return Move(at=at, partition=rng.randrange(partitions), worker=worker, believes_s=believes_s)
    if draw < 0.54:
        return Trouble(at=at, worker=worker, effect="crash", for_s=rng.choice((0.0, for_s)))
    if draw < 0.7:
        return Trouble(at=at, worker=worker, effect="freeze", for_s=for_s)
    if draw < 0.77:
        return Trouble(at=at, worker=worker, effect="stop", for_s=for_s)
    if draw < 0.92:
        return Outage(at=at, part=rng.choice(("log", "store")), for_s=for_s)
    return Jump(at=at, by_ms=rng.choice((900, 3_000, 20_000, -2_000)))


def _control(rng: Random, length_s: float, partitions: int, number: int) -> Deed:
    at, draw = rng.random() * length_s, rng.random()
    if draw < 0.6:
        return Tick(at=at, partition=rng.randrange(partitions), name=f"t{rng.choice((number, 0))}")
    return Jump(at=at, by_ms=rng.choice((900, 3_000, -900, -2_000)))


def _fault(rng: Random) -> Fault:
    point = rng.choice(tuple(_POINTS))
    most, effects = _POINTS[point]
    effect = rng.choice(effects)
    for_s = rng.choice(_LENGTHS_S)
    if effect == "crash":
        for_s = rng.choice((0.0, for_s))
    return Fault(point=point, nth=rng.randrange(1, most + 1), effect=effect, for_s=for_s)
