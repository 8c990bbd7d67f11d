"""How an event begins to wait, and of which kind: for its order, for the steps before it, or behind a dead letter."""

from __future__ import annotations

from consumers.ledger import PARKED_PER_SOURCE, Ledger
from consumers.ledger_entries import HeldEvent, HoldKind, Receipt
from consumers.lifecycle import Decision, Situation, decide
from consumers.lifecycle.table import same_event_again
from consumers.logged_event import LoggedEvent
from consumers.setting_aside import scope_of
from consumers.situations import new_receipt, situation_of
from schemas.dead_letters import Parks
from schemas.verdicts import Reason, ReceiptState, Verdict


def has_room_to_park(ledger: Ledger, logged: LoggedEvent) -> bool:
    """Whether a new event may be parked. Strangers have one room together, so they can take nobody's whose order it is.

    Copies count: nobody can tell a copy before it is released.
    """
    parked = ledger.parked_by_source.get(logged.order_key)
    if parked is None:
        return True
    is_stranger = scope_of(situation_of(ledger, logged)) is Parks.SOURCE
    return (parked.total() if is_stranger else parked[logged.record.source.uid]) < PARKED_PER_SOURCE


def turn_away(situation: Situation) -> Decision:
    """What becomes of an event that finds no room to be parked; the situation must say that it may not wait.

    A stranger is told what it would be told of an order that does not exist.
    """
    if scope_of(situation) is Parks.SOURCE:
        return decide(situation)
    return same_event_again(situation) or Decision(row=0, verdict=Verdict.REJECTED, reason=Reason.TOO_LARGE)


def queue(ledger: Ledger, logged: LoggedEvent) -> None:
    """A new event waits behind a dead letter. Row 1 meets it when it is released, so a receipt stays as it is."""
    ledger.changes.arrivals.append(logged)
    if logged.receipt_key not in ledger.receipts:
        receipt = new_receipt(ledger, logged)
        receipt.reset(ReceiptState.HELD, foreign=situation_of(ledger, logged).foreign)
        ledger.changes.receipts.add(logged.receipt_key)
    ledger.hold(HeldEvent(_without_body(logged), None, HoldKind.PARKED))


def wait(ledger: Ledger, logged: LoggedEvent, receipt: Receipt, decision: Decision) -> None:
    """There is no verdict yet. A replayed event waits on behind other dead letters of its order."""
    kind, source = kind_of(decision), logged.record.source
    length_ms = source.ahead_hold_ms if kind is HoldKind.AHEAD else source.hold_ms
    deadline_ms: int | None = ledger.watermark_ms + length_ms
    if ledger.is_parked(logged.order_key, source.uid):
        kind, deadline_ms = HoldKind.PARKED, None
    ledger.hold(HeldEvent(_without_body(logged), deadline_ms, kind))
    receipt.reset(ReceiptState.HELD, foreign=decision.row == 2)
    ledger.changes.receipts.add(logged.receipt_key)


def kind_of(decision: Decision) -> HoldKind:
    """What a decision without a verdict makes an event wait for."""
    return HoldKind.FOREIGN if decision.row == 2 else HoldKind.AHEAD


def _without_body(logged: LoggedEvent) -> LoggedEvent:
    """Waiting events are kept without the request's body, which lies with the payloads."""
    if logged.record.payload is None:
        return logged
    return logged._replace(record=logged.record.model_copy(update={"payload": None}))
