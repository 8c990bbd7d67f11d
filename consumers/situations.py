"""An event beside what the ledger knows of its order and its event id: what the verdict table is asked about."""

from __future__ import annotations

from consumers.ledger import Ledger
from consumers.ledger_entries import Receipt
from consumers.lifecycle import Situation
from consumers.logged_event import LoggedEvent


def situation_of(
    ledger: Ledger, logged: LoggedEvent, *, may_wait: bool = True, may_wait_ahead: bool = True, too_large: bool = False
) -> Situation:
    """The event as the verdict table sees it. Row 1 is asked only where the receipt tells of another attempt.

    Merges, moves and measures nothing: without the last three it is enough for row 1 and for whose order it is.
    """
    record = logged.record
    receipt = ledger.receipts.get(logged.receipt_key)
    return Situation(
        workspace=record.workspace,
        order_id=record.order_id,
        event=record.event,
        source=record.source,
        order=ledger.orders.get(logged.order_key),
        offset=logged.offset,
        received_ms=logged.log_ms,
        first_offset=logged.offset if receipt is None else receipt.first_offset,
        content_digest=logged.content,
        attempt=None if receipt is None or receipt.is_of(logged) else receipt.as_attempt(),
        may_wait=may_wait,
        may_wait_ahead=may_wait_ahead,
        too_large=too_large,
    )


def new_receipt(ledger: Ledger, logged: LoggedEvent) -> Receipt:
    """The receipt of an event id that was never seen before."""
    record = logged.record
    receipt = Receipt(
        order_id=record.order_id,
        source_uid=record.source.uid,
        event_id=record.event_id,
        first_offset=logged.offset,
        first_received_ms=logged.log_ms,
        last_offset=logged.offset,
        content_digest=logged.content,
    )
    ledger.receipts[logged.receipt_key] = receipt
    return receipt
