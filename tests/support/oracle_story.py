"""An order's life as the oracle remembers it: a list of chapters, read again from the beginning for every question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from schemas.events import StatusEvent
from schemas.records import ApplicableRecord

CHAIN = ["NEW", "ACCEPTED_BY_RESTAURANT", "COOKING", "READY", "TAKEN_BY_COURIER", "DELIVERED"]
COLLECTED = ("pickup", "dine_in")
YEAR_2000_US = 946_684_800 * 1_000_000
A_DAY_US = 24 * 60 * 60 * 1_000_000


@dataclass(frozen=True)
class Logged:
    """A record with its place in the log. `first` is the offset at which the same event was logged first."""

    offset: int
    ms: int
    record: ApplicableRecord
    first: int

    @property
    def key(self) -> tuple[str, str, str]:
        """Source, order and event id: what a repeat has in common with it."""
        return self.record.source.uid, self.record.order_id, self.record.event_id

    @property
    def role(self) -> str:
        """The sender's role as plain text."""
        return str(self.record.source.role)

    @property
    def reports(self) -> str:
        """The status it tells of; empty when it tells of none."""
        return str(self.record.event.status) if isinstance(self.record.event, StatusEvent) else ""

    @property
    def mark(self) -> str | None:
        """What is wrong with the sender's time."""
        event = self.record.event
        if event.occurred_mark is not None:
            return str(event.occurred_mark)
        if event.occurred_us is None:
            return "missing"
        if event.occurred_us < YEAR_2000_US or event.occurred_us > self.ms * 1000 + A_DAY_US:
            return "implausible"
        return None

    @property
    def claimed_us(self) -> int | None:
        """The sender's time, if it is plausible."""
        return self.record.event.occurred_us if self.mark is None else None


@dataclass(frozen=True)
class Chapter:
    """An event that was not refused, and how it left the order."""

    by: Logged
    verdict: str
    before: str | None
    after: str
    parties: dict[str, str]
    fulfilment: str | None
    changed: bool = False
    """By an operator's move or an amendment."""


@dataclass
class Story:
    """All chapters of one order; without any it is unknown."""

    chapters: list[Chapter] = field(default_factory=list)

    @property
    def known(self) -> bool:
        """Whether it was announced."""
        return bool(self.chapters)

    @property
    def now(self) -> Chapter:
        """How the order stands."""
        return self.chapters[-1]

    @property
    def collected(self) -> bool:
        """Whether no courier takes it."""
        return self.now.fulfilment in COLLECTED

    @staticmethod
    def _speaks_for(event: Logged, parties: Iterable[str | None]) -> bool:
        mine = event.record.source.parties
        return mine is None or event.role in ("platform", "operator") or any(party in mine for party in parties)

    def names(self, event: Logged) -> bool:
        """Whether the order names a party of the source now."""
        return self._speaks_for(event, [self.now.parties.get(event.role)])

    def is_foreign_to(self, event: Logged) -> bool:
        """Whether the order is unknown, or never named a party of the source."""
        return not self._speaks_for(event, [c.parties.get(event.role) for c in self.chapters]) or not self.known

    def walk(self) -> Iterator[tuple[Chapter, int, int]]:
        """Every move with the rank it started from and the rank it led to. A cancelled order keeps its rank."""
        rank = 0
        for chapter in self.chapters:
            if chapter.verdict == "applied":
                started = rank
                rank = rank if chapter.after == "CANCELLED" else CHAIN.index(chapter.after)
                yield chapter, started, rank

    def rank(self) -> int:
        """How far down the chain the order has come; for a cancelled one, before it was cancelled."""
        return [ended for _, _, ended in self.walk()][-1]

    def last_move(self) -> Logged:
        """The event that brought the present status."""
        return [chapter.by for chapter, _, _ in self.walk()][-1]

    def passed_by(self, status: str) -> Logged:
        """The event that moved the order past the status, the last time that happened."""
        wanted = CHAIN.index(status)
        return [chapter.by for chapter, started, ended in self.walk() if started <= wanted < ended][-1]

    def cancelled_by(self) -> Logged:
        """The event that cancelled the order, the last time that happened."""
        return [chapter.by for chapter, _, _ in self.walk() if chapter.after == "CANCELLED"][-1]

    def undone_by(self, status: str) -> Logged | None:
        """The operator's move that took the status back, the last one if there were several."""
        moves = [move for move in self.walk() if move[0].by.role == "operator" and move[0].after != "CANCELLED"]
        if status == "CANCELLED":
            undoings = [chapter.by for chapter, _, _ in moves if chapter.before == "CANCELLED"]
        else:
            rank = CHAIN.index(status)
            undoings = [chapter.by for chapter, started, ended in moves if started >= rank > ended]
        return undoings[-1] if undoings else None

    def was_told(self, event: Logged) -> bool:
        """Whether the event's source has told of the same status before, not counting what was refused."""
        uid = event.record.source.uid
        return any(c.by.record.source.uid == uid and c.by.reports == event.reports for c in self.chapters)

    def is_ahead(self, status: str) -> bool:
        """CANCELLED, or ahead in the full chain. Nothing is ahead of CANCELLED."""
        if self.now.after == "CANCELLED":
            return False
        return status == "CANCELLED" or CHAIN.index(status) > CHAIN.index(self.now.after)

    def allows(self, event: Logged) -> bool:
        """Whether the event's role may move to its status: the table of section 3."""
        wanted, fulfilment = event.reports, self.now.fulfilment
        if event.role == "restaurant":
            return (
                wanted in ("ACCEPTED_BY_RESTAURANT", "COOKING", "READY")
                or (wanted == "TAKEN_BY_COURIER" and fulfilment == "own_delivery")
                or (wanted == "DELIVERED" and fulfilment in ("own_delivery", *COLLECTED))
                or (wanted == "CANCELLED" and self.now.after != "DELIVERED")
            )
        if event.role == "courier":
            return wanted in ("TAKEN_BY_COURIER", "DELIVERED")
        return True
