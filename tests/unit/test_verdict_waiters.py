"""Waiters and the reader of outcomes, on a fake log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from backbone.eventlog.port import EventLog, LogRecord
from backbone.metrics import Metrics
from consumers.relay import outcome_record
from schemas.errors import LogGap, LogUnavailable
from schemas.identifiers import ReceiptId
from schemas.topics import OUTCOMES, topic_specs
from service.verdicts.tail import OutcomesTail
from service.verdicts.waiters import Waiter, Waiters
from tests.support.chains import trail_row
from tests.support.fake_log import FakeLog, FakeTail
from tests.support.waiting import wait_until

KEY = b"default:o1"
DIGEST = "ab" * 16


@dataclass
class Bench:
    """A fake outcomes topic, the waiters and their reader."""

    log: FakeLog
    waiters: Waiters
    tail: OutcomesTail

    async def publish(self, offset: int, **fields: Any) -> None:
        """Publishes an outcome of the event e1 of k1 at this offset."""
        row = trail_row(0, 1, **{"event_id": "e1", "offset": offset, **fields})
        await self.log.append(OUTCOMES, [outcome_record(row, bytes(32))])

    def register(self, event_id: str = "e1") -> Waiter:
        """Someone waits for an event of k1 to o1."""
        waiter = self.waiters.register(KEY, "k1", event_id)
        assert waiter is not None
        return waiter


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Everything reading, nothing published."""
    log = FakeLog(now_ms=lambda: 1)
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=2, replication=1, min_insync=1))
    made = make_bench(log)
    made.tail.start()
    await wait_until(lambda: made.tail.ready)
    yield made
    await made.tail.stop()


def make_bench(log: EventLog) -> Bench:
    """A reader that is not started."""
    waiters = Waiters(Metrics(), most=3)
    tail = OutcomesTail(
        log,
        topic=OUTCOMES,
        partitions=2,
        deliver=waiters.deliver,
        found=waiters.outcomes_found,
        lost=waiters.outcomes_lost,
        first_pause_s=0.001,
    )
    assert isinstance(log, FakeLog)
    return Bench(log, waiters, tail)


def at(offset: int) -> ReceiptId:
    """The receipt of an event of partition 0."""
    return ReceiptId(0, offset, DIGEST)


async def seen(bench: Bench) -> None:
    """Returns when the reader has taken in all that was published so far."""
    probe = bench.waiters.register(b"default:probe", "k1", "probe")
    assert probe is not None
    probe.locate(at(0))
    await bench.publish(0, order_id="probe", event_id="probe")
    await asyncio.wait_for(probe.verdict, 5)
    bench.waiters.leave(probe)


async def test_outcome_of_the_own_offset_is_the_verdict(bench: Bench) -> None:
    """Other events, sources and orders do not resolve a waiter; its own outcome does, as its receipt reads."""
    waiter = bench.register()
    waiter.locate(at(7))
    await bench.publish(7, event_id="e2")
    await bench.publish(7, source_uid="k2")
    await bench.publish(7, order_id="o2")
    await seen(bench)
    assert not waiter.verdict.done()
    assert not waiter.look.done()
    await bench.publish(7, verdict="rejected", reason="order_closed", from_status="CANCELLED", to_status="CANCELLED")
    view = await asyncio.wait_for(waiter.verdict, 5)
    assert view is not None
    assert (view.state, view.verdict, view.reason) == ("final", "rejected", "order_closed")
    assert (view.receipt_id, view.from_status, view.to_status) == (str(at(7)), "CANCELLED", "CANCELLED")


async def test_outcomes_before_the_position_is_known_wait_for_it(bench: Bench) -> None:
    """An outcome may come before the append returns: it counts once the offset is known, and only if it fits."""
    early, other = bench.register(), bench.register()
    await bench.publish(3)
    await seen(bench)
    assert not early.verdict.done()
    early.locate(at(3))
    assert early.verdict.done()
    other.locate(at(4))
    assert not other.verdict.done()
    assert other.look.done()


async def test_inferred_steps_are_one_verdict(bench: Bench) -> None:
    """A verdict that passes steps over is told from where its first step began."""
    waiter = bench.register()
    waiter.locate(at(5))
    await bench.publish(5, inferred=True, from_status="NEW", to_status="ACCEPTED_BY_RESTAURANT")
    await bench.publish(5, from_status="ACCEPTED_BY_RESTAURANT", to_status="COOKING")
    view = await asyncio.wait_for(waiter.verdict, 5)
    assert view is not None
    assert (view.from_status, view.to_status) == ("NEW", "COOKING")


async def test_foreign_attempt_learns_what_its_receipt_says(bench: Bench) -> None:
    """That the order is there is not given away."""
    waiter = bench.register()
    waiter.locate(at(5))
    await bench.publish(5, verdict="rejected", reason="not_your_order", foreign=True)
    view = await asyncio.wait_for(waiter.verdict, 5)
    assert view is not None
    assert (view.reason, view.from_status, view.to_status) == ("order_not_found", None, None)


