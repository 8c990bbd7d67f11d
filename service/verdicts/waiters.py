"""Who waits in this process, and what the outcomes that come by mean to each of them.

An outcome is matched to a waiter by (source, order, event id) and by the offset of the event it decided. Outcomes that
come before the waiter knows its own offset are kept until it does. Only an outcome of exactly that offset is the
waiter's own; any other one of the key means that the key has a history, and the waiter is told to look at the receipt.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from backbone.eventlog.port import LogRecord
from backbone.metrics import Metrics
from backbone.store.readings import ReceiptView
from schemas.identifiers import ReceiptId
from schemas.verdicts import Reason, ReceiptState

MOST_WAITERS = 1000
MOST_OF_A_SOURCE = 250
"""So that one partner, waiting long for events that are held, does not take everybody's place."""
_MOST_EARLY = 64


@dataclass(eq=False)
class Waiter:
    """One request that waits. Made by `Waiters.register`."""

    record_key: bytes
    source_uid: str
    event_id: str
    verdict: asyncio.Future[ReceiptView | None]
    """The outcome as a receipt; None when waiting makes no more sense."""
    look: asyncio.Future[None]
    """Done when the receipt should be read: outcomes alone will not tell."""
    _receipt: ReceiptId | None = None
    _early: list[Mapping[str, Any]] = field(default_factory=list)
    _first_from: str | None = None
    _stepped: bool = False

    def look_at_receipt(self) -> None:
        """Sends the waiter to its receipt. May be repeated."""
        if not self.look.done():
            self.look.set_result(None)

    def locate(self, receipt: ReceiptId) -> None:
        """Tells where the event lies; outcomes that came before are judged now."""
        self._receipt = receipt
        early, self._early = self._early, []
        for outcome in early:
            self._judge(outcome, receipt)

    def see(self, outcome: Mapping[str, Any]) -> None:
        """Takes an outcome of this waiter's order, of whatever source and event."""
        if outcome["source_uid"] != self.source_uid or outcome["event_id"] != self.event_id:
            return
        if self._receipt is not None:
            self._judge(outcome, self._receipt)
        elif len(self._early) < _MOST_EARLY:
            self._early.append(outcome)
        else:
            self.look_at_receipt()

    def _judge(self, outcome: Mapping[str, Any], receipt: ReceiptId) -> None:
        if outcome["offset"] != receipt.offset:
            self.look_at_receipt()
            return
        if not self._stepped:
            self._first_from, self._stepped = outcome["from_status"], True
        if not outcome["inferred"] and not self.verdict.done():
            self.verdict.set_result(receipt_of(outcome, receipt, from_status=self._first_from))


def receipt_of(outcome: Mapping[str, Any], receipt: ReceiptId, *, from_status: str | None) -> ReceiptView:
    """What the receipt says of an event with this outcome. `from_status` is where its first step began: an event that
    passes steps over has an outcome for each. What was foreign is told as unknown, in the same words.
    """
    foreign, reason = outcome["foreign"], outcome["reason"]
    if foreign and reason == Reason.NOT_YOUR_ORDER:
        reason = Reason.ORDER_NOT_FOUND.value
    untold = foreign or reason == Reason.EVENT_ID_REUSED  # of no attempt that the receipt has statuses for
    return ReceiptView(
        receipt_id=str(receipt),
        event_id=outcome["event_id"],
        order_id=outcome["order_id"],
        source_uid=outcome["source_uid"],
        state=ReceiptState.FINAL,
        verdict=outcome["verdict"],
        reason=reason,
        from_status=None if untold else from_status,
        to_status=None if untold else outcome["to_status"],
    )


class Waiters:
    """All waiters of a process, by order. Bounded; belongs to one event loop."""

    def __init__(self, metrics: Metrics, *, most: int = MOST_WAITERS, most_of_a_source: int = MOST_OF_A_SOURCE) -> None:
        self._gauge = metrics.waiting_for_verdicts
        self._most = most
        self._most_of_a_source = most_of_a_source
        self._by_source: Counter[str] = Counter()
        self._by_order: dict[bytes, list[Waiter]] = {}
        self._count = 0
        self._stopping = False
        self.reading = False
        """What the reader of outcomes said last: whether they are read. Who registers while they are not looks at its
        receipt as well.
        """

    def __len__(self) -> int:
        return self._count

    def register(self, record_key: bytes, source_uid: str, event_id: str) -> Waiter | None:
        """A waiter, to be taken off by `leave`; None when too many wait (of all, or of this source) or the process
        stops: then nobody waits.
        """
        if self._count >= self._most or self._by_source[source_uid] >= self._most_of_a_source or self._stopping:
            return None
        loop = asyncio.get_running_loop()
        waiter = Waiter(record_key, source_uid, event_id, loop.create_future(), loop.create_future())
        if not self.reading:
            waiter.look_at_receipt()
        self._by_order.setdefault(record_key, []).append(waiter)
        self._count += 1
        self._by_source[source_uid] += 1
        self._gauge.set(self._count)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Takes a waiter off. May be repeated."""
        others = self._by_order.get(waiter.record_key, [])
        if waiter not in others:
            return
        others.remove(waiter)
        if not others:
            del self._by_order[waiter.record_key]
        waiter.verdict.cancel()
        waiter.look.cancel()
        self._count -= 1
        self._by_source[waiter.source_uid] -= 1
        if not self._by_source[waiter.source_uid]:
            del self._by_source[waiter.source_uid]
        self._gauge.set(self._count)

    def deliver(self, record: LogRecord) -> None:
        """Shows an outcome to those who wait for its order. What nobody waits for is not even parsed."""
        waiting = self._by_order.get(record.key or b"")
        if waiting:
            outcome = orjson.loads(record.value)
            for waiter in waiting:
                waiter.see(outcome)

    def outcomes_found(self) -> None:
        """Outcomes are read from here on. Some may have passed by, so everyone who waits looks at its receipt."""
        self.reading = True
        self._look_at_receipts()

    def outcomes_lost(self) -> None:
        """Outcomes are not read any more, until they are found again: everyone who waits looks at its receipt."""
        self.reading = False
        self._look_at_receipts()

    def _look_at_receipts(self) -> None:
        for waiting in self._by_order.values():
            for waiter in waiting:
                waiter.look_at_receipt()

    def stop(self) -> None:
        """Lets everybody go without a verdict; nobody waits again."""
        self._stopping = True
        for waiting in self._by_order.values():
            for waiter in waiting:
                if not waiter.verdict.done():
                    waiter.verdict.set_result(None)
