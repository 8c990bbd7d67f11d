"""The working set of one partition: what a batch of decisions reads and changes, in memory.

The applier loads it from the store behind the fence and writes the changes back; the tests' model starts from an empty
one and never touches a store. Keys carry the workspace first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from consumers.dead_letter import DeadLetter, Pair
from consumers.ledger_entries import Changes, Details, HeldEvent, HoldKind, Receipt
from consumers.lifecycle.state import OrderState
from consumers.logged_event import OrderKey, ReceiptKey
from schemas.canonical import GENESIS
from schemas.dead_letters import Parks
from schemas.outcomes import TrailRow, hash_row

HOLDS_PER_SOURCE = 1000
"""Events that one source may have waiting in one partition, parked ones aside; more are rejected at once."""
PARKED_PER_SOURCE = 1000
"""Events that one source may have parked behind one order's dead letters; more are rejected at once. A stranger's are
where so many of the order are parked, whosever they are."""
EXPIRIES_PER_RECORD = 1000
"""Holds that end under one record. Others that are due end under the next ones, or one record could set off more work
than one transaction takes."""


@dataclass(slots=True, kw_only=True)
class Ledger:
    """One partition's state as far as a batch needs it."""

    partition: int
    watermark_ms: int = 0
    seq: int = 0
    hash: bytes = GENESIS
    dead_seq: int = 0
    """Number of the last dead letter."""
    deciding: int = -1
    """Offset of the event being decided (or of the control record being handled): with the offset in hand, the pair to
    blame when folding raises."""
    orders: dict[OrderKey, OrderState] = field(default_factory=dict)
    receipts: dict[ReceiptKey, Receipt] = field(default_factory=dict)
    details: dict[OrderKey, Details] = field(default_factory=dict)
    held: dict[int, HeldEvent] = field(default_factory=dict)
    held_by_source: Counter[str] = field(default_factory=Counter)
    """How many events of a source wait and are not parked."""
    parked_by_source: dict[OrderKey, Counter[str]] = field(default_factory=dict)
    """How many events of each source are parked behind an order's dead letters."""
    dead_letters: dict[Pair, DeadLetter] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes)
    _held_of: dict[tuple[OrderKey, HoldKind], set[int]] = field(default_factory=dict)
    _deadlines: list[tuple[int, int]] = field(default_factory=list)
    """A heap of (deadline, offset); entries of events that wait no more, or otherwise, are skipped."""
    _letters_of: dict[OrderKey, set[Pair]] = field(default_factory=dict)

    # --- the trail ------------------------------------------------------------------------------------------------

    def append_all(self, rows: Iterable[TrailRow]) -> None:
        """The next rows of the trail; their numbers must follow the head's."""
        for row in rows:
            self.hash = hash_row(self.hash, row)
            self.seq = row.seq
            self.changes.rows.append((row, self.hash))

    # --- events that wait -----------------------------------------------------------------------------------------

    def load(self, held: HeldEvent) -> None:
        """An event that was waiting when the batch began. What is counted by source is loaded apart."""
        offset = held.logged.offset
        self.held[offset] = held
        self._held_of.setdefault((held.logged.order_key, held.kind), set()).add(offset)
        if held.deadline_ms is not None:
            heappush(self._deadlines, (held.deadline_ms, offset))

    def hold(self, held: HeldEvent) -> None:
        """An event begins to wait, or waits on in another way."""
        offset = held.logged.offset
        if offset in self.held:
            self._drop(offset)
            waited_before = offset not in self.changes.held
        else:
            waited_before = offset in self.changes.released
        self.load(held)
        self._count(held, 1)
        if waited_before:
            self.changes.released.discard(offset)
            self.changes.reheld.add(offset)
        else:
            self.changes.held.add(offset)

    def release(self, offset: int) -> HeldEvent:
        """A held event waits no more; its verdict follows, or it is set aside."""
        held = self._drop(offset)
        self.changes.reheld.discard(offset)
        if offset in self.changes.held:
            self.changes.held.remove(offset)
        else:
            self.changes.released.add(offset)
        return held

    def _drop(self, offset: int) -> HeldEvent:
        held = self.held.pop(offset)
        self._held_of[(held.logged.order_key, held.kind)].discard(offset)
        self._count(held, -1)
        return held

    def _count(self, held: HeldEvent, change: int) -> None:
        uid = held.logged.record.source.uid
        if held.kind is HoldKind.PARKED:
            self.parked_by_source.setdefault(held.logged.order_key, Counter())[uid] += change
        else:
            self.held_by_source[uid] += change

    def held_of(self, key: OrderKey, *kinds: HoldKind) -> list[HeldEvent]:
        """The order's held events of these kinds (of all, when none is named) in log order."""
        offsets = [offset for kind in kinds or HoldKind for offset in self._held_of.get((key, kind), ())]
        return [self.held[offset] for offset in sorted(offsets)]

    def is_awaited(self, key: OrderKey) -> bool:
        """Whether events wait for the order to change."""
        held_of = self._held_of
        if not held_of:
            return False
        return bool(held_of.get((key, HoldKind.FOREIGN)) or held_of.get((key, HoldKind.AHEAD)))

    def waits(self, held: HeldEvent) -> bool:
        """Whether the event still waits in the same way."""
        return self.held.get(held.logged.offset) is held

    def next_due(self) -> HeldEvent | None:
        """The held event whose deadline the watermark has reached first, by (deadline, offset); None if none has."""
        while self._deadlines:
            deadline_ms, offset = self._deadlines[0]
            held = self.held.get(offset)
            if held is not None and held.deadline_ms == deadline_ms:
                return held if deadline_ms <= self.watermark_ms else None
            heappop(self._deadlines)
        return None

    # --- events set aside -----------------------------------------------------------------------------------------

    def load_dead_letter(self, letter: DeadLetter) -> None:
        """A dead letter as it stood when the batch began. May be repeated for the same one."""
        self.dead_letters.setdefault(letter.pair, letter)
        self._letters_of.setdefault(letter.order_key, set()).add(letter.pair)

    def set_aside(self, letter: DeadLetter) -> None:
        """A new dead letter, which takes the partition's next number."""
        self.dead_seq = letter.seq
        self.dead_letters[letter.pair] = letter
        self._letters_of.setdefault(letter.order_key, set()).add(letter.pair)
        self.touch(letter)

    def touch(self, letter: DeadLetter) -> None:
        """A dead letter is to be written again, and its order with it if the order may be parked by it."""
        self.changes.dead_letters.add(letter.pair)
        if letter.parks is Parks.ORDER and letter.order_key in self.orders:
            self.changes.orders.add(letter.order_key)

    def dead_letters_of(self, key: OrderKey) -> list[DeadLetter]:
        """The order's dead letters in the order in which they were set aside."""
        letters = [self.dead_letters[pair] for pair in self._letters_of.get(key, ())]
        return sorted(letters, key=lambda letter: letter.seq)

    def is_parked(self, key: OrderKey, source_uid: str | None = None) -> bool:
        """Whether all of the order waits behind a dead letter; or, for a source, whether its events do."""
        pairs = self._letters_of.get(key)
        if not pairs:
            return False
        letters = [self.dead_letters[pair] for pair in pairs]
        if source_uid is None:
            return any(letter.is_open and letter.parks is Parks.ORDER for letter in letters)
        return any(letter.is_parking(source_uid) for letter in letters)