async def test_other_attempt_of_the_same_event_sends_to_the_receipt(bench: Bench) -> None:
    """Neither an earlier nor a later attempt's outcome is taken for the own one."""
    for offset in (4, 6):
        waiter = bench.register()
        waiter.locate(at(5))
        await bench.publish(offset)
        await asyncio.wait_for(waiter.look, 5)
        assert not waiter.verdict.done()
        bench.waiters.leave(waiter)


async def test_waiters_are_bounded_and_leave(bench: Bench) -> None:
    """Beyond the bound nobody waits; who leaves makes room; leaving twice does no harm."""
    waiting = [bench.register() for _ in range(3)]
    assert bench.waiters.register(KEY, "k1", "e1") is None
    bench.waiters.leave(waiting[0])
    bench.waiters.leave(waiting[0])
    assert len(bench.waiters) == 2
    bench.register()
    assert bench.waiters.register(KEY, "k1", "e1") is None


async def test_one_source_does_not_take_every_place() -> None:
    """A source has a bound of its own, below that of all."""
    waiters = Waiters(Metrics(), most=3, most_of_a_source=2)
    first = waiters.register(KEY, "k1", "e1")
    assert first is not None
    assert waiters.register(KEY, "k1", "e2") is not None
    assert waiters.register(KEY, "k1", "e3") is None
    assert waiters.register(KEY, "k2", "e3") is not None
    waiters.leave(first)
    assert waiters.register(KEY, "k1", "e3") is not None


async def test_stop_lets_everybody_go(bench: Bench) -> None:
    """At the process's end nobody is kept, and nobody waits again."""
    waiter = bench.register()
    bench.waiters.stop()
    assert await asyncio.wait_for(waiter.verdict, 5) is None
    assert bench.waiters.register(KEY, "k1", "e1") is None


async def test_who_registers_before_outcomes_are_read_looks_at_the_receipt() -> None:
    """While the log is away outcomes may pass by; the reader comes up by itself when it answers."""
    log = FakeLog(now_ms=lambda: 1)
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=2, replication=1, min_insync=1))
    log.down = True
    bench = make_bench(log)
    bench.tail.start()
    waiter = bench.register()
    assert waiter.look.done()
    assert not bench.tail.ready
    log.down = False
    await wait_until(lambda: bench.tail.ready)
    later = bench.register()
    assert not later.look.done()
    await bench.tail.stop()


async def test_while_outcomes_are_lost_everybody_looks_at_the_receipt(bench: Bench) -> None:
    """Who waits and who registers meanwhile; `ready` and `reading` say the same; later ones wait for outcomes again."""
    early = bench.register()
    bench.log.down = True
    await asyncio.wait_for(early.look, 5)
    assert (bench.tail.ready, bench.waiters.reading) == (False, False)
    assert bench.register().look.done()
    bench.log.down = False
    await wait_until(lambda: bench.tail.ready)
    assert bench.waiters.reading
    assert not bench.register().look.done()
    await bench.tail.stop()
    assert not bench.waiters.reading


class BreakingLog(FakeLog):
    """Its tail readers fail at their next read when told to."""

    def __init__(self) -> None:
        super().__init__(now_ms=lambda: 1)
        self.failures: list[Exception] = []
        self.opened: list[dict[int, int]] = []

    async def tail(self, topic: str, start: Mapping[int, int]) -> FakeTail:
        """See the port."""
        self.opened.append(dict(start))
        return _BreakingTail(self, topic, start)


class _BreakingTail(FakeTail):
    def __init__(self, log: BreakingLog, topic: str, start: Mapping[int, int]) -> None:
        super().__init__(log, topic, start)
        self._breaking = log

    async def read(self, *, max_records: int, timeout: float) -> list[LogRecord]:
        """See the port."""
        found = await super().read(max_records=max_records, timeout=timeout)
        if self._breaking.failures:
            raise self._breaking.failures.pop()
        return found


@pytest.mark.parametrize("error", [LogUnavailable("gone"), RuntimeError("a bug")])
async def test_broken_reader_is_replaced_where_it_was(error: Exception) -> None:
    """What was published meanwhile is read by the next reader: nobody misses an outcome. Receipts are looked at too."""
    log = BreakingLog()
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=2, replication=1, min_insync=1))
    bench = make_bench(log)
    bench.tail.start()
    await wait_until(lambda: bench.tail.ready)
    waiter = bench.register()
    waiter.locate(at(7))
    log.failures.append(error)
    await bench.publish(7)
    assert await asyncio.wait_for(waiter.verdict, 5) is not None
    assert waiter.look.done()
    assert log.opened[:2] == [{0: 0, 1: 0}, {0: 0, 1: 0}]
    await bench.tail.stop()


async def test_gap_in_outcomes_sends_everybody_to_the_receipts() -> None:
    """Where the log no longer has what comes next, the reader goes on from the end and says that it missed some."""
    log = BreakingLog()
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=2, replication=1, min_insync=1))
    bench = make_bench(log)
    bench.tail.start()
    await wait_until(lambda: bench.tail.ready)
    waiter = bench.register()
    waiter.locate(at(7))
    log.failures.append(LogGap("expired"))
    await bench.publish(7)
    await asyncio.wait_for(waiter.look, 5)
    await wait_until(lambda: bench.tail.ready)
    assert log.opened[1] == {0: 1, 1: 0}
    await bench.tail.stop()
