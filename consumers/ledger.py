"""The working set of one partition: what a batch of decisions reads and changes, in memory.

The applier loads it from the store behind the fence and writes the changes back; the tests' model starts from an empty
one and never touches a store. Keys carry the workspace first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from consumers.lifecycle.state import Attempt, OrderState
from consumers.logged_event import LoggedEvent, OrderKey, ReceiptKey
from schemas.canonical import GENESIS
from schemas.outcomes import TrailRow, hash_row
from schemas.statuses import OrderStatus
from schemas.verdicts import Reason, ReceiptState, Verdict

HOLDS_PER_SOURCE = 1000
"""Events that one source may have waiting in one partition; more are rejected at once."""


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


@dataclass(frozen=True, slots=True)
class HeldEvent:
    """An event that waits for its order to be announced or to name its party."""

    logged: LoggedEvent
    deadline_ms: int


@dataclass(slots=True)
class Details:
    """An order's personal details; an erased order takes none again."""

    content: dict[str, Any] = field(default_factory=dict)
    erased: bool = False
    external_ids: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Changes:
    """What a batch changed, for the store to write. Sets name what is to be read from the ledger itself."""

    rows: list[tuple[TrailRow, bytes]] = field(default_factory=list)
    arrivals: list[LoggedEvent] = field(default_factory=list)
    """Accepted events whose payloads are kept: all but repeats."""
    orders: set[OrderKey] = field(default_factory=set)
    renamed: set[OrderKey] = field(default_factory=set)
    """Orders whose parties changed, new ones included."""
    details: set[OrderKey] = field(default_factory=set)
    external_ids: set[tuple[str, str, str]] = field(default_factory=set)
    receipts: set[ReceiptKey] = field(default_factory=set)
    reused: list[tuple[LoggedEvent, bool]] = field(default_factory=list)
    """Events under an event id that stands for another content, and whether each is a repeat of such a one."""
    held: set[int] = field(default_factory=set)
    """Offsets of events that began to wait."""
    released: set[int] = field(default_factory=set)
    """Offsets of events that waited when the batch began, and do no more."""
    repeats: int = 0
    ahead_of_cancelled: int = 0


@dataclass(slots=True, kw_only=True)
class Ledger:
    """One partition's state as far as a batch needs it."""

    partition: int
    watermark_ms: int = 0
    seq: int = 0
    hash: bytes = GENESIS
    orders: dict[OrderKey, OrderState] = field(default_factory=dict)
    receipts: dict[ReceiptKey, Receipt] = field(default_factory=dict)
    details: dict[OrderKey, Details] = field(default_factory=dict)
    held: dict[int, HeldEvent] = field(default_factory=dict)
    held_by_source: Counter[str] = field(default_factory=Counter)
    changes: Changes = field(default_factory=Changes)
    _held_of: dict[OrderKey, set[int]] = field(default_factory=dict)
    _deadlines: list[tuple[int, int]] = field(default_factory=list)
    """A heap of (deadline, offset); entries of events that wait no more are skipped."""

    def append_all(self, rows: Iterable[TrailRow]) -> None:
        """The next rows of the trail; their numbers must follow the head's."""
        for row in rows:
            self.hash = hash_row(self.hash, row)
            self.seq = row.seq
            self.changes.rows.append((row, self.hash))

    def load(self, held: HeldEvent) -> None:
        """An event that was waiting when the batch began."""
        offset = held.logged.offset
        self.held[offset] = held
        self._held_of.setdefault(held.logged.order_key, set()).add(offset)
        heappush(self._deadlines, (held.deadline_ms, offset))

    def hold(self, held: HeldEvent) -> None:
        """An event begins to wait."""
        self.load(held)
        self.held_by_source[held.logged.record.source.uid] += 1
        self.changes.held.add(held.logged.offset)

    def release(self, offset: int) -> HeldEvent:
        """A held event waits no more; its verdict follows."""
        held = self.held.pop(offset)
        self._held_of[held.logged.order_key].discard(offset)
        self.held_by_source[held.logged.record.source.uid] -= 1
        if offset in self.changes.held:
            self.changes.held.remove(offset)
        else:
            self.changes.released.add(offset)
        return held

    def held_of(self, key: OrderKey) -> list[HeldEvent]:
        """The order's held events in log order."""
        return [self.held[offset] for offset in sorted(self._held_of.get(key, ()))]

    def next_due(self) -> HeldEvent | None:
        """The held event whose deadline the watermark has reached first, by (deadline, offset); None if none has."""
        while self._deadlines:
            deadline_ms, offset = self._deadlines[0]
            if offset in self.held:
                return self.held[offset] if deadline_ms <= self.watermark_ms else None
            heappop(self._deadlines)
        return None
