"""A second opinion on every verdict, written from the words of the design and of the order-status specification.

It knows nothing of how the service decides and shares no code with it. It is slow on purpose: it remembers what
happened to an order as a list of chapters (`oracle_story`), and finds everything a decision asks for (the status, the
parties, the event that passed a status, who undid what) by reading that list again. Where the text leaves a choice, the
decision records in `docs/adr/` say which reading is right. Rows 3 to 9 are in `oracle_verdicts`, rows 1 and 2 in
`oracle_waiting`; here is what is set aside. An erasure is nothing to it: no verdict may depend on one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from schemas.records import DiscardRecord, EraseRecord, ReplayRecord, TickRecord
from tests.support.oracle_letters import Letter, Wait
from tests.support.oracle_story import Logged
from tests.support.oracle_verdicts import MAY_ANNOUNCE, Fate, Line
from tests.support.oracle_waiting import DEFAULT_LIMITS, Limits, Waiters
from tests.support.received import START_MS, Broken, Timed

__all__ = ["DEFAULT_LIMITS", "Limits", "Line", "Oracle"]


class Oracle(Waiters):
    """Reads one partition's records and says what the trail must hold."""

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS, aside: Collection[tuple[int, int]] = ()) -> None:
        super().__init__(limits)
        self.aside = frozenset(aside)
        self.in_hand = -1
        self.letters: dict[tuple[int, int], Letter] = {}

    def read(self, records: Sequence[Timed]) -> Oracle:
        """Takes all records; each comes with its log time, ms after START_MS. Offsets count from 0."""
        for offset, (record, after_ms) in enumerate(records):
            self.in_hand = offset
            self.watermark = max(self.watermark, START_MS + after_ms)
            self.let_expire()
            if isinstance(record, Broken):
                self.cannot_read(record.order_id, offset)
            elif isinstance(record, ReplayRecord | DiscardRecord | EraseRecord):
                self.act(record)
            elif isinstance(record, TickRecord):
                if (offset, offset) in self.aside:
                    self.new_letter(offset, Letter(record.event_id, "nothing", None))
            else:
                self.come(Logged(offset, START_MS + after_ms, record, offset))
        return self

    def come(self, event: Logged) -> None:
        """An event comes out of the log. Behind one that is set aside it waits, whatever its id, if there is room."""
        if self.is_aside(event):
            return
        if self.is_kept(event) and not self.may_park(event):
            self.from_row_1(event, self.turn_away)
        elif self.is_kept(event):
            self.waiting[event.offset] = Wait(None, event, "parked")
            if event.key not in self.fates:
                self.fates[event.key] = Fate(event, "held")
        else:
            self.from_row_1(event)

    # --- what is set aside ----------------------------------------------------------------------------------------

    def is_kept(self, event: Logged) -> bool:
        """Whether the event has to wait behind one that is set aside."""
        return any(letter.keeps(event) for letter in self.letters.values())

    def scope(self, event: Logged) -> str:
        """Whom the event would keep waiting, were it set aside: the whole order, unless it is a stranger's."""
        if self.story(event).known:
            return "source" if self.story(event).is_foreign_to(event) else "order"
        return "order" if event.role in (*MAY_ANNOUNCE, "operator") else "source"

    def may_park(self, event: Logged) -> bool:
        """Whether one more may wait behind what is set aside: so many of each source, and a stranger only if the order
        has fewer than so many in all.
        """
        of_it = [wait.event for wait in self.waiting.values() if wait.event.record.order_id == event.record.order_id]
        parked = [other for other in of_it if self.waiting[other.offset].why == "parked"]
        if self.scope(event) == "order":
            parked = [other for other in parked if other.record.source.uid == event.record.source.uid]
        return len(parked) < self.limits.parked_per_source

    def turn_away(self, event: Logged) -> None:
        """There is no room to wait. A stranger must not learn that there is such an order."""
        if self.scope(event) == "order":
            self.refuse(event, "too_large")
        elif self.announces(event) and event.role not in MAY_ANNOUNCE:
            self.refuse(event, "role_not_permitted")
        else:
            self.refuse_for_want_of_an_order(event)

    def is_aside(self, event: Logged) -> bool:
        """Whether deciding the event now is said to fail; it is set aside then."""
        if (self.in_hand, event.offset) not in self.aside:
            return False
        self.waiting.pop(event.offset, None)
        fate = self.fates.setdefault(event.key, Fate(event))
        if fate.is_undecided(event):
            fate.state = "set_aside"
        elif fate.attempt.record.event == event.record.event and self.curable(fate):
            fate.attempt = Logged(event.offset, event.ms, event.record, fate.attempt.first)
            fate.state = "set_aside"
        self.new_letter(event.offset, Letter(event.record.order_id, self.scope(event), event))
        return True

    def new_letter(self, offset: int, letter: Letter) -> None:
        """It is written down, and whoever waits in its scope waits behind it."""
        self.letters[(self.in_hand, offset)] = letter
        for at, wait in self.waiting.items():
            if wait.why != "parked" and letter.keeps(wait.event):
                self.waiting[at] = Wait(None, wait.event, "parked")

    def cannot_read(self, order_id: str | None, offset: int) -> None:
        """Bytes that mean nothing are always set aside."""
        assert (self.in_hand, offset) in self.aside, "what cannot be read has to be in the list"
        parks, name = ("nothing", f"unreadable-{offset}") if order_id is None else ("order", order_id)
        self.new_letter(offset, Letter(name, parks, None, is_readable=False, is_erased_whole=True))

    def act(self, record: ReplayRecord | DiscardRecord | EraseRecord) -> None:
        """What a person asked for. A pair that is not open, not of an earlier record, or of another order, makes it do
        nothing.
        """
        if (self.in_hand, self.in_hand) in self.aside:
            letter = Letter(record.order_id, "nothing", None)
            letter.is_erased_whole = isinstance(record, ReplayRecord)
            letter.erases = isinstance(record, EraseRecord)
            self.new_letter(self.in_hand, letter)
            return
        if isinstance(record, EraseRecord):
            self.erase(record.order_id)
            return
        pair = record.in_hand_offset, record.event_offset
        named = self.letters.get(pair) if pair[0] < self.in_hand else None
        if named is None or named.state != "open" or named.order_id != record.order_id:
            return
        if isinstance(record, DiscardRecord):
            named.state = "discarded"
            if named.event is not None:
                self.give_up(named.event)
        elif not named.is_gone:
            named.state = "replayed"
            self.try_again(pair, named)
        self.let_go(record.order_id)

    def erase(self, order_id: str) -> None:
        """What nobody could read is gone; all else can still be decided."""
        for letter in self.letters.values():
            letter.is_gone |= letter.order_id == order_id and letter.is_erased_whole

    def try_again(self, pair: tuple[int, int], letter: Letter) -> None:
        """The original is decided as the event it was."""
        if not letter.is_readable:
            self.cannot_read(letter.order_id if letter.parks == "order" else None, pair[1])
        elif letter.event is None:
            if (self.in_hand, pair[1]) in self.aside:
                self.new_letter(pair[1], replace(letter, state="open"))
            elif letter.erases:
                self.erase(letter.order_id)
        elif not self.is_aside(letter.event):
            self.released(letter.event)

    def give_up(self, event: Logged) -> None:
        """Rejected; its copies that wait are duplicates. A copy's own end says nothing of the event it copies."""
        fate = self.fates[event.key]
        is_own = fate.is_undecided(event)
        self.refuse(event, "discarded", is_attempt=is_own)
        for at, wait in sorted(self.waiting.items()):
            same = wait.event.key == event.key and wait.event.record.event == event.record.event
            if is_own and same and wait.why == "parked":
                del self.waiting[at]
                fate.repeats += 1

    def let_go(self, order_id: str) -> None:
        """Whoever need not wait any more is taken in log order, as if it came now."""
        for at, wait in sorted(self.waiting.items()):
            of_it = wait.event.record.order_id == order_id and wait.why == "parked"
            if of_it and self.waiting.get(at) is wait and not self.is_kept(wait.event):
                del self.waiting[at]
                if not self.is_aside(wait.event):
                    self.released(wait.event)

    def released(self, event: Logged) -> None:
        """It had to come again by our fault, so want of room is no reason to refuse it."""
        self.is_late_by_our_fault = True
        self.from_row_1(event)
        self.is_late_by_our_fault = False
