"""The oracle's reading of rows 1 and 2: repeats and new attempts, whose order it is, and who waits for how long."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from schemas.events import OrderPlaced
from tests.support.oracle_letters import Wait
from tests.support.oracle_story import CHAIN, Chapter, Logged
from tests.support.oracle_verdicts import MAY_ANNOUNCE, Fate, Verdicts

ALWAYS_CURABLE = ("order_not_found", "not_your_order", "skipped_status", "discarded")


@dataclass(frozen=True)
class Limits:
    """How much may wait, and how much may end at once."""

    holds_per_source: int = 1000
    parked_per_source: int = 1000
    expiries_per_record: int = 1000


DEFAULT_LIMITS = Limits()


class Waiters(Verdicts):
    """Decides all events, and keeps those that wait. It leaves open what is set aside."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self.waiting: dict[int, Wait] = {}
        self.waited_so_far: Wait | None = None
        """How the event that is being decided again waited, if it did."""
        self.is_late_by_our_fault = False
        """Whether the event being decided was set aside or waited behind one that was."""

    @abstractmethod
    def is_aside(self, event: Logged) -> bool:
        """Whether deciding the event now is said to fail; it is set aside then."""

    @abstractmethod
    def is_kept(self, event: Logged) -> bool:
        """Whether the event has to wait behind one that is set aside."""

    def let_expire(self) -> None:
        """Holds end at their deadlines, the earliest first, of two at one deadline the one logged first; so many of
        them under one record.
        """
        due = [wait for wait in self.waiting.values() if wait.deadline is not None and wait.deadline <= self.watermark]
        ended = 0
        for wait in sorted(due, key=lambda wait: (wait.deadline, wait.event.offset)):
            if self.waiting.get(wait.event.offset) is not wait:
                continue  # parked by one that was set aside at its own deadline
            if ended == self.limits.expiries_per_record:
                return
            ended += 1
            del self.waiting[wait.event.offset]
            if self.is_aside(wait.event):
                continue
            if wait.why == "ahead":
                self.refuse(wait.event, "skipped_status")
            else:
                self.refuse_for_want_of_an_order(wait.event)

    # --- row 1 ----------------------------------------------------------------------------------------------------

    def from_row_1(self, event: Logged, then: Callable[[Logged], None] | None = None) -> None:
        """The first of its id, or one that was not decided yet; a repeat, a reuse of the id, or a new attempt.

        Rows 2 to 9 follow, unless something else is to.
        """
        then = then or self.decide
        fate = self.fates.setdefault(event.key, Fate(event))
        if fate.is_undecided(event):
            then(fate.attempt)
        elif event.record.event != fate.attempt.record.event:
            if event.record.event in fate.others:
                fate.repeats += 1
            else:
                fate.others.append(event.record.event)
                self.refuse(event, "event_id_reused", is_attempt=False)
        elif self.curable(fate):
            fate.attempt = Logged(event.offset, event.ms, event.record, fate.attempt.first)
            then(fate.attempt)
        else:
            fate.repeats += 1

    def announces(self, event: Logged) -> bool:
        """Whether it tells of a new order."""
        return isinstance(event.record.event, OrderPlaced) or event.reports == "NEW"

    def curable(self, fate: Fate) -> bool:
        """Whether the last attempt ended so that the same event may be tried again."""
        if fate.state != "final" or fate.verdict != "rejected":
            return False
        since = self.story(fate.attempt).chapters[fate.chapters_then :]
        return fate.reason in ALWAYS_CURABLE or any(chapter.changed for chapter in since)

    # --- row 2, and who waits -------------------------------------------------------------------------------------

    def decide(self, event: Logged) -> None:
        """Rows 2 to 9 for an event that is new or tried again."""
        if not self.story(event).is_foreign_to(event):
            self.own_order(event)
        elif self.announces(event) and event.role not in MAY_ANNOUNCE:
            self.refuse(event, "role_not_permitted")
        elif self.announces(event) and not self.story(event).known:
            told = event.record.event
            fulfilment = told.fulfilment if isinstance(told, OrderPlaced) else None
            self.accept(Chapter(event, "applied", None, "NEW", self.offered_parties(event), fulfilment))
        else:
            length = 0 if event.role == "operator" else event.record.source.hold_ms
            if not self.wait(event, "foreign", length):
                self.refuse_for_want_of_an_order(event)

    def wait(self, event: Logged, why: str, length: int) -> bool:
        """It waits from now on, or waits on as before; False if it may not."""
        if self.waited_so_far is not None and self.waited_so_far.why == why:
            self.waiting[event.offset] = self.waited_so_far
            return True
        uid = event.record.source.uid
        already = [w for w in self.waiting.values() if w.why != "parked" and w.event.record.source.uid == uid]
        has_room = self.waited_so_far or self.is_late_by_our_fault or len(already) < self.limits.holds_per_source
        if length == 0 or not has_room:
            return False
        parked = self.is_kept(event)
        self.waiting[event.offset] = Wait(
            None if parked else self.watermark + length, event, "parked" if parked else why
        )
        self.fates[event.key].state = "held"
        return True

    def wait_for_steps(self, event: Logged) -> bool:
        """Row 8 of a strict source."""
        return self.wait(event, "ahead", event.record.source.ahead_hold_ms)

    def refuse_for_want_of_an_order(self, event: Logged) -> None:
        """It waited long enough, or may not wait."""
        self.refuse(event, "not_your_order" if self.story(event).known else "order_not_found")

    def stir(self, order_id: str, *, renamed: bool) -> None:
        """Those ahead first, by the chain; then, with other parties, those who waited for the order, by the log.

        One that changes the order stirs the others itself; whoever was decided by that is passed over here.
        """
        of_the_order = [wait for _, wait in sorted(self.waiting.items()) if wait.event.record.order_id == order_id]
        ahead = [wait for wait in of_the_order if wait.why == "ahead"]
        ahead.sort(key=lambda wait: CHAIN.index(wait.event.reports))
        strangers = [wait for wait in of_the_order if wait.why == "foreign"]
        for wait in [*ahead, *(strangers if renamed else [])]:
            if self.waiting.get(wait.event.offset) is wait:
                del self.waiting[wait.event.offset]
                if not self.is_aside(wait.event):
                    self.again(wait)

    def again(self, wait: Wait) -> None:
        """A waiting event is decided again, without row 1."""
        kept, self.waited_so_far = self.waited_so_far, wait
        story = self.story(wait.event)
        if story.is_foreign_to(wait.event):
            self.waiting[wait.event.offset] = wait
        else:
            self.own_order(wait.event)
        self.waited_so_far = kept
