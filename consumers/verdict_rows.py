"""The trail rows of one verdict: one, or one a step when an order moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from consumers.ledger import Ledger
from consumers.lifecycle import OrderState, Situation, Step
from consumers.logged_event import LoggedEvent
from schemas.events import FactEvent, OrderPlaced, StatusEvent
from schemas.outcomes import TrailRow
from schemas.statuses import OrderStatus
from schemas.times import TimeMark
from schemas.verdicts import Reason, Verdict


@dataclass(frozen=True, slots=True)
class Ruling:
    """A final verdict with what it did: the order after it, and the steps it took."""

    verdict: Verdict
    reason: Reason | None
    after: OrderState | None = None
    steps: tuple[Step, ...] = ()


def lies_outside(situation: Situation, ruling: Ruling) -> bool:
    """Whether the verdict stays out of the order's own history: the order was unknown or names no party of the source,
    and the event did not announce it.
    """
    return situation.foreign and not ruling.steps


def verdict_rows(ledger: Ledger, logged: LoggedEvent, situation: Situation, ruling: Ruling) -> Iterator[TrailRow]:
    """The rows that follow the ledger's head, decided at its watermark. Rows outside show nothing of the order."""
    record, event = logged.record, logged.record.event
    is_foreign = lies_outside(situation, ruling)
    before = None if is_foreign else situation.order
    shown = None if is_foreign else ruling.after or situation.order
    previous_ms = None if before is None else before.step_received_ms
    previous_us = None if before is None else before.step_occurred_us
    status = None if shown is None else shown.status
    parties = {} if shown is None else shown.parties
    moves: list[tuple[OrderStatus | None, OrderStatus | None, bool]] = [
        (step.from_status, step.to_status, step.inferred) for step in ruling.steps
    ]
    for seq, (from_status, to_status, inferred) in enumerate(moves or [(status, status, False)], ledger.seq + 1):
        yield TrailRow(
            partition=ledger.partition,
            seq=seq,
            workspace=record.workspace,
            order_id=record.order_id,
            event_id=record.event_id,
            event_type=event.type,
            source=record.source.name,
            source_uid=record.source.uid,
            role=record.source.role,
            verdict=ruling.verdict,
            reason=ruling.reason,
            reported_status=_reported(logged, announces=bool(moves) and from_status is None),
            fact=event.code if isinstance(event, FactEvent) else None,
            from_status=from_status,
            to_status=to_status,
            occurred_us=event.occurred_us,
            occurred_mark=_mark(logged, situation),
            received_ms=logged.log_ms,
            decided_ms=ledger.watermark_ms,
            previous_received_ms=previous_ms,
            previous_occurred_us=previous_us,
            inferred=inferred,
            foreign=is_foreign,
            restaurant=parties.get("restaurant"),
            courier=parties.get("courier"),
            marketplace=parties.get("marketplace"),
            fulfilment=None if shown is None else shown.fulfilment,
            offset=logged.offset,
            payload_digest=record.payload_digest,
        )
        previous_ms, previous_us = logged.log_ms, situation.occurred_us


def _reported(logged: LoggedEvent, *, announces: bool) -> str | None:
    event = logged.record.event
    if isinstance(event, OrderPlaced):
        return OrderStatus.NEW if announces else None
    return event.status if isinstance(event, StatusEvent) else None


def _mark(logged: LoggedEvent, situation: Situation) -> str | None:
    event = logged.record.event
    if event.occurred_mark is not None or event.occurred_us is None:
        return event.occurred_mark or TimeMark.MISSING
    return None if situation.occurred_us is not None else TimeMark.IMPLAUSIBLE
