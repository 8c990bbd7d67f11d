"""Retention by class of data, on both databases: what is old goes, through the log, and nothing else does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from backbone.clocks import SYSTEM_CLOCK, Clock
from backbone.eventlog.port import LogRecord
from backbone.metrics import Metrics
from backbone.steady_time import APART_MS, CONFIRM_S
from backbone.store.engine import Store
from backbone.store.holdings import NOTHING, Holdings, HoldingsReadings
from backbone.store.tables import event_payloads, offsets, order_details, receipts, trail
from consumers.applier import Applier
from consumers.expiry import ACTOR, Expiry, Looked
from schemas.events import AnyEvent, OrderAmended, OrderPlaced
from schemas.records import Erasable, EraseRecord, SourceStamp, load_record
from schemas.times import TimeMark
from schemas.topics import RECEIVED, topic_specs
from tests.support.fake_log import FakeLog
from tests.support.received import START_MS, event_record, new_record, source, status, tick
from tests.support.stores import store
from tests.support.waiting import wait_until
from tests.support.working_site import Staff, serve_working_site

__all__ = ["store"]

DAY = 86_400_000
KEEP = 30 * DAY
PLATFORM = source("platform")


@dataclass
class Partition:
    """One partition: a log whose clock the test sets, a store, and retention of both classes."""

    store: Store
    most_events: int = 500
    now_ms: int = START_MS
    wall_ms: int | None = None
    uptime_s: float = 0.0
    metrics: Metrics = field(default_factory=Metrics)
    log: FakeLog = field(init=False)

    def __post_init__(self) -> None:
        self.log = FakeLog(now_ms=lambda: self.now_ms)

    async def post(self, day: float, order_id: str, event: AnyEvent, by: SourceStamp = PLATFORM, **ids: str) -> None:
        """An event that is logged so many days after the start."""
        self.now_ms = START_MS + round(day * DAY)
        record = event_record(order_id, event, by, event_id=ids.get("event_id"))
        await self.log.append(RECEIVED, [new_record(record, partition=0)])

    async def pass_to(self, day: float) -> None:
        """Nothing happens until that day, when a tick is logged; then all is applied."""
        self.now_ms = START_MS + round(day * DAY)
        await self.log.append(RECEIVED, [new_record(tick(), partition=0)])
        await self.apply()

    async def apply(self) -> None:
        """Applies what lies in the log."""
        start = (await Applier(self.store).claim(0)).next
        if new := await self.records(start):
            await Applier(self.store).apply(0, new, start=start, published=0)

    async def records(self, start: int = 0) -> list[LogRecord]:
        """What lies in the log from there on."""
        tail = await self.log.tail(RECEIVED, {0: start})
        found = await tail.read(max_records=100_000, timeout=0)
        await tail.stop()
        return found

    def owner(self) -> Expiry:
        """An owner that has just come."""
        return Expiry(
            log=self.log,
            store=self.store,
            topic=RECEIVED,
            partition=0,
            keep_ms=dict.fromkeys(Erasable, KEEP),
            clock=Clock(lambda: self.now_ms if self.wall_ms is None else self.wall_ms, lambda: self.uptime_s),
            metrics=self.metrics,
            most_events=self.most_events,
        )

    async def look(self, erasable: Erasable) -> Looked:
        """The second look of a new owner, which believes the watermark by then."""
        owner = self.owner()
        assert not (await owner.look(erasable)).erased
        self.uptime_s += CONFIRM_S
        return await owner.look(erasable)

    async def erased(self) -> list[tuple[str, tuple[Erasable, ...]]]:
        """The erasures in the log, in order."""
        found = [load_record(record.value) for record in await self.records()]
        return [(one.order_id, one.classes) for one in found if isinstance(one, EraseRecord)]

    async def left(self, order_id: str) -> Holdings:
        """What is left of an order."""
        return (await HoldingsReadings(self.store).holdings([order_id])).get(order_id, NOTHING)


def placed(order_id: str) -> OrderPlaced:
    """An announcement with a customer."""
    return OrderPlaced(
        occurred_mark=TimeMark.MISSING,
        external_ids=(f"X-{order_id}",),
        details={"customer": {"name": "Ana", "phone": "+34 600 000 000"}},
        comment="ring twice",
    )


@pytest.fixture
async def partition(store: Store) -> AsyncIterator[Partition]:
    """An empty partition."""
    made = Partition(store)
    await made.log.start()
    await made.log.create_topics(topic_specs(prefix="", partitions=1, replication=1, min_insync=1))
    yield made
    await made.log.stop()


async def test_what_is_old_goes_and_what_is_young_stays(partition: Partition) -> None:
    """Each class by itself; an order is old whatever its status, and young for the sake of one young event."""
    await partition.post(0, "left-cooking", placed("left-cooking"))
    await partition.post(1, "left-cooking", status("COOKING", comment="spicy"))
    await partition.post(2, "touched", placed("touched"))
    await partition.post(20, "touched", OrderAmended(occurred_mark=TimeMark.MISSING, details={"remarks": "no onions"}))
    await partition.post(25, "young", placed("young"))
    await partition.pass_to(32)
    assert (await partition.look(Erasable.PAYLOADS)).erased == ("left-cooking",)
    await partition.apply()
    left = await partition.left("left-cooking")
    assert (left.bodies, left.notes, left.details, left.external_ids) == (0, 2, 1, 1)
    assert (await partition.look(Erasable.PERSONAL)).erased == ("left-cooking",)
    await partition.apply()
    assert await partition.left("left-cooking") == NOTHING
    for order_id in ("touched", "young"):
        assert (await partition.left(order_id)).has(Erasable.PAYLOADS)
        assert (await partition.left(order_id)).has(Erasable.PERSONAL)
    await partition.pass_to(51)
    assert (await partition.look(Erasable.PERSONAL)).erased == ("touched",)
    await partition.apply()
    assert not (await partition.left("touched")).has(Erasable.PERSONAL)
    assert (await partition.left("young")).details == 1


async def test_nothing_is_erased_twice(partition: Partition) -> None:
    """By further looks, by another owner, after the remembered place was lost, or after a person has done it."""
    await partition.post(0, "o1", placed("o1"))
    await partition.post(0, "o2", placed("o2"))
    await partition.pass_to(40)
    looked = await partition.look(Erasable.PERSONAL)
    assert looked.erased == ("o1", "o2")
    assert looked.kept_from == 2
    await partition.apply()
    for _ in range(2):
        assert (await partition.look(Erasable.PERSONAL)).erased == ()
    async with partition.store.transaction() as connection:
        await connection.execute(offsets.update().values(personal_kept_from=0))
    assert (await partition.look(Erasable.PERSONAL)).erased == ()
    assert await partition.erased() == [("o1", (Erasable.PERSONAL,)), ("o2", (Erasable.PERSONAL,))]
    acts = [load_record(record.value) for record in await partition.records()]
    assert {act.actor for act in acts if isinstance(act, EraseRecord)} == {ACTOR}


async def test_time_is_the_logs(partition: Partition) -> None:
    """Without a record that makes log time pass, nothing grows old, whatever this machine's clock says."""
    await partition.post(0, "o1", placed("o1"))
    await partition.apply()
    partition.now_ms = START_MS + 1000 * DAY
    assert (await partition.look(Erasable.PAYLOADS)) == Looked((), 0, more=False)
    await partition.pass_to(30 - 1e-6)
    assert (await partition.look(Erasable.PAYLOADS)).erased == ()
    await partition.pass_to(30)
    assert (await partition.look(Erasable.PAYLOADS)).erased == ("o1",)


