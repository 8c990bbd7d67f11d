"""One record in, rows out: how the received log becomes the trail. Pure; the store is somewhere else.

The order of things for each record is fixed. The watermark takes the record's log time if that is later. Holds whose
deadline it has reached expire, in (deadline, offset) order. Then the record itself is decided by the verdict table. If
it announced its order or changed its parties, the order's held events are decided again in log order, and again from
the start after each one that changes the parties itself. All of it depends on nothing but the ledger and the record,
so any batch size, any crash and any owner give the same rows.
"""

from __future__ import annotations

from base64 import b64decode

from consumers.ledger import HOLDS_PER_SOURCE, Details, HeldEvent, Ledger, LoggedEvent, OrderKey, Receipt
from consumers.lifecycle import Decision, OrderState, Situation, Step, decide, follow
from schemas.details import fill_missing, merge_patch
from schemas.events import OrderAmended, OrderPlaced, StatusEvent
from schemas.outcomes import TrailRow
from schemas.records import TickRecord, digest_event, load_record
from schemas.times import TimeMark
from schemas.verdicts import Reason, ReceiptState, Verdict


def read_event(offset: int, log_ms: int, value: bytes) -> LoggedEvent | TickRecord:
    """A record of the received log, parsed. Raises RecordUnknown for what this release does not know."""
    record = load_record(value)
    if isinstance(record, TickRecord):
        return record
    return LoggedEvent(offset=offset, log_ms=log_ms, record=record, content=digest_event(record.event), value=value)


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
        receipt.reused[logged.content] = (logged.offset, logged.offset, 0)
        ledger.changes.reused.add((*logged.receipt_key, logged.content))
        _write(ledger, logged, situation, decision, situation.order, ())
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
    if decision.held:
        ledger.hold(HeldEvent(logged, ledger.watermark_ms + source.hold_ms))
        receipt.state, receipt.foreign = ReceiptState.HELD, True
        receipt.verdict = receipt.reason = receipt.from_status = receipt.to_status = receipt.decided_ms = None
        ledger.changes.receipts.add(logged.receipt_key)
        return
    if _conclude(ledger, logged, receipt, situation, decision):
        _reconsider(ledger, logged.order_key)


def _absorb(ledger: Ledger, logged: LoggedEvent, receipt: Receipt) -> None:
    """A repeat: counted, no row."""
    ledger.changes.repeats += 1
    if logged.content == receipt.content_digest:
        receipt.repeats += 1
        ledger.changes.receipts.add(logged.receipt_key)
    else:
        first_offset, _, repeats = receipt.reused[logged.content]
        receipt.reused[logged.content] = (first_offset, logged.offset, repeats + 1)
        ledger.changes.reused.add((*logged.receipt_key, logged.content))


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
    if decision.held:
        return False
    ledger.release(held.logged.offset)
    return _conclude(ledger, held.logged, receipt, situation, decision)


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
    )


def _conclude(ledger: Ledger, logged: LoggedEvent, receipt: Receipt, situation: Situation, decision: Decision) -> bool:
    """Writes a final verdict into order, details, receipt and trail; whether the order's parties changed."""
    before = situation.order
    after, steps = follow(situation, decision)
    is_foreign = _write(ledger, logged, situation, decision, after, steps)
    receipt.state = ReceiptState.FINAL
    receipt.verdict, receipt.reason = decision.verdict, decision.reason
    receipt.foreign, receipt.decided_ms = is_foreign, ledger.watermark_ms
    receipt.from_status = None if is_foreign or before is None else before.status
    receipt.to_status = None if is_foreign or after is None else after.status
    receipt.epoch = 0 if after is None else after.epoch
    ledger.changes.receipts.add(logged.receipt_key)
    ledger.changes.ahead_of_cancelled += decision.ahead_of_cancelled
    if after is None or decision.verdict is Verdict.REJECTED:
        return False
    if after is not before:
        ledger.orders[logged.order_key] = after
        ledger.changes.orders.add(logged.order_key)
    _take_details(ledger, logged, before, after)
    is_renamed = before is None or before.parties != after.parties
    if is_renamed:
        ledger.changes.renamed.add(logged.order_key)
    return is_renamed


def _take_details(ledger: Ledger, logged: LoggedEvent, before: OrderState | None, after: OrderState) -> None:
    event, key = logged.record.event, logged.order_key
    if not isinstance(event, OrderPlaced | OrderAmended) or not after.names(logged.record.source):
        return
    ledger.changes.external_ids.update((*key[:1], external_id, key[1]) for external_id in event.external_ids)
    details = ledger.details.setdefault(key, Details())
    if details.erased or not event.details:
        return
    if isinstance(event, OrderAmended):
        details.content = merge_patch(details.content, event.details)
    else:
        details.content = fill_missing({} if before is None else details.content, event.details)
    ledger.changes.details.add(key)


def _write(
    ledger: Ledger,
    logged: LoggedEvent,
    situation: Situation,
    decision: Decision,
    after: OrderState | None,
    steps: tuple[Step, ...],
) -> bool:
    """Appends the verdict's trail rows: one, or one a step. Returns whether they lie outside an order's history."""
    record, before = logged.record, situation.order
    is_foreign = situation.foreign and not steps
    shown = None if is_foreign else after
    previous_ms = None if is_foreign or before is None else before.step_received_ms
    previous_us = None if is_foreign or before is None else before.step_occurred_us
    status = None if shown is None else shown.status
    for step in steps or (Step(status, status, inferred=False),):  # type: ignore[arg-type]
        ledger.append(
            TrailRow(
                partition=ledger.partition,
                seq=ledger.seq + 1,
                workspace=record.workspace,
                order_id=record.order_id,
                event_id=record.event_id,
                event_type=record.event.type,
                source=record.source.name,
                source_uid=record.source.uid,
                role=record.source.role,
                verdict=decision.verdict or "",
                reason=decision.reason,
                reported_status=_reported(logged, step),
                fact=getattr(record.event, "code", None),
                from_status=step.from_status,
                to_status=step.to_status,
                occurred_us=record.event.occurred_us,
                occurred_mark=_mark(logged, situation),
                received_ms=logged.log_ms,
                decided_ms=ledger.watermark_ms,
                previous_received_ms=previous_ms,
                previous_occurred_us=previous_us,
                inferred=step.inferred,
                foreign=is_foreign,
                restaurant=shown.parties.get("restaurant") if shown else None,
                courier=shown.parties.get("courier") if shown else None,
                marketplace=shown.parties.get("marketplace") if shown else None,
                fulfilment=shown.fulfilment if shown else None,
                offset=logged.offset,
                payload_digest=record.payload_digest,
            )
        )
        previous_ms, previous_us = logged.log_ms, situation.occurred_us
    return is_foreign


def _reported(logged: LoggedEvent, step: Step) -> str | None:
    event = logged.record.event
    if isinstance(event, OrderPlaced):
        return step.to_status if step.from_status is None else None
    return event.status if isinstance(event, StatusEvent) else None


def _mark(logged: LoggedEvent, situation: Situation) -> str | None:
    event = logged.record.event
    if event.occurred_mark is not None or event.occurred_us is None:
        return event.occurred_mark or TimeMark.MISSING
    return None if situation.occurred_us is not None else TimeMark.IMPLAUSIBLE


def payload_of(logged: LoggedEvent) -> bytes | None:
    """The request body as it was received, if it rides on this record."""
    return None if logged.record.payload is None else b64decode(logged.record.payload)
