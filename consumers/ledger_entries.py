"""What a ledger consists of: receipts, waiting events, details, and the changes that the store is to write."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from consumers.dead_letter import Pair
from consumers.lifecycle.state import Attempt
from consumers.logged_event import LoggedEvent, OrderKey, ReceiptKey
from schemas.outcomes import TrailRow
from schemas.records import Erasable
from schemas.statuses import OrderStatus
from schemas.verdicts import Reason, ReceiptState, Verdict


@dataclass(slots=True, kw_only=True)
class Receipt:
    """What became of an event id: the latest attempt, and how often it was repeated."""

    order_id: str
    source_uid: str
    event_id: str
    first_offset: int
    first_received_ms: int
    last_offset: int
    content_digest: str
    state: ReceiptState = ReceiptState.PENDING
    verdict: Verdict | None = None
    reason: Reason | None = None
    from_status: OrderStatus | None = None
    to_status: OrderStatus | None = None
    foreign: bool = False
    revision: int = 0
    repeats: int = 0
    decided_ms: int | None = None
    reused: set[str] = field(default_factory=set)
    """Digests of other contents that came under the same event id."""

    def as_attempt(self) -> Attempt:
        """What row 1 of the verdict table asks for."""
        return Attempt(
            content_digest=self.content_digest,
            state=self.state,
            verdict=self.verdict,
            reason=self.reason,
            revision=self.revision,
            first_offset=self.first_offset,
            reused=frozenset(self.reused),
        )

    def is_of(self, logged: LoggedEvent) -> bool:
        """Whether it tells of this very record, which has no verdict yet, and not of another attempt."""
        return self.last_offset == logged.offset and self.state is not ReceiptState.FINAL

    def reset(self, state: ReceiptState, *, foreign: bool) -> None:
        """The latest attempt has no verdict yet (any more)."""
        self.state, self.foreign = state, foreign
        self.verdict = self.reason = self.from_status = self.to_status = self.decided_ms = None


class HoldKind(StrEnum):
    """Why an event waits."""

    FOREIGN = "foreign"
    """Its order is unknown, or names no party of its source."""
    AHEAD = "ahead"
    """It is more than one status ahead, and its source is strict."""
    PARKED = "parked"
    """An event of its order is set aside; it waits without deadline, and row 1 meets it when it is released."""


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event that waits: until its deadline, or without one while it is parked."""

    logged: LoggedEvent
    deadline_ms: int | None
    kind: HoldKind = HoldKind.FOREIGN


@dataclass(slots=True)
class Details:
    """An order's personal details; an erased order takes none again."""

    content: dict[str, Any] = field(default_factory=dict)
    erased: bool = False
    external_ids: set[str] = field(default_factory=set)


class Erasure(NamedTuple):
    """What a person had taken away: all of these classes that the order has at offsets before this one."""

    offset: int
    order_key: OrderKey
    classes: tuple[Erasable, ...]


@dataclass(slots=True)
class Changes:
    """What a batch changed, for the store to write. Sets name what is to be read from the ledger itself."""

    rows: list[tuple[TrailRow, bytes]] = field(default_factory=list)
    arrivals: list[LoggedEvent] = field(default_factory=list)
    """Accepted events whose payloads are kept: all but repeats. A replayed event may be here for the second time."""
    orders: set[OrderKey] = field(default_factory=set)
    """Orders to write again, those included that began or ceased to be parked."""
    renamed: set[OrderKey] = field(default_factory=set)
    """Orders whose parties changed, new ones included."""
    details: set[OrderKey] = field(default_factory=set)
    external_ids: set[tuple[str, str, str]] = field(default_factory=set)
    receipts: set[ReceiptKey] = field(default_factory=set)
    reused: list[tuple[LoggedEvent, bool]] = field(default_factory=list)
    """Events under an event id that stands for another content, and whether each is a repeat of such a one."""
    held: set[int] = field(default_factory=set)
    """Offsets of events that wait now, and did not when the batch began."""
    reheld: set[int] = field(default_factory=set)
    """Offsets of events that waited when the batch began and still do, with another kind, deadline or record."""
    released: set[int] = field(default_factory=set)
    """Offsets of events that waited when the batch began, and do no more."""
    dead_letters: set[Pair] = field(default_factory=set)
    """Pairs set aside, replayed, discarded or partly erased."""
    erasures: list[Erasure] = field(default_factory=list)
    repeats: int = 0
    ahead_of_cancelled: int = 0
