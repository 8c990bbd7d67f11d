"""A second opinion on every verdict, written from the words of the design and of the order-status specification.

It knows nothing of how the service decides and shares no code with it. It is slow on purpose: it remembers what
happened to an order as a list of chapters (`oracle_story`), and finds everything a decision asks for (the status, the
parties, the event that passed a status, who undid what) by reading that list again. Where the text leaves a choice, the
decision records in `docs/adr/` say which reading is right.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.events import FactEvent, OrderAmended, OrderPlaced
from schemas.records import ApplicableRecord, TickRecord
from tests.support.oracle_story import CHAIN, Chapter, Logged, Story
from tests.support.received import START_MS

MAY_ANNOUNCE = ("marketplace", "platform")
ALWAYS_CURABLE = ("order_not_found", "not_your_order", "skipped_status", "discarded")


@dataclass(frozen=True)
class Line:
    """One row of the trail as the oracle expects it. `decided_ms` is the watermark at the decision."""

    offset: int
    event_id: str
    order_id: str
    verdict: str
    reason: str | None
    from_status: str | None
    to_status: str | None
    inferred: bool
    foreign: bool
    decided_ms: int
    mark: str | None
    previous_ms: int | None
    parties: tuple[str | None, ...]
    fulfilment: str | None


@dataclass
class Fate:
    """What became of an event id: its latest attempt, and what else came under the id."""

    attempt: Logged
    state: str = "pending"
    verdict: str | None = None
    reason: str | None = None
    chapters_then: int = 0
    repeats: int = 0
    others: list[Any] = field(default_factory=list)


class Oracle:
    """Reads one partition's records and says what the trail must hold."""

    def __init__(self, *, holds_per_source: int = 1000) -> None:
        self.holds_per_source = holds_per_source
        self.watermark = 0
        self.lines: list[Line] = []
        self.stories: dict[str, Story] = defaultdict(Story)
        self.fates: dict[tuple[str, str, str], Fate] = {}
        self.waiting: dict[int, tuple[int, Logged]] = {}
        """Offset -> (deadline, event)."""
        self.moved_ahead_of_cancellation = 0

    def story(self, event: Logged) -> Story:
        """What is known of the event's order."""
        return self.stories[event.record.order_id]

    def read(self, records: Sequence[tuple[ApplicableRecord | TickRecord, int]]) -> Oracle:
        """Takes all records; each comes with its log time, ms after START_MS. Offsets count from 0."""
        for offset, (record, after_ms) in enumerate(records):
            self.watermark = max(self.watermark, START_MS + after_ms)
            due = [(when, event.offset, event) for when, event in self.waiting.values() if when <= self.watermark]
            for _, waiting_since, event in sorted(due, key=lambda hold: hold[:2]):
                del self.waiting[waiting_since]
                self.refuse_for_want_of_an_order(event)
            if not isinstance(record, TickRecord):
                self.arrive(Logged(offset, START_MS + after_ms, record, offset))
        return self

    # --- row 1 ----------------------------------------------------------------------------------------------------

    def arrive(self, event: Logged) -> None:
        """An event comes out of the log: the first of its id, a repeat, a reuse of the id, or a new attempt."""
        fate = self.fates.setdefault(event.key, Fate(event))
        if fate.state == "pending":
            self.decide(event)
        elif event.record.event != fate.attempt.record.event:
            if event.record.event in fate.others:
                fate.repeats += 1
            else:
                fate.others.append(event.record.event)
                self.refuse(event, "event_id_reused", is_attempt=False)
        elif self.curable(fate):
            fate.attempt = Logged(event.offset, event.ms, event.record, fate.attempt.first)
            self.decide(fate.attempt)
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

    # --- row 2 ----------------------------------------------------------------------------------------------------

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
            uid = event.record.source.uid
            already = sum(1 for _, other in self.waiting.values() if other.record.source.uid == uid)
            if length == 0 or already >= self.holds_per_source:
                self.refuse_for_want_of_an_order(event)
            else:
                self.waiting[event.offset] = (self.watermark + length, event)
                self.fates[event.key].state = "held"

    def refuse_for_want_of_an_order(self, event: Logged) -> None:
        """It waited long enough, or may not wait."""
        self.refuse(event, "not_your_order" if self.story(event).known else "order_not_found")

    def offered_parties(self, event: Logged) -> dict[str, str]:
        """The parties it names. A marketplace that announces an order is that order's marketplace."""
        told, mine = event.record.event, event.record.source.parties
        parties = {str(slot): party for slot, party in told.parties.items()} if isinstance(told, OrderPlaced) else {}
        if event.role == "marketplace":
            named = parties.get("marketplace")
            if mine is None:  # It speaks for all: one that is not named is known by its own name.
                parties["marketplace"] = named or event.record.source.name
            elif named not in mine:
                parties["marketplace"] = mine[0]
        return parties

    # --- rows 3 to 9 ----------------------------------------------------------------------------------------------

    def own_order(self, event: Logged) -> None:
        """The order is known, and is or was the source's."""
        told = event.record.event
        gave_up = event.reports == "CANCELLED" and event.role == "courier"
        left_out = event.reports == "TAKEN_BY_COURIER" and self.story(event).collected
        if isinstance(told, OrderAmended):
            self.amend(event, told)
        elif isinstance(told, OrderPlaced) or (event.reports == "NEW" and event.role in MAY_ANNOUNCE):
            self.announced_again(event)
        elif isinstance(told, FactEvent) or gave_up or left_out:
            self.note(event)
        else:
            self.reported_status(event)

    def reported_status(self, event: Logged) -> None:
        """Rows 4 to 9, for a status that has its place in the order's life."""
        story = self.story(event)
        if not story.allows(event):
            self.refuse(event, "role_not_permitted")
        elif not story.names(event) and story.is_ahead(event.reports):
            self.refuse(event, "not_your_order")
        elif event.role == "operator" and event.reports != story.now.after:
            self.move(event)
        elif event.reports == story.now.after:
            self.note(event, "repeated")
        elif story.now.after == "CANCELLED":
            self.of_a_cancelled_order(event)
        elif story.is_ahead(event.reports):
            undoing = story.undone_by(event.reports)
            if undoing is not None and self.claimed_before(event, undoing):
                self.note(event, "late", "undone_by_operator")
            else:
                self.move(event)
        elif self.is_late(event):
            self.note(event, "late")
        else:
            self.refuse(event, "illegal_transition")

    def announced_again(self, event: Logged) -> None:
        """Fills what is missing; from a former party it is noted and fills nothing."""
        now, told = self.story(event).now, event.record.event
        if event.role not in MAY_ANNOUNCE:
            self.refuse(event, "role_not_permitted")
        elif not self.story(event).names(event):
            self.note(event)
        else:
            fulfilment = told.fulfilment if isinstance(told, OrderPlaced) else None
            parties = {**self.offered_parties(event), **now.parties}
            self.accept(Chapter(event, "noted", now.after, now.after, parties, now.fulfilment or fulfilment))

    def amend(self, event: Logged, told: OrderAmended) -> None:
        """Fulfilment counts like parties; a former party's amendment is refused."""
        now = self.story(event).now
        if event.role == "courier" or (event.role == "restaurant" and (told.parties or told.fulfilment is not None)):
            self.refuse(event, "role_not_permitted")
        elif not self.story(event).names(event):
            self.refuse(event, "not_your_order")
        else:
            wanted: dict[str, str | None] = {**now.parties, **{str(slot): p for slot, p in told.parties.items()}}
            parties = {slot: party for slot, party in wanted.items() if party is not None}
            fulfilment = told.fulfilment or now.fulfilment
            self.accept(Chapter(event, "noted", now.after, now.after, parties, fulfilment, changed=True))

    def of_a_cancelled_order(self, event: Logged) -> None:
        """Late if it happened before the cancellation, else closed."""
        story = self.story(event)
        if self.happened_before(event, story.cancelled_by(), allowance_ms=0):
            self.moved_ahead_of_cancellation += CHAIN.index(event.reports) > story.rank()
            self.note(event, "late", "moved_before_cancellation")
        else:
            self.refuse(event, "order_closed")

    def claimed_before(self, event: Logged, undoing: Logged) -> bool:
        """By a plausible time of its own, else by where our log has it."""
        return event.first < undoing.offset if event.claimed_us is None else event.claimed_us < undoing.ms * 1000

    def is_late(self, event: Logged) -> bool:
        """Row 9."""
        passer = self.story(event).passed_by(event.reports)
        if event.claimed_us is None and not self.story(event).was_told(event):
            return True
        return self.happened_before(event, passer, allowance_ms=event.record.source.skew_ms)

    def happened_before(self, event: Logged, other: Logged, *, allowance_ms: int) -> bool:
        """By our own log, by one sender's times, or by the sender's time against our log time of the other's."""
        if event.first <= other.offset:
            return True
        if event.claimed_us is None:
            return False
        if event.record.source.uid == other.record.source.uid:
            return other.claimed_us is not None and event.claimed_us <= other.claimed_us
        return event.claimed_us <= (other.ms + allowance_ms) * 1000

    # --- what is written ------------------------------------------------------------------------------------------

    def move(self, event: Logged) -> None:
        """Applied; the steps passed over are inferred, except by an operator or towards CANCELLED."""
        now, wanted, by_operator = self.story(event).now, event.reports, event.role == "operator"
        passed_over: list[str] = []
        if not by_operator and wanted != "CANCELLED":
            passed_over = CHAIN[CHAIN.index(now.after) + 1 : CHAIN.index(wanted)]
            if self.story(event).collected and "TAKEN_BY_COURIER" in passed_over:
                passed_over.remove("TAKEN_BY_COURIER")
        chapter = Chapter(event, "applied", now.after, wanted, now.parties, now.fulfilment, by_operator)
        self.accept(chapter, passed_over)

    def note(self, event: Logged, verdict: str = "noted", reason: str | None = None) -> None:
        """Taken into the order's record, nothing else changes."""
        now = self.story(event).now
        self.accept(Chapter(event, verdict, now.after, now.after, now.parties, now.fulfilment), reason=reason)

    def accept(self, chapter: Chapter, passed_over: Sequence[str] = (), *, reason: str | None = None) -> None:
        """A new chapter, one line for it and one a step passed over; then those who waited for it are decided."""
        event, story = chapter.by, self.story(chapter.by)
        parties_before = story.now.parties if story.known else None
        previous_ms = story.last_move().ms if story.known else None
        story.chapters.append(chapter)
        here = chapter.before
        for there in (*passed_over, chapter.after):
            self.write(
                event, chapter.verdict, reason, (here, there), previous_ms=previous_ms, inferred=there != chapter.after
            )
            here, previous_ms = there, event.ms
        self.conclude(event, chapter.verdict, reason)
        if chapter.parties != parties_before:
            self.wake(event.record.order_id)

    def refuse(self, event: Logged, reason: str, *, is_attempt: bool = True) -> None:
        """Rejected: one line; outside the order's own history if the order is not the source's."""
        story = self.story(event)
        if story.is_foreign_to(event):
            self.write(event, "rejected", reason, (None, None), foreign=True)
        else:
            now = story.now.after
            self.write(event, "rejected", reason, (now, now), previous_ms=story.last_move().ms)
        if is_attempt:
            self.conclude(event, "rejected", reason)

    def conclude(self, event: Logged, verdict: str, reason: str | None) -> None:
        """The receipt tells of the verdict."""
        fate = self.fates[event.key]
        fate.state, fate.verdict, fate.reason = "final", verdict, reason
        fate.chapters_then = len(self.story(event).chapters)

    def write(
        self,
        event: Logged,
        verdict: str,
        reason: str | None,
        step: tuple[str | None, str | None],
        *,
        previous_ms: int | None = None,
        inferred: bool = False,
        foreign: bool = False,
    ) -> None:
        """One row of the trail."""
        parties: tuple[str | None, ...] = (None, None, None)
        fulfilment = None
        if not foreign:
            now = self.story(event).now
            parties = tuple(now.parties.get(slot) for slot in ("restaurant", "courier", "marketplace"))
            fulfilment = now.fulfilment and str(now.fulfilment)
        self.lines.append(
            Line(
                event.offset,
                event.record.event_id,
                event.record.order_id,
                verdict,
                reason,
                *step,
                inferred,
                foreign,
                self.watermark,
                event.mark,
                previous_ms,
                parties,
                fulfilment,
            )
        )

    def wake(self, order_id: str) -> None:
        """The order was announced or its parties changed: its waiting events are decided again, in log order.

        One that changes the parties wakes the others itself, so what is left to do is looked up anew each time.
        """
        while due := [
            event
            for _, (_, event) in sorted(self.waiting.items())
            if event.record.order_id == order_id and not self.story(event).is_foreign_to(event)
        ]:
            del self.waiting[due[0].offset]
            self.own_order(due[0])
