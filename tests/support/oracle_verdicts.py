"""The oracle's reading of rows 3 to 9, and what it writes down of a verdict."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from schemas.events import FactEvent, OrderAmended, OrderPlaced
from tests.support.oracle_story import CHAIN, Chapter, Logged, Story

MAY_ANNOUNCE = ("marketplace", "platform")


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

    def is_undecided(self, event: Logged) -> bool:
        """Whether it is this very event's, and the event has no verdict yet."""
        return self.attempt.offset == event.offset and self.state != "final"


class Verdicts(ABC):
    """Decides events whose order is known and theirs, and keeps stories, fates and lines."""

    def __init__(self) -> None:
        self.watermark = 0
        self.lines: list[Line] = []
        self.stories: dict[str, Story] = defaultdict(Story)
        self.fates: dict[tuple[str, str, str], Fate] = {}
        self.moved_ahead_of_cancellation = 0

    @abstractmethod
    def wait_for_steps(self, event: Logged) -> bool:
        """Whether a strict source's event that skips steps may wait for them; it does so then."""

    @abstractmethod
    def stir(self, order_id: str, *, renamed: bool) -> None:
        """The order is another now: those that wait for it are decided again."""

    def story(self, event: Logged) -> Story:
        """What is known of the event's order."""
        return self.stories[event.record.order_id]

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
            elif not self.skips(event):
                self.move(event)
            elif not self.wait_for_steps(event):
                self.refuse(event, "skipped_status")
        elif self.is_late(event):
            self.note(event, "late")
        else:
            self.refuse(event, "illegal_transition")

    def skips(self, event: Logged) -> bool:
        """Whether its source is strict and it is more than one status ahead by the order's own chain."""
        if event.record.source.policy != "strict" or event.reports == "CANCELLED":
            return False
        chain = [name for name in CHAIN if not (self.story(event).collected and name == "TAKEN_BY_COURIER")]
        still_to_come = [name for name in chain if CHAIN.index(name) > CHAIN.index(self.story(event).now.after)]
        return still_to_come[0] != event.reports

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
        before = story.now if story.known else None
        previous_ms = story.last_move().ms if story.known else None
        story.chapters.append(chapter)
        here = chapter.before
        for there in (*passed_over, chapter.after):
            self.write(
                event, chapter.verdict, reason, (here, there), previous_ms=previous_ms, inferred=there != chapter.after
            )
            here, previous_ms = there, event.ms
        self.conclude(event, chapter.verdict, reason)
        renamed = before is None or chapter.parties != before.parties
        if before is None or renamed or (chapter.after, chapter.fulfilment) != (before.after, before.fulfilment):
            self.stir(event.record.order_id, renamed=renamed)

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