async def test_a_watermark_that_jumped_erases_nothing(partition: Partition) -> None:
    """The log's clock was 400 days ahead for one record: while the wall clock was wrong with it, as it is right again,
    and for as long as the watermark is ahead. It is told once.
    """
    await partition.post(0, "o1", placed("o1"))
    await partition.pass_to(400)
    owner = partition.owner()
    for erasable in Erasable:
        assert (await owner.look(erasable)).erased == ()
    partition.wall_ms = START_MS
    with capture_logs() as lines:
        for _ in range(3):
            partition.uptime_s += CONFIRM_S
            assert (await owner.look(Erasable.PERSONAL)).erased == ()
    assert [line["event"] for line in lines] == ["retention_waits"]
    assert b'mealtrail_retention_waits{partition="0"} 1.0' in partition.metrics.exposition()
    assert (await partition.left("o1")).details == 1
    partition.wall_ms = START_MS + 400 * DAY - APART_MS
    assert (await owner.look(Erasable.PERSONAL)).erased == ()
    assert b'mealtrail_retention_waits{partition="0"} 0.0' in partition.metrics.exposition()
    partition.uptime_s += CONFIRM_S - 1
    assert (await owner.look(Erasable.PERSONAL)).erased == ()
    partition.uptime_s += 1
    assert (await owner.look(Erasable.PERSONAL)).erased == ("o1",)


async def test_what_grew_old_within_the_last_minute_waits(partition: Partition) -> None:
    """The age must have held at the earlier of the two looks."""
    await partition.post(0, "o1", placed("o1"))
    await partition.pass_to(29.999)
    owner = partition.owner()
    await owner.look(Erasable.PERSONAL)
    await partition.pass_to(30)
    partition.uptime_s += CONFIRM_S
    assert (await owner.look(Erasable.PERSONAL)).erased == ()
    partition.uptime_s += CONFIRM_S
    assert (await owner.look(Erasable.PERSONAL)).erased == ("o1",)


