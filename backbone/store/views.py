"""What readings answer with, and whose eyes they look through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, exists

from backbone.store.tables import order_parties
from schemas.statuses import SLOT_OF, Role


@dataclass(frozen=True, slots=True)
class Sight:
    """Who is looking. A source sees the orders whose slot of its role names one of its parties, now or formerly.

    `parties` None is every order. `source_uid` is None for those who see every source's receipts.
    """

    role: Role | None
    parties: tuple[str, ...] | None
    source_uid: str | None

    @property
    def slot(self) -> str | None:
        """The party slot that decides; None when every order is seen."""
        return None if self.role is None or self.parties is None else SLOT_OF.get(self.role)

    def covers(self, workspace: str, order_id: Any) -> ColumnElement[bool] | None:
        """The condition that an order (a column or a value) is seen; None when every order is."""
        if self.slot is None:
            return None
        # An alias: the statement around may go over the same table for another party.
        party = order_parties.alias().c
        return exists().where(
            party.workspace == workspace,
            party.slot == self.slot,
            party.party.in_(self.parties or ()),
            party.order_id == order_id,
        )


SEES_ALL = Sight(None, None, None)
"""Access tokens, platforms and operators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderView:
    """An order as it stands. `_ms` are log time, `placed_us` is the announcer's claim."""

    order_id: str
    status: str
    updated_ms: int
    """Log time of the event that brought the status."""
    restaurant: str | None
    courier: str | None
    marketplace: str | None
    fulfilment: str | None
    details: dict[str, Any]
    placed_us: int | None
    announced_ms: int
    external_ids: tuple[str, ...]
    former: dict[str, list[str]]
    """Parties that were replaced, by slot."""
    parked: bool = False
    """Whether an event of it is set aside, and all later ones wait for a person."""
    erased: bool = False
    """Whether its personal details were erased; it takes none again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrailEntry:
    """One row of an order's history, with the words that came with it. An inferred step has no words of its own."""

    partition: int
    seq: int
    verdict: str
    reason: str | None
    reported_status: str | None
    fact: str | None
    from_status: str | None
    to_status: str | None
    event_id: str
    event_type: str
    source: str
    role: str
    occurred_us: int | None
    occurred_mark: str | None
    received_ms: int
    decided_ms: int
    inferred: bool
    comment: str | None
    cancel_reason: str | None
    hash: str
    """Hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldView:
    """An event that waits. For operators; log times."""

    event_id: str
    source: str
    role: str
    event_type: str
    reported_status: str | None
    received_ms: int
    until_ms: int | None
    """When it is rejected if nothing changes; None waits without end."""
    fact: str | None = None
    """The partner's own word, of an event that is only noted."""
    why: str = "foreign"
    """foreign: its order is not announced or names no party of the source; ahead: it skips a status and its source is
    strict; parked: an event of the order is set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastStep:
    """The event that brought an order's present status."""

    status: str
    occurred_us: int | None
    """The sender's claim; None when there is none, or it cannot be believed."""
    received_ms: int
    comment: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptView:
    """What became of a callback. While it is pending and never seen before, only its id is known."""

    receipt_id: str
    state: str
    event_id: str | None = None
    order_id: str | None = None
    source_uid: str | None = None
    verdict: str | None = None
    reason: str | None = None
    from_status: str | None = None
    to_status: str | None = None
    foreign: bool = False
    """Whether the order was unknown to the event, or named no party of its source. Never told to the sender."""
    why: str | None = None
    """Of an event that waits and is not foreign: why (as in HeldView), and until when."""
    until_ms: int | None = None
