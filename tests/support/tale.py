"""Tells an order's life in a few lines and reads its trail back in a few words."""

from __future__ import annotations

from typing import Any

from consumers.ledger import Ledger
from consumers.ledger_entries import Receipt
from schemas.dead_letters import DeadLetterState
from schemas.events import AnyEvent, FactEvent, OrderAmended, OrderPlaced, StatusEvent
from schemas.outcomes import TrailRow
from schemas.records import Erasable, SourceStamp
from schemas.statuses import OrderStatus
from schemas.times import TimeMark
from tests.support.comparing import check_agreement
from tests.support.model import apply_all
from tests.support.oracle import DEFAULT_LIMITS, Limits, Oracle
from tests.support.received import (
    START_MS,
    Broken,
    Timed,
    discarded,
    erased,
    event_record,
    logged,
    replayed,
    source,
    tick,
)

PLATFORM = source("platform")
MARKETPLACE = source("marketplace", "M1")
KITCHEN = source("restaurant", "R1")
COURIER = source("courier", "C1")
OTHER_COURIER = source("courier", "C2")
OPERATOR = source("operator", uid="ann", hold_ms=0)
SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


class Tale:
    """The records of one partition, told one after the other. Times are milliseconds after the log's beginning."""

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.log: list[Timed] = []
        self.aside: set[tuple[int, int]] = set()
        self.now = 0

    def wait(self, milliseconds: int) -> Tale:
        """The log's time passes."""
        self.now += milliseconds
        return self

    def tick(self) -> Tale:
        """The partition's owner appends a tick."""
        self.log.append((tick(), self.now))
        return self

    def send(self, by: SourceStamp, event: AnyEvent, *, event_id: str | None = None, order: str = "A") -> Tale:
        """A source sends an event; without an id it gets a fresh one."""
        self.log.append((event_record(order, event, by, event_id=event_id), self.now))
        return self

    def reports(
        self,
        by: SourceStamp,
        status: str,
        *,
        at: int | None = None,
        at_us: int | None = None,
        event_id: str | None = None,
        order: str = "A",
    ) -> Tale:
        """A source reports a status, claiming that it happened `at` ms after the log's beginning, or at no time."""
        claimed = (START_MS + at) * 1000 if at is not None else at_us
        mark = TimeMark.MISSING if claimed is None else None
        event = StatusEvent(status=OrderStatus(status), occurred_us=claimed, occurred_mark=mark)
        return self.send(by, event, event_id=event_id, order=order)

    def announced(
        self, by: SourceStamp = PLATFORM, *, fulfilment: str | None = None, order: str = "A", **who: str
    ) -> Tale:
        """The order is announced, unless said otherwise for R1, C1 and M1."""
        named = who or {"restaurant": "R1", "courier": "C1", "marketplace": "M1"}
        return self.send(by, placed(named, fulfilment=fulfilment), order=order)

    def amends(
        self, by: SourceStamp, *, event_id: str | None = None, fulfilment: str | None = None, **who: Any
    ) -> Tale:
        """A source amends parties or fulfilment."""
        told = {"parties": who, "fulfilment": fulfilment, "occurred_mark": TimeMark.MISSING}
        return self.send(by, OrderAmended.model_validate(told), event_id=event_id)

    def fact(self, by: SourceStamp, code: str) -> Tale:
        """A source tells of something with no place in the lifecycle."""
        return self.send(by, FactEvent(code=code, occurred_mark=TimeMark.MISSING))

    # --- what goes wrong, and who tidies up -----------------------------------------------------------------------

    @property
    def here(self) -> int:
        """The offset of the last record told."""
        return len(self.log) - 1

    def fails(self, event: int | None = None) -> Tale:
        """Under the last record, deciding the event at that offset fails (the record itself, unless said otherwise)."""
        self.aside.add((self.here, self.here if event is None else event))
        return self

    def broken(self, order: str | None = "A") -> Tale:
        """Bytes that nobody can read; their key names the order."""
        self.log.append((Broken(order), self.now))
        return self.fails()

    def replays(self, in_hand: int, event: int | None = None, *, order: str = "A") -> Tale:
        """A person replays what was set aside under that offset."""
        event = in_hand if event is None else event
        original, ms = self.log[event]
        self.log.append((replayed(original, (in_hand, event), order=order, log_ms=START_MS + ms), self.now))
        return self

    def discards(self, in_hand: int, event: int | None = None, *, order: str = "A") -> Tale:
        """A person discards what was set aside under that offset."""
        self.log.append((discarded((in_hand, in_hand if event is None else event), order=order), self.now))
        return self

    def erases(self, *classes: Erasable, order: str = "A") -> Tale:
        """A person has the order's data erased."""
        self.log.append((erased(order, *classes), self.now))
        return self

    # --- what became of it ----------------------------------------------------------------------------------------

    def applied(self) -> Ledger:
        """The ledger after all of it. The oracle must agree."""
        ledger = apply_all(logged(self.log), aside=self.aside)
        oracle = Oracle(limits=self.limits, aside=self.aside).read(self.log)
        check_agreement(ledger, oracle)
        return ledger

    def rows(self) -> list[TrailRow]:
        """The whole trail."""
        return [row for row, _ in self.applied().changes.rows]

    def trail(self) -> list[str]:
        """The trail in words: verdict, then the move or the reason; `?` stands before what is outside the history."""
        return [in_words(row) for row in self.rows()]

    def last(self) -> str:
        """The trail's last row in words."""
        return self.trail()[-1]

    def waiting(self) -> dict[int, str]:
        """Why the events at these offsets wait."""
        return {offset: str(held.kind) for offset, held in sorted(self.applied().held.items())}

    def still_open(self) -> list[tuple[int, int]]:
        """The pairs that are set aside and neither replayed nor discarded."""
        letters = self.applied().dead_letters.values()
        return [letter.pair for letter in letters if letter.state is DeadLetterState.OPEN]

    def receipt(self, event_id: str) -> Receipt:
        """What the sender of that event id is told."""
        return next(receipt for receipt in self.applied().receipts.values() if receipt.event_id == event_id)


def placed(parties: dict[str, str], **fields: Any) -> OrderPlaced:
    """An announcement."""
    return OrderPlaced.model_validate({"parties": parties, "occurred_mark": TimeMark.MISSING, **fields})


def in_words(row: TrailRow) -> str:
    """`applied NEW>READY`, `(applied NEW>COOKING)` when inferred, `rejected order_closed`, `? rejected ...`."""
    words = str(row.verdict)
    if row.from_status != row.to_status:
        words += f" {row.from_status or ''}>{row.to_status}"
    if row.reason is not None:
        words += f" {row.reason}"
    words = f"({words})" if row.inferred else words
    return f"? {words}" if row.foreign else words
