"""The trail rows of one verdict: one, or one a step when an order moved."""

from __future__ import annotations

from typing import NamedTuple

from consumers.ledger import Ledger
from consumers.lifecycle import OrderState, Situation, Step
from consumers.logged_event import LoggedEvent
from schemas.outcomes import TrailRow
from schemas.statuses import OrderStatus
from schemas.times import TimeMark
from schemas.verdicts import Reason, Verdict


class Ruling(NamedTuple):
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


def verdict_rows(ledger: Ledger, logged: LoggedEvent, situation: Situation, ruling: Ruling) -> list[TrailRow]:
    """The rows that follow the ledger's head, decided at its watermark. Rows outside show nothing of the order."""
    record, event, source = logged.record, logged.record.event, logged.record.source
    is_foreign = lies_outside(situation, ruling)
    before = None if is_foreign else situation.order
    shown = None if is_foreign else ruling.after or situation.order
    previous_ms = None if before is None else before.step_received_ms
    previous_us = None if before is None else before.step_occurred_us
    status = None if shown is None else shown.status
    parties = {} if shown is None else shown.parties
    moves = ruling.steps or ((status, status, False),)
    mark = _mark(logged, situation)
    rows = []
    for seq, (from_status, to_status, inferred) in enumerate(moves, ledger.seq + 1):
        row = TrailRow(  # by position: 29 names would cost more than all else here
            ledger.partition,
            seq,
            record.workspace,
            record.order_id,
            record.event_id,
            event.type,
            source.name,
            source.uid,
            source.role,
            ruling.verdict,
            ruling.reason,
            _reported(logged, announces=bool(ruling.steps) and from_status is None),
            event.code if event.type == "fact" else None,
            from_status,
            to_status,
            event.occurred_us,
            mark,
            logged.log_ms,
            ledger.watermark_ms,
            previous_ms,
            previous_us,
            inferred,
            is_foreign,
            parties.get("restaurant"),
            parties.get("courier"),
            parties.get("marketplace"),
            None if shown is None else shown.fulfilment,
            logged.offset,
            record.payload_digest,
        )
        rows.append(row)
        previous_ms, previous_us = logged.log_ms, situation.occurred_us
    return rows


def _reported(logged: LoggedEvent, *, announces: bool) -> str | None:
    event = logged.record.event
    if event.type == "announcement":
        return OrderStatus.NEW if announces else None
    return event.status if event.type == "status" else None


def _mark(logged: LoggedEvent, situation: Situation) -> str | None:
    event = logged.record.event
    if event.occurred_mark is not None or event.occurred_us is None:
        return event.occurred_mark or TimeMark.MISSING
    return None if situation.occurred_us is not None else TimeMark.IMPLAUSIBLE
