"""How a decision changes an order, and which steps enter the trail.

`follow` takes the order, the situation and the decision, and returns the order after it with the steps: one step an
applied status (those passed over are inferred), none when nothing moved. Details are not kept here: they are personal
data and decide nothing (`consumers.fold` merges them).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from consumers.lifecycle.machine import correct, walk
from consumers.lifecycle.state import RANK, OrderState, PassedBy, Situation, Undone
from consumers.lifecycle.table import Decision
from schemas.events import OrderAmended
from schemas.statuses import FULL_CHAIN, PARTY_SLOTS, Fulfilment, OrderStatus, Role
from schemas.verdicts import Verdict


class Step(NamedTuple):
    """One status entered. `inferred`: passed over, no webhook of its own."""

    from_status: OrderStatus | None
    to_status: OrderStatus
    inferred: bool


def follow(s: Situation, decision: Decision) -> tuple[OrderState | None, tuple[Step, ...]]:
    """The order after the decision and the steps it took. Pure; the same order object when nothing changed."""
    order = s.order
    if decision.verdict is Verdict.APPLIED and order is None:
        return announce(s), (Step(None, OrderStatus.NEW, inferred=False),)
    if order is None or decision.verdict in (None, Verdict.REJECTED, Verdict.DUPLICATE):
        return order, ()
    steps: tuple[Step, ...] = ()
    event = s.event
    if decision.verdict is Verdict.APPLIED and event.type == "status":
        order, steps = _move(order, s, event.status)
    elif event.type == "amendment":
        order = _amend(order, event)
    elif s.announces and s.source.role is not Role.OPERATOR:
        order = _fill(order, s)
    return _remember_report(order, s), steps


def announce(s: Situation) -> OrderState:
    """The order as its announcement makes it."""
    offered = _offered(s)
    return OrderState(
        workspace=s.workspace,
        order_id=s.order_id,
        status=OrderStatus.NEW,
        fulfilment=s.event.fulfilment if s.event.type == "announcement" else None,
        parties=offered,
        announced_ms=s.received_ms,
        placed_us=s.event.occurred_us,
        step_received_ms=s.received_ms,
        step_occurred_us=s.occurred_us,
        reported={OrderStatus.NEW: (s.source.uid,)},
    )


def _offered(s: Situation) -> dict[str, str]:
    """The parties an announcement names; a marketplace that announces is the order's marketplace."""
    named_now = s.event.parties if s.event.type == "announcement" else {}
    offered: dict[str, str] = {str(slot): party for slot, party in named_now.items()}
    if s.source.role is Role.MARKETPLACE:
        # ADR 0008, item 10. `_own_marketplace` in service/ingress/announcements.py refuses at the door what this would
        # have to replace; an announcement by status comes without it.
        own, named = s.source.parties, offered.get("marketplace")
        if named is None or (own is not None and named not in own):
            offered["marketplace"] = own[0] if own else s.source.name
    return offered


def _fill(order: OrderState, s: Situation) -> OrderState:
    """An announcement of a known order fills what is missing; a replaced party's fills nothing."""
    if not order.names(s.source):
        return order
    offered = _offered(s)
    missing = {slot: party for slot, party in offered.items() if slot not in order.parties}
    fulfilment = s.event.fulfilment if s.event.type == "announcement" else None
    if not missing and (order.fulfilment is not None or fulfilment is None):
        return order
    return _name_parties(order, {**missing})._replace(fulfilment=order.fulfilment or fulfilment)


def _amend(order: OrderState, event: OrderAmended) -> OrderState:
    amended = _name_parties(order, {str(slot): party for slot, party in event.parties.items()})
    return amended._replace(fulfilment=event.fulfilment or order.fulfilment, revision=order.revision + 1)


def _name_parties(order: OrderState, named: dict[str, str | None]) -> OrderState:
    """Parties named anew; those replaced become former ones, one that comes back is former no more."""
    parties, former = dict(order.parties), dict(order.former)
    for slot in PARTY_SLOTS:
        if slot not in named or named[slot] == parties.get(slot):
            continue
        old, new = parties.pop(slot, None), named[slot]
        gone = [party for party in former.get(slot, ()) if party not in (old, new)]
        if old is not None:
            gone.append(old)
        if new is not None:
            parties[slot] = new
        former[slot] = tuple(gone)
    return order._replace(parties=parties, former={slot: gone for slot, gone in former.items() if gone})


def _move(order: OrderState, s: Situation, target: OrderStatus) -> tuple[OrderState, tuple[Step, ...]]:
    revision, undone = order.revision, order.undone
    if s.source.role is Role.OPERATOR:
        correct(order.status, target, order.fulfilment)
        steps: tuple[Step, ...] = (Step(order.status, target, inferred=False),)
        revision, undone = revision + 1, _undone(order, target, Undone(s.offset, s.received_ms))
    else:
        steps = _steps(order.status, target, order.fulfilment)
    passer = PassedBy(s.offset, s.received_ms, s.source.uid, s.occurred_us)
    if target is OrderStatus.CANCELLED:
        passers, cancellation, before = order.passers, passer, order.status
    else:
        passers, cancellation, before = _passers(order, target, passer), None, None
    moved = order._replace(
        status=target,
        step_received_ms=s.received_ms,
        step_occurred_us=s.occurred_us,
        revision=revision,
        passers=passers,
        cancellation=cancellation,
        status_before_cancellation=before,
        undone=undone,
    )
    return moved, steps


@cache
def _steps(start: OrderStatus, target: OrderStatus, fulfilment: Fulfilment | None) -> tuple[Step, ...]:
    """The walk as steps: those passed over are inferred."""
    path = walk(start, target, fulfilment)
    return tuple(
        Step(here, there, inferred=there is not target) for here, there in zip((start, *path), path, strict=False)
    )


def _passers(order: OrderState, target: OrderStatus, passer: PassedBy) -> dict[OrderStatus, PassedBy]:
    """What passed which status, once the order stands at `target`."""
    reached = order.status_before_cancellation if order.status is OrderStatus.CANCELLED else order.status
    start, end = RANK[reached] if reached is not None else 0, RANK[target]
    passers = {status: by for status, by in order.passers.items() if RANK[status] < end}
    for status in FULL_CHAIN[start:end]:
        passers[status] = passer
    return passers


def _undone(order: OrderState, target: OrderStatus, by: Undone) -> Mapping[OrderStatus, Undone]:
    """The statuses an operator's move takes back: those beyond its target that had been reached."""
    reached = order.status
    undone = dict(order.undone)
    if reached is OrderStatus.CANCELLED:
        undone[OrderStatus.CANCELLED] = by
        reached = order.status_before_cancellation or OrderStatus.NEW
    if target is not OrderStatus.CANCELLED:
        for status in FULL_CHAIN[RANK[target] + 1 : RANK[reached] + 1]:
            undone[status] = by
    return undone


def _remember_report(order: OrderState, s: Situation) -> OrderState:
    """Which source has reported which status; row 9 asks for it when an event has no time."""
    if s.event.type != "status":
        return order
    known = order.reported.get(s.event.status, ())
    if s.source.uid in known:
        return order
    return order._replace(reported={**order.reported, s.event.status: (*known, s.source.uid)})
