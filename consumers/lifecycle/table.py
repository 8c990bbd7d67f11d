"""The verdict table: what becomes of an event. Rows are tried in order, the first that matches decides.

Each row is a function that returns a Decision, or None when the situation is not its own. `TABLE` lists them under the
numbers of the design's table; the last row always answers. Nothing here changes an order: `consumers.lifecycle.moves`
does that from the decision.

Where the table leaves room, our readings stand in `docs/adr/0008-readings-of-the-verdict-table.md`. The chief ones:
what counts as first logged is the offset (two records may share a millisecond); a replaced party may not amend;
fulfilment is amended like parties, by those who may name parties, since it decides what a restaurant may do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from consumers.lifecycle.state import RANK, OrderState, PassedBy, Situation
from schemas.events import OrderAmended
from schemas.statuses import FULL_CHAIN, Fulfilment, OrderStatus, Policy, Role, chain_of
from schemas.verdicts import ALWAYS_CURABLE, Reason, ReceiptState, Verdict

MAY_ANNOUNCE = frozenset({Role.MARKETPLACE, Role.PLATFORM})
_SELF_DELIVERED = frozenset({Fulfilment.OWN_DELIVERY, Fulfilment.PICKUP, Fulfilment.DINE_IN})


class Decision(NamedTuple):
    """What becomes of an event, and which row of the table says so."""

    row: int
    verdict: Verdict | None
    """None: there is no verdict yet, the event waits: for its order (row 2), or for the steps before it (row 8)."""
    reason: Reason | None = None
    ahead_of_cancelled: bool = False
    """For the metric alone: a late event that would have moved the order on, had it not been cancelled."""


def role_may_move(role: Role, status: OrderStatus, order: OrderState) -> bool:
    """Whether the role may report this move at all (DESIGN, section 3)."""
    if role in (Role.MARKETPLACE, Role.PLATFORM, Role.OPERATOR):
        return True
    if role is Role.COURIER:
        return status in (OrderStatus.TAKEN_BY_COURIER, OrderStatus.DELIVERED)
    if status in (OrderStatus.ACCEPTED_BY_RESTAURANT, OrderStatus.COOKING, OrderStatus.READY):
        return True
    if status is OrderStatus.TAKEN_BY_COURIER:
        return order.fulfilment is Fulfilment.OWN_DELIVERY
    if status is OrderStatus.DELIVERED:
        return order.fulfilment in _SELF_DELIVERED
    return status is OrderStatus.CANCELLED and order.status is not OrderStatus.DELIVERED


def role_may_amend(role: Role, event: OrderAmended) -> bool:
    """Whether the role may make this amendment: a restaurant amends details, couriers nothing."""
    if role is Role.COURIER:
        return False
    return role is not Role.RESTAURANT or not (event.parties or event.fulfilment)


def _rejected(row: int, reason: Reason) -> Decision:
    return Decision(row=row, verdict=Verdict.REJECTED, reason=reason)


def same_event_again(s: Situation) -> Decision | None:
    """Row 1: same source, order and event id as before."""
    if s.attempt is None:
        return None
    if s.attempt.content_digest != s.content_digest:
        if s.content_digest in s.attempt.reused:
            return Decision(row=1, verdict=Verdict.DUPLICATE)
        return _rejected(1, Reason.EVENT_ID_REUSED)
    if s.attempt.state is ReceiptState.FINAL and s.attempt.verdict is Verdict.REJECTED:
        changed_since = s.order is not None and s.order.revision > s.attempt.revision
        if s.attempt.reason in ALWAYS_CURABLE or changed_since:
            return None  # a new attempt
    return Decision(row=1, verdict=Verdict.DUPLICATE)


def unknown_or_foreign(s: Situation) -> Decision | None:
    """Row 2: the order is unknown, or it names no party of this source.

    Who may not announce is told so whether there is such an order or not: it must not learn which.
    """
    if not s.foreign:
        return None
    is_new = s.announces or (s.event.type == "status" and s.event.status is OrderStatus.NEW)
    if is_new and s.source.role not in MAY_ANNOUNCE:
        return _rejected(2, Reason.ROLE_NOT_PERMITTED)
    if is_new and s.order is None:
        return _rejected(2, Reason.TOO_LARGE) if s.too_large else Decision(row=2, verdict=Verdict.APPLIED)
    if s.may_wait:
        return Decision(row=2, verdict=None)
    return _rejected(2, Reason.ORDER_NOT_FOUND if s.order is None else Reason.NOT_YOUR_ORDER)


def no_place_in_the_lifecycle(s: Situation) -> Decision | None:
    """Row 3: a fact, an amendment or an announcement of a known order by a role that may."""
    order, event = _known(s), s.event
    if s.too_large:
        is_noted = False
    elif s.announces:
        is_noted = s.source.role in MAY_ANNOUNCE
    elif event.type == "status":
        gave_up = s.source.role is Role.COURIER and event.status is OrderStatus.CANCELLED
        left_out = event.status in FULL_CHAIN and event.status not in chain_of(order.fulfilment)
        is_noted = gave_up or left_out
    elif event.type == "amendment":
        is_noted = role_may_amend(s.source.role, event) and order.names(s.source)
    else:
        is_noted = event.type == "fact"
    return Decision(row=3, verdict=Verdict.NOTED) if is_noted else None


def not_permitted(s: Situation) -> Decision | None:
    """Row 4: the role may not make this move or amendment; a former party's move ahead; more than an order may hold."""
    order, event = _known(s), s.event
    if event.type == "amendment":
        if not role_may_amend(s.source.role, event):
            return _rejected(4, Reason.ROLE_NOT_PERMITTED)
        return _rejected(4, Reason.TOO_LARGE if order.names(s.source) else Reason.NOT_YOUR_ORDER)
    if s.announces and s.source.role in MAY_ANNOUNCE:
        return _rejected(4, Reason.TOO_LARGE)
    if s.announces or event.type != "status" or not role_may_move(s.source.role, event.status, order):
        return _rejected(4, Reason.ROLE_NOT_PERMITTED)
    if _is_ahead(order, event.status) and not order.names(s.source):
        return _rejected(4, Reason.NOT_YOUR_ORDER)
    return None


