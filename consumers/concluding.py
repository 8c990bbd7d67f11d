"""What a decided event leaves behind: its receipt, its rows, the order as it made it; or, of a repeat, a count."""

from __future__ import annotations

from enum import IntEnum

from consumers.details import take_details
from consumers.ledger import Ledger
from consumers.ledger_entries import Receipt
from consumers.lifecycle import Decision, Situation, follow
from consumers.logged_event import LoggedEvent
from consumers.verdict_rows import Ruling, lies_outside, verdict_rows
from schemas.verdicts import ReceiptState, Verdict


class Effect(IntEnum):
    """What a verdict did to its order, as far as waiting events depend on it."""

    NONE = 0
    MOVED = 1
    """Its status or fulfilment is another."""
    RENAMED = 2
    """It was announced, or its parties are others."""


def absorb(ledger: Ledger, logged: LoggedEvent, receipt: Receipt) -> None:
    """A repeat: counted, no row."""
    ledger.changes.repeats += 1
    if logged.content == receipt.content_digest:
        receipt.repeats += 1
        ledger.changes.receipts.add(logged.receipt_key)
    else:
        ledger.changes.reused.append((logged, True))


def conclude(
    ledger: Ledger, logged: LoggedEvent, receipt: Receipt, situation: Situation, decision: Decision, verdict: Verdict
) -> Effect:
    """Writes a final verdict into order, details, receipt and trail; what it did to the order."""
    before = situation.order
    after, steps = follow(situation, decision)
    ruling = Ruling(verdict, decision.reason, after, steps)
    ledger.append_all(verdict_rows(ledger, logged, situation, ruling))
    is_foreign = lies_outside(situation, ruling)
    receipt.state = ReceiptState.FINAL
    receipt.verdict, receipt.reason = verdict, decision.reason
    receipt.foreign, receipt.decided_ms = is_foreign, ledger.watermark_ms
    receipt.from_status = None if is_foreign or before is None else before.status
    receipt.to_status = None if is_foreign or after is None else after.status
    receipt.revision = 0 if after is None else after.revision
    ledger.changes.receipts.add(logged.receipt_key)
    ledger.changes.ahead_of_cancelled += decision.ahead_of_cancelled
    if after is None or verdict is Verdict.REJECTED:
        return Effect.NONE
    if after is not before:
        ledger.orders[logged.order_key] = after
        ledger.changes.orders.add(logged.order_key)
    take_details(ledger, logged, after)
    if before is None or before.parties != after.parties:
        ledger.changes.renamed.add(logged.order_key)
        return Effect.RENAMED
    return Effect.NONE if (before.status, before.fulfilment) == (after.status, after.fulfilment) else Effect.MOVED
