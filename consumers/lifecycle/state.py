"""What an order remembers between events, and the situation that one decision is made in.

All of it comes from records of the order's own partition: no clock, no cache, no count from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from schemas.events import AnyEvent
from schemas.records import SourceStamp
from schemas.statuses import FULL_CHAIN, SLOT_OF, Fulfilment, OrderStatus, Role, chain_of
from schemas.times import is_plausible
from schemas.verdicts import Reason, ReceiptState, Verdict

RANK: dict[OrderStatus, int] = {status: rank for rank, status in enumerate(FULL_CHAIN)}
_NONE: Mapping[Any, Any] = MappingProxyType({})


class PassedBy(NamedTuple):
    """The event that moved an order past a status (or cancelled it)."""

    offset: int
    log_ms: int
    source_uid: str
    occurred_us: int | None  # only if plausible


class Undone(NamedTuple):
    """The operator's move that took a status back."""

    offset: int
    log_ms: int


class OrderState(NamedTuple):
    """One order as decisions see it. A tuple, since every move makes a new one: `_replace` costs a seventh of what a
    frozen dataclass takes.
    """

    workspace: str
    order_id: str
    status: OrderStatus
    announced_ms: int
    step_received_ms: int
    step_occurred_us: int | None = None
    placed_us: int | None = None
    fulfilment: Fulfilment | None = None
    parties: Mapping[str, str] = _NONE
    former: Mapping[str, tuple[str, ...]] = _NONE
    revision: int = 0
    """Counts changes by operators and amendments; a rejection may be tried again once it has grown."""
    passers: Mapping[OrderStatus, PassedBy] = _NONE
    cancellation: PassedBy | None = None
    status_before_cancellation: OrderStatus | None = None
    undone: Mapping[OrderStatus, Undone] = _NONE
    reported: Mapping[OrderStatus, tuple[str, ...]] = _NONE
    """Which sources have reported which status; refused attempts do not count."""

    def skips_to(self, status: OrderStatus) -> bool:
        """Whether a status of the order's own chain lies between where it stands and that status."""
        return any(RANK[self.status] < RANK[between] < RANK[status] for between in chain_of(self.fulfilment))

    def passed_by(self, status: OrderStatus) -> PassedBy:
        """The event that moved the order past a status behind it.

        Orders keep this for the statuses that existed when they moved; a younger status was passed by what passed the
        next one after it.
        """
        return next(self.passers[later] for later in FULL_CHAIN[RANK[status] :] if later in self.passers)

    def names(self, source: SourceStamp) -> bool:
        """Whether a current party of the order is one the source speaks for."""
        slot = SLOT_OF.get(source.role)
        return slot is None or source.parties is None or self.parties.get(slot) in source.parties

    def named_formerly(self, source: SourceStamp) -> bool:
        """Whether a replaced party of the order is one the source speaks for."""
        slot = SLOT_OF.get(source.role)
        if slot is None or source.parties is None:
            return True
        return any(party in source.parties for party in self.former.get(slot, ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How the last attempt with the same source, order and event id stands."""

    content_digest: str
    state: ReceiptState
    verdict: Verdict | None
    reason: Reason | None
    revision: int
    first_offset: int
    reused: frozenset[str] = frozenset()
    """Digests of other contents that came under the same event id and were rejected."""


@dataclass(slots=True, kw_only=True)
class Situation:
    """Everything one decision looks at. Nobody changes it once it is made; what rows ask for again and again is found
    out then.
    """

    workspace: str
    order_id: str
    event: AnyEvent
    source: SourceStamp
    order: OrderState | None
    offset: int
    received_ms: int
    first_offset: int
    """Where this event was logged first; an earlier offset than its own when this is a new attempt."""
    content_digest: str = ""
    attempt: Attempt | None = None
    """None for an event never seen, and when a held event is decided again."""
    may_wait: bool = True
    """Whether it may wait for an order that names a party of its source. False at the hold's deadline, with a hold
    length of 0, and when the source holds too many events."""
    may_wait_ahead: bool = True
    """The same for a strict source's event that is more than one status ahead."""
    too_large: bool = False
    """Whether the order would hold more details or external ids than it may, if this event were taken."""
    occurred_us: int | None = field(init=False)
    """The sender's time if it may be believed, else None."""
    announces: bool = field(init=False)
    """Whether the event tells of a new order. NEW from someone who may announce is an announcement too."""
    foreign: bool = field(init=False)
    """Whether the order is unknown or names no party of the source, now or formerly."""

    def __post_init__(self) -> None:
        event, source, order = self.event, self.source, self.order
        us = event.occurred_us
        is_believed = us is not None and event.occurred_mark is None and is_plausible(us, self.received_ms)
        self.occurred_us = us if is_believed else None
        if event.type == "status":
            self.announces = event.status is OrderStatus.NEW and source.role is not Role.OPERATOR
        else:
            self.announces = event.type == "announcement"
        self.foreign = order is None or not (order.names(source) or order.named_formerly(source))