async def test_each_look_is_bounded_and_they_get_through(partition: Partition) -> None:
    """Many old orders, a few events a look: all of them are erased, each once."""
    partition.most_events = 7
    for number in range(30):
        await partition.post(number / 100, f"o{number:02}", placed("o"))
        await partition.post(number / 100, f"o{number // 2:02}", status("COOKING"))
    await partition.pass_to(40)
    looks = 0
    more = True
    while more:
        looked = await partition.look(Erasable.PAYLOADS)
        assert len(looked.erased) <= 7
        more, looks = looked.more, looks + 1
        await partition.apply()
    assert looks == 9
    assert sorted(order_id for order_id, _ in await partition.erased()) == [f"o{number:02}" for number in range(30)]
    async with partition.store.reading() as connection:
        kept = await connection.scalars(select(event_payloads.c.offset).where(event_payloads.c.salt.is_not(None)))
        assert list(kept) == []


async def test_events_without_an_order_grow_old_too(partition: Partition) -> None:
    """Those that were rejected, and those that still wait: their bytes go; the waiting one is decided as ever."""
    waits = source("courier", "c1", hold_ms=60 * DAY)
    await partition.post(0, "nobody", status("DELIVERED", comment="left at the door"), waits)
    refused = source("restaurant", "r1", hold_ms=0)
    await partition.post(0, "unknown", status("COOKING", comment="for Ana"), refused)
    await partition.pass_to(40)
    for erasable in Erasable:
        assert (await partition.look(erasable)).erased == ("nobody", "unknown")
        await partition.apply()
    assert await partition.left("nobody") == NOTHING
    assert await partition.left("unknown") == NOTHING
    await partition.pass_to(61)
    async with partition.store.reading() as connection:
        rows = await connection.execute(select(trail.c.order_id, trail.c.reason).order_by(trail.c.seq))
        assert list(rows) == [("unknown", "order_not_found"), ("nobody", "order_not_found")]


async def test_the_trail_and_the_receipts_stay(partition: Partition) -> None:
    """A repeat of an event whose order was erased long ago is absorbed like any other; the order takes no details."""
    await partition.post(0, "o1", placed("o1"), event_id="first")
    await partition.pass_to(400)
    for erasable in Erasable:
        await partition.look(erasable)
        await partition.apply()
    await partition.post(401, "o1", placed("o1"), event_id="first")
    await partition.post(401, "o1", OrderAmended(occurred_mark=TimeMark.MISSING, details={"remarks": "again"}))
    await partition.apply()
    async with partition.store.reading() as connection:
        repeats = await connection.scalar(select(receipts.c.repeats).where(receipts.c.event_id == "first"))
        kept = (await connection.execute(select(order_details.c.details, order_details.c.erased))).one()
    assert repeats == 1
    assert tuple(kept) == ("{}", True)


async def test_a_worker_looks_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner of a partition runs it as the settings have it; a fault of one look does not end the looking."""
    monkeypatch.setattr("consumers.expiry.LOOK_EVERY_S", 0.05)
    monkeypatch.setattr("backbone.steady_time.CONFIRM_S", 0.1)
    look, failed = Expiry.look, set[tuple[int, Erasable]]()

    async def look_with_a_fault(self: Expiry, erasable: Erasable) -> Looked:
        if (self._partition, erasable) not in failed:
            failed.add((self._partition, erasable))
            raise RuntimeError("a fault of ours")
        return await look(self, erasable)

    monkeypatch.setattr(Expiry, "look", look_with_a_fault)
    now_ms = SYSTEM_CLOCK.now_ms() - 31 * DAY
    log = FakeLog(now_ms=lambda: now_ms)
    kept = {"retention_payloads": 30 * DAY, "retention_personal": 400 * DAY}
    async with serve_working_site(tmp_path, log=log, **kept) as site:
        staff = await Staff.hired(site)
        await staff.announce("old", details={"remarks": "for Ana"})
        readings = HoldingsReadings(site.store)
        assert (await readings.holdings(["old"]))["old"].bodies == 1
        now_ms += 31 * DAY
        numbers = count()

        async def is_erased() -> bool:
            await staff.announce(f"young-{next(numbers)}")
            return (await readings.holdings(["old"]))["old"].bodies == 0

        await wait_until(is_erased, what="the owner to look")
        left = await readings.holdings(["old", "young-0"])
        assert left["old"].details == 1
        assert left["young-0"].bodies == 1
