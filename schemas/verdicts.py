"""The closed set of verdicts and reasons. Every accepted event ends in exactly one final verdict."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What became of an event."""

    APPLIED = "applied"
    """It moved its order (or, inferred, a step that a later event passed over)."""
    REPEATED = "repeated"
    """The order was in that status already."""
    LATE = "late"
    """It happened before what moved the order on; the state is untouched."""
    NOTED = "noted"
    """A fact, an announcement of a known order or an amendment: taken into the order's record, no move."""
    REJECTED = "rejected"
    """It may not move the order; the reason says why."""
    DUPLICATE = "duplicate"
    """The same event again: absorbed and counted, no trail row. The receipt answers with the latest attempt."""


class Reason(StrEnum):
    """Why an event was rejected, or why it is late in a special way."""

    EVENT_ID_REUSED = "event_id_reused"
    ORDER_NOT_FOUND = "order_not_found"
    NOT_YOUR_ORDER = "not_your_order"
    ROLE_NOT_PERMITTED = "role_not_permitted"
    MOVED_BEFORE_CANCELLATION = "moved_before_cancellation"
    ORDER_CLOSED = "order_closed"
    UNDONE_BY_OPERATOR = "undone_by_operator"
    ILLEGAL_TRANSITION = "illegal_transition"
    TOO_LARGE = "too_large"
    SKIPPED_STATUS = "skipped_status"
    """Of the strict policy: it was more than one status ahead until its deadline."""
    DISCARDED = "discarded"
    """Of a dead letter that a person gave up."""


ALWAYS_CURABLE: frozenset[Reason] = frozenset(
    {Reason.ORDER_NOT_FOUND, Reason.NOT_YOUR_ORDER, Reason.SKIPPED_STATUS, Reason.DISCARDED}
)
"""Rejections after which the same event may be tried again. Others only once an operator or an amendment changed
the order."""


class ReceiptState(StrEnum):
    """How far a callback has come. HELD and SET_ASIDE are states of a receipt, not verdicts."""

    PENDING = "pending"
    HELD = "held"
    """It waits: for its order, for the steps before it, or behind an event that is set aside."""
    SET_ASIDE = "set_aside"
    """A dead letter: its decision failed, and waits for a person to replay or discard it."""
    FINAL = "final"