def operators_move(s: Situation) -> Decision | None:
    """Row 5: an operator, another status."""
    if s.source.role is Role.OPERATOR and _status(s) is not _known(s).status:
        return Decision(row=5, verdict=Verdict.APPLIED)
    return None


def order_cancelled(s: Situation) -> Decision | None:
    """Row 6: the order is CANCELLED."""
    order, status = _known(s), _status(s)
    if order.status is not OrderStatus.CANCELLED or order.cancellation is None:
        return None
    if status is OrderStatus.CANCELLED:
        return Decision(row=6, verdict=Verdict.REPEATED)
    if _happened_before(s, order.cancellation, skew_ms=0):
        before = order.status_before_cancellation
        return Decision(
            row=6,
            verdict=Verdict.LATE,
            reason=Reason.MOVED_BEFORE_CANCELLATION,
            ahead_of_cancelled=before is not None and RANK[status] > RANK[before],
        )
    return _rejected(6, Reason.ORDER_CLOSED)


def same_status(s: Situation) -> Decision | None:
    """Row 7: the status it already has."""
    return Decision(row=7, verdict=Verdict.REPEATED) if _status(s) is _known(s).status else None


def cancelled_or_ahead(s: Situation) -> Decision | None:
    """Row 8: CANCELLED, or ahead in the chain. A strict source's event waits for the steps that it would pass over."""
    order, status = _known(s), _status(s)
    if not _is_ahead(order, status):
        return None
    undone = order.undone.get(status)
    if undone is not None:
        claimed = s.occurred_us
        claimed_before = s.first_offset < undone.offset if claimed is None else claimed < undone.log_ms * 1000
        if claimed_before:
            return Decision(row=8, verdict=Verdict.LATE, reason=Reason.UNDONE_BY_OPERATOR)
    if s.source.policy is Policy.STRICT and status is not OrderStatus.CANCELLED and order.skips_to(status):
        return Decision(row=8, verdict=None) if s.may_wait_ahead else _rejected(8, Reason.SKIPPED_STATUS)
    return Decision(row=8, verdict=Verdict.APPLIED)


def behind(s: Situation) -> Decision:
    """Row 9: behind. Late if it happened before the event that passed it, as far as anybody can know."""
    order, status = _known(s), _status(s)
    passer = order.passed_by(status)
    never_reported = s.source.uid not in order.reported.get(status, ())
    if _happened_before(s, passer, skew_ms=s.source.skew_ms) or (s.occurred_us is None and never_reported):
        return Decision(row=9, verdict=Verdict.LATE)
    return _rejected(9, Reason.ILLEGAL_TRANSITION)


Row = Callable[[Situation], Decision | None]

TABLE: tuple[tuple[int, Row], ...] = (
    (1, same_event_again),
    (2, unknown_or_foreign),
    (3, no_place_in_the_lifecycle),
    (4, not_permitted),
    (5, operators_move),
    (6, order_cancelled),
    (7, same_status),
    (8, cancelled_or_ahead),
    (9, behind),
)


def decide(situation: Situation) -> Decision:
    """The first row's decision. Pure."""
    for _, row in TABLE:
        decision = row(situation)
        if decision is not None:
            return decision
    raise AssertionError("row 9 always answers")


def _known(s: Situation) -> OrderState:
    if s.order is None:
        raise AssertionError("row 2 answers for unknown orders")
    return s.order


def _status(s: Situation) -> OrderStatus:
    if s.event.type != "status":
        raise TypeError("rows 3 and 4 answer for all but status events")
    return s.event.status


def _is_ahead(order: OrderState, status: OrderStatus) -> bool:
    """Whether the status would move the order on: CANCELLED from anywhere else, or further down the full chain."""
    if order.status is OrderStatus.CANCELLED:
        return False
    return status is OrderStatus.CANCELLED or RANK[status] > RANK[order.status]


def _happened_before(s: Situation, passer: PassedBy, *, skew_ms: int) -> bool:
    """Whether the event came before what moved the order on: by our log, else by the sender's own clock."""
    if s.first_offset < passer.offset:
        return True
    claimed = s.occurred_us
    if claimed is None:
        return False
    if passer.source_uid == s.source.uid:
        return passer.occurred_us is not None and claimed <= passer.occurred_us
    return claimed <= (passer.log_ms + skew_ms) * 1000
