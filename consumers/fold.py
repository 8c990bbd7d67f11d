"""One record in, rows out: how the received log becomes the trail. Pure; the store is somewhere else.

The order of things for each record is fixed. The watermark takes the record's log time if that is later. Holds whose
deadline it has reached expire, in (deadline, offset) order. Then the record itself is decided by the verdict table. If
it announced its order or changed its parties, the order's held events are decided again in log order, and again from
the start after each one that changes the parties itself. All of it depends on nothing but the ledger and the record,
so any batch size, any crash and any owner give the same rows.
"""

from __future__ import annotations

import orjson

from consumers.ledger import HOLDS_PER_SOURCE, Details, HeldEvent, Ledger, Receipt
from consumers.lifecycle import Decision, OrderState, Situation, decide, follow
from consumers.logged_event import LoggedEvent, OrderKey
from consumers.verdict_rows import Ruling, lies_outside, verdict_rows
from schemas.details import MAX_DETAILS_BYTES, MAX_EXTERNAL_IDS, fill_missing, merge_patch
from schemas.events import OrderAmended, OrderPlaced
from schemas.records import TickRecord
from schemas.verdicts import Reason, ReceiptState, Verdict


def fold(ledger: Ledger, log_ms: int, logged: LoggedEvent | TickRecord) -> None:
    """Takes one record of the log into the ledger. Records come in offset order, each once."""
    ledger.watermark_ms = max(ledger.watermark_ms, log_ms)
    while (held := ledger.next_due()) is not None:
        _settle(ledger, held, may_wait=False)
    if isinstance(logged, LoggedEvent):
        _take_in(ledger, logged)


def _take_in(ledger: Ledger, logged: LoggedEvent) -> None:
    receipt = ledger.receipts.get(logged.receipt_key)
    source = logged.record.source
    may_wait = source.hold_ms > 0 and ledger.held_by_source[source.uid] < HOLDS_PER_SOURCE
    situation = _situation(ledger, logged, receipt, may_wait=may_wait, is_new=True)
    decision = decide(situation)
    if decision.verdict is Verdict.DUPLICATE and receipt is not None:
        _absorb(ledger, logged, receipt)
        return
    ledger.changes.arrivals.append(logged)
    if decision.reason is Reason.EVENT_ID_REUSED and receipt is not None:
        receipt.reused.add(logged.content)
        ledger.changes.reused.append((logged, False))
        ledger.append_all(verdict_rows(ledger, logged, situation, Ruling(Verdict.REJECTED, decision.reason)))
        return
    if receipt is None:
        receipt = Receipt(
            order_id=logged.record.order_id,
            source_uid=source.uid,
            event_id=logged.record.event_id,
            first_offset=logged.offset,
            first_received_ms=logged.log_ms,
            last_offset=logged.offset,
            content_digest=logged.content,
        )
        ledger.receipts[logged.receipt_key] = receipt
    receipt.last_offset = logged.offset
    if decision.verdict is None:
        ledger.hold(HeldEvent(logged, ledger.watermark_ms + source.hold_ms))
        receipt.state, receipt.foreign = ReceiptState.HELD, True
        receipt.verdict = receipt.reason = receipt.from_status = receipt.to_status = receipt.decided_ms = None
        ledger.changes.receipts.add(logged.receipt_key)
        return
    if _conclude(ledger, logged, receipt, situation, decision, decision.verdict):
        _reconsider(ledger, logged.order_key)


def _absorb(ledger: Ledger, logged: LoggedEvent, receipt: Receipt) -> None:
    """A repeat: counted, no row."""
    ledger.changes.repeats += 1
    if logged.content == receipt.content_digest:
        receipt.repeats += 1
        ledger.changes.receipts.add(logged.receipt_key)
    else:
        ledger.changes.reused.append((logged, True))


def _reconsider(ledger: Ledger, key: OrderKey) -> None:
    """Decides an order's held events again, in log order, until none of them changes the parties any more."""
    changed = True
    while changed:
        changed = any(_settle(ledger, held, may_wait=True) for held in ledger.held_of(key))


def _settle(ledger: Ledger, held: HeldEvent, *, may_wait: bool) -> bool:
    """Decides a held event again; whether the order's parties changed by it. One that must wait on stays as it is."""
    receipt = ledger.receipts[held.logged.receipt_key]
    situation = _situation(ledger, held.logged, receipt, may_wait=may_wait, is_new=False)
    decision = decide(situation)
    if decision.verdict is None:
        return False
    ledger.release(held.logged.offset)
    return _conclude(ledger, held.logged, receipt, situation, decision, decision.verdict)


def _situation(
    ledger: Ledger, logged: LoggedEvent, receipt: Receipt | None, *, may_wait: bool, is_new: bool
) -> Situation:
    return Situation(
        workspace=logged.record.workspace,
        order_id=logged.record.order_id,
        event=logged.record.event,
        source=logged.record.source,
        order=ledger.orders.get(logged.order_key),
        offset=logged.offset,
        received_ms=logged.log_ms,
        first_offset=logged.offset if receipt is None else receipt.first_offset,
        content_digest=logged.content,
        attempt=receipt.as_attempt() if receipt is not None and is_new else None,
        may_wait=may_wait,
        too_large=_is_too_large(_offered_details(ledger, logged)),
    )


def _conclude(
    ledger: Ledger,
    logged: LoggedEvent,
    receipt: Receipt,
    situation: Situation,
    decision: Decision,
    verdict: Verdict,
) -> bool:
    """Writes a final verdict into order, details, receipt and trail; whether the order's parties changed."""
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
        return False
    if after is not before:
        ledger.orders[logged.order_key] = after
        ledger.changes.orders.add(logged.order_key)
    _take_details(ledger, logged, after)
    is_renamed = before is None or before.parties != after.parties
    if is_renamed:
        ledger.changes.renamed.add(logged.order_key)
    return is_renamed


def _offered_details(ledger: Ledger, logged: LoggedEvent) -> Details | None:
    """The order's details as they would be with this announcement or amendment; None for any other event."""
    event = logged.record.event
    if not isinstance(event, OrderPlaced | OrderAmended):
        return None
    present = ledger.details.get(logged.order_key, Details())
    external_ids = present.external_ids.union(event.external_ids)
    if present.erased:
        return Details(present.content, present.erased, external_ids)
    merge = merge_patch if isinstance(event, OrderAmended) else fill_missing
    return Details(merge(present.content, event.details), present.erased, external_ids)


def _is_too_large(offered: Details | None) -> bool:
    if offered is None:
        return False
    return len(offered.external_ids) > MAX_EXTERNAL_IDS or len(orjson.dumps(offered.content)) > MAX_DETAILS_BYTES


def _take_details(ledger: Ledger, logged: LoggedEvent, after: OrderState) -> None:
    offered = _offered_details(ledger, logged)
    if offered is None or not after.names(logged.record.source):
        return
    key, present = logged.order_key, ledger.details.get(logged.order_key, Details())
    ledger.changes.external_ids.update((key[0], new, key[1]) for new in offered.external_ids - present.external_ids)
    if offered.content != present.content:
        ledger.changes.details.add(key)
    ledger.details[key] = offered
