"""Tells an order's life in a few lines and reads its trail back in a few words."""

from __future__ import annotations

from typing import Any

from consumers.ledger import Ledger, Receipt
from schemas.events import AnyEvent, FactEvent, OrderAmended, OrderPlaced, StatusEvent
from schemas.outcomes import TrailRow
from schemas.records import ApplicableRecord, SourceStamp, TickRecord
from schemas.statuses import OrderStatus
from schemas.times import TimeMark
from tests.support.comparing import as_line
from tests.support.model import apply_all
from tests.support.oracle import Oracle
from tests.support.received import START_MS, event_record, logged, source, tick

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

    def __init__(self, *, holds_per_source: int = 1000) -> None:
        self.holds_per_source = holds_per_source
        self.log: list[tuple[ApplicableRecord | TickRecord, int]] = []
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

    # --- what became of it ----------------------------------------------------------------------------------------

    def applied(self) -> Ledger:
        """The ledger after all of it. The oracle must agree."""
        ledger = apply_all(logged(self.log))
        oracle = Oracle(holds_per_source=self.holds_per_source).read(self.log)
        assert [as_line(row) for row, _ in ledger.changes.rows] == oracle.lines
        assert set(ledger.held) == set(oracle.waiting)
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
