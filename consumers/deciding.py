"""One event decided, and what follows from it for the others of its order.

Everything here is a generator: before an event is decided its offset is yielded, so that whoever suspects an event of
killing the process can count the try first. What the ledger has changed by then belongs to the decisions before.

`arrive` decides an event that comes out of the log, or waits no more behind a dead letter. If it changed its order,
`reconsider` decides the order's waiting events again. The order of that is fixed, since the trail depends on it: after
every change those of strict sources go first, by the status that they report; then, if the parties changed, those that
waited for their order, in log order, and from the start after each one that changes the parties itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator

from consumers.concluding import Effect, absorb, conclude
from consumers.details import is_too_large
from consumers.ledger import HOLDS_PER_SOURCE, Ledger
from consumers.ledger_entries import HeldEvent, HoldKind
from consumers.lifecycle import decide
from consumers.lifecycle.state import RANK
from consumers.logged_event import LoggedEvent, OrderKey
from consumers.setting_aside import InHand, set_aside_event
from consumers.situations import new_receipt, situation_of
from consumers.verdict_rows import Ruling, verdict_rows
from consumers.waiting import has_room_to_park, kind_of, queue, turn_away, wait
from schemas.verdicts import Reason, Verdict

Steps = Generator[int, None, None]
"""Yields the offset of each event just before it is decided."""


def arrive(ledger: Ledger, hand: InHand, logged: LoggedEvent, *, is_new: bool = True) -> Steps:
    """Takes an event through the whole table: one of the log (`is_new`), or one that was set aside or parked.

    A new one waits where its order is parked, or is turned away where too many do. One that is not new never ends for
    want of room to wait: that it had to come again is our fault.
    """
    ledger.deciding = logged.offset
    yield logged.offset
    failure = hand.failure_of(logged.offset)
    if failure is not None:
        set_aside_event(ledger, hand, logged, failure)
        return
    source = logged.record.source
    is_turned_away = is_new and ledger.is_parked(logged.order_key, source.uid)
    if is_turned_away and has_room_to_park(ledger, logged):
        queue(ledger, logged)
        return
    has_arrived = logged.offset in ledger.held
    if has_arrived:
        ledger.release(logged.offset)
    receipt = ledger.receipts.get(logged.receipt_key)
    has_room = not is_new or (not is_turned_away and ledger.held_by_source[source.uid] < HOLDS_PER_SOURCE)
    situation = situation_of(
        ledger,
        logged,
        may_wait=has_room and source.hold_ms > 0,
        may_wait_ahead=has_room and source.ahead_hold_ms > 0,
        too_large=is_too_large(ledger, logged),
    )
    decision = turn_away(situation) if is_turned_away else decide(situation)
    if decision.verdict is Verdict.DUPLICATE and receipt is not None:
        absorb(ledger, logged, receipt)
        return
    if not has_arrived:
        ledger.changes.arrivals.append(logged)
    if decision.reason is Reason.EVENT_ID_REUSED and receipt is not None:
        receipt.reused.add(logged.content)
        ledger.changes.reused.append((logged, False))
        ledger.append_all(verdict_rows(ledger, logged, situation, Ruling(Verdict.REJECTED, decision.reason)))
        return
    if receipt is None:
        receipt = new_receipt(ledger, logged)
    receipt.last_offset = logged.offset
    if decision.verdict is None:
        wait(ledger, logged, receipt, decision)
        return
    effect = conclude(ledger, logged, receipt, situation, decision, decision.verdict)
    if effect is not Effect.NONE and ledger.is_awaited(logged.order_key):
        yield from reconsider(ledger, hand, logged.order_key, effect)


def expire(ledger: Ledger, hand: InHand, held: HeldEvent) -> Steps:
    """Decides a held event at its deadline: it is refused, or set aside, and waits no more either way."""
    yield from _settle(ledger, hand, held, may_wait=False)


def reconsider(ledger: Ledger, hand: InHand, key: OrderKey, effect: Effect) -> Steps:
    """Decides an order's waiting events again after it changed, until none of them changes it any more."""
    strangers: deque[HeldEvent] = deque()
    while True:
        if effect is Effect.RENAMED:
            strangers = deque(ledger.held_of(key, HoldKind.FOREIGN))
        if effect is not Effect.NONE:
            effect = yield from _settle_until_moved(ledger, hand, _in_chain_order(ledger, key))
        elif strangers:
            held = strangers.popleft()
            if ledger.waits(held):
                effect = yield from _settle(ledger, hand, held, may_wait=True)
        else:
            return


def _settle_until_moved(ledger: Ledger, hand: InHand, waiting: list[HeldEvent]) -> Generator[int, None, Effect]:
    for held in waiting:
        if ledger.waits(held):
            effect = yield from _settle(ledger, hand, held, may_wait=True)
            if effect is not Effect.NONE:
                return effect
    return Effect.NONE


def _in_chain_order(ledger: Ledger, key: OrderKey) -> list[HeldEvent]:
    """The order's events that are ahead: by the status they report, those of one status in log order."""
    ahead = ledger.held_of(key, HoldKind.AHEAD)
    ahead.sort(key=_rank)
    return ahead


def _rank(held: HeldEvent) -> int:
    event = held.logged.record.event
    return RANK[event.status] if event.type == "status" else 0


def _settle(ledger: Ledger, hand: InHand, held: HeldEvent, *, may_wait: bool) -> Generator[int, None, Effect]:
    """Decides a held event again, and tells what that did to the order. One that must wait on keeps its deadline."""
    logged = held.logged
    ledger.deciding = logged.offset
    yield logged.offset
    failure = hand.failure_of(logged.offset)
    if failure is not None:
        set_aside_event(ledger, hand, logged, failure)
        return Effect.NONE
    receipt = ledger.receipts[logged.receipt_key]
    is_ahead = held.kind is HoldKind.AHEAD
    may_wait_ahead = may_wait and (is_ahead or logged.record.source.ahead_hold_ms > 0)
    situation = situation_of(
        ledger, logged, may_wait=may_wait, may_wait_ahead=may_wait_ahead, too_large=is_too_large(ledger, logged)
    )
    decision = decide(situation)
    if decision.verdict is None:
        if kind_of(decision) is not held.kind:
            wait(ledger, logged, receipt, decision)
        return Effect.NONE
    ledger.release(logged.offset)
    return conclude(ledger, logged, receipt, situation, decision, decision.verdict)
