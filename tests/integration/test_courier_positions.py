"""Couriers' positions: the latest one, of open orders, for their parties, and never at the cost of an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from backbone.store.positions import CourierPosition, PositionRepository, Reported
from backbone.store.tables import courier_positions
from schemas.errors import StoreUnavailable
from schemas.records import EventRecord, load_record
from schemas.statuses import Role
from schemas.times import PLAUSIBLE_AHEAD_US, PLAUSIBLE_FROM_US
from schemas.topics import RECEIVED
from service.dialects.port import Position
from service.ingress.flushing import Flusher
from service.ingress.positions import MOST_ORDERS, PositionRecorder
from tests.support.catching_up import caught_up
from tests.support.dialect_fixtures import PARTIES, Partner, partners
from tests.support.fake_log import FakeLog
from tests.support.http_face import Site
from tests.support.waiting import wait_until
from tests.support.working_site import serve_working_site
from tests.unit.test_native_dialect import source

DRIVE: Partner = partners()["wolt-drive"]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A service with an order D-1 of r1, c1 and m1, and couriers of c1 and c2."""
    async with serve_working_site(tmp_path) as served:
        await served.add_source("platform", Role.PLATFORM, auth="bearer")
        await served.add_source("owner", Role.COURIER, auth="bearer", parties=("c1",))
        await served.add_source("kitchen", Role.RESTAURANT, auth="bearer", parties=("r1",))
        for name, party in (("drive", "c1"), ("rival", "c2")):
            await served.sources.add(DRIVE.new_source(name, parties=(party,)), actor="test")
        await served.parts.source_cache.refresh()
        body = {"order_id": "D-1", **PARTIES}
        reply = await served.post("/v1/orders", body, {**served.bearer("platform"), "Prefer": "wait=20"})
        assert reply.status == 200
        yield served


async def tell(site: Site, name: str, lat: float, *, at: str = "2021-05-26T15:00:00Z", order: str = "D-1") -> None:
    """A position of the courier, by Wolt Drive; written at once."""
    claims = (
        f'{{"type":"order.location_updated","dispatched_at":"{at}","details":{{"merchant_order_reference_id":"{order}",'
        f'"courier_location":{{"lat":{lat},"lon":34.78}}}}}}'
    )
    posting = DRIVE.sign(claims.encode())
    headers = {"Content-Type": "application/json", **posting.headers}
    reply = await site.call("POST", f"/v1/webhooks/{name}", data=posting.raw, headers=headers)
    assert (reply.status, reply.raw) == (200, b"")
    await site.parts.position_recorder.flush()


async def seen_by(site: Site, name: str, order: str = "D-1") -> Any:
    """The order's courier as this source sees it."""
    reply = await site.call("GET", f"/v1/orders/{order}", headers=site.bearer(name))
    assert reply.status == 200, reply.raw
    return reply.json["courier_position"]


async def stored(site: Site) -> int:
    """How many positions there are."""
    async with site.store.reading() as connection:
        return len((await connection.execute(select(courier_positions.c.order_id))).all())


async def test_the_latest_position_stands_beside_the_order_and_not_in_the_log(site: Site) -> None:
    """A later claim replaces, an earlier one that comes late does not; the log has the announcement alone."""
    assert await seen_by(site, "platform") is None
    await tell(site, "drive", 32.07, at="2021-05-26T15:00:05Z")
    await tell(site, "drive", 32.99, at="2021-05-26T15:00:01Z")
    found = await seen_by(site, "platform")
    assert (found["latitude"], found["longitude"], found["source"]) == (32.07, 34.78, "drive")
    assert found["occurred_at"] == "2021-05-26T15:00:05.000000Z"
    await tell(site, "drive", 32.08, at="2021-05-26T15:00:09Z")
    assert (await seen_by(site, "kitchen"))["latitude"] == 32.08
    assert await stored(site) == 1
    assert isinstance(site.log, FakeLog)
    records = [load_record(record.value) for record in site.log.records(RECEIVED)]
    assert [record.event.type for record in records if isinstance(record, EventRecord)] == ["announcement"]


async def test_strangers_report_and_see_nothing(site: Site) -> None:
    """Another courier company's position of our order is passed over, and so is one of an order that is not there."""
    await tell(site, "rival", 10.0)
    await tell(site, "drive", 10.0, order="nobody's")
    assert await stored(site) == 0
    await tell(site, "drive", 32.07)
    assert (await seen_by(site, "owner"))["latitude"] == 32.07
    assert (await seen_by(site, "kitchen"))["latitude"] == 32.07
    headers = {**site.bearer("platform"), "Prefer": "wait=20"}
    body = {"courier": "c2"}
    moved = await site.call("PATCH", "/v1/orders/D-1", json=body, headers=headers)
    assert moved.status == 200
    assert await seen_by(site, "owner") is None, "a party that was replaced does not watch its successor"
    assert await seen_by(site, "kitchen") is None, "nor is it seen any more"
    await tell(site, "rival", 11.0)
    assert (await seen_by(site, "kitchen"))["latitude"] == 11.0
    await tell(site, "drive", 12.0)
    assert (await seen_by(site, "kitchen"))["latitude"] == 11.0


@pytest.mark.parametrize("impossible", ["9999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1999-12-31T23:59:59Z"])
async def test_a_time_that_cannot_be_keeps_no_later_position_out(site: Site, impossible: str) -> None:
    """It counts as missing: what is received later wins, and nothing is shown for it."""
    await tell(site, "drive", 1.0, at=impossible)
    assert (await seen_by(site, "platform"))["occurred_at"] is None
    await tell(site, "drive", 2.0)
    assert (await seen_by(site, "platform"))["latitude"] == 2.0
    await tell(site, "drive", 3.0, at=impossible)
    assert (await seen_by(site, "platform"))["latitude"] == 3.0
    await tell(site, "drive", 4.0, at="2021-05-26T14:59:59Z")
    assert (await seen_by(site, "platform"))["latitude"] == 3.0, "older than the newest time that was claimed"


async def test_an_order_that_ended_has_no_courier(site: Site) -> None:
    """Not shown from that moment on, taken no more, and deleted by the next sweep."""
    await tell(site, "drive", 32.07)
    await site.post("/v1/webhooks/platform", {"order_id": "D-1", "status": "DELIVERED"}, site.bearer("platform"))
    await caught_up(site)
    assert await seen_by(site, "platform") is None
    await tell(site, "drive", 32.08)
    assert await stored(site) == 1
    await site.parts.positions.forget_ended()
    assert await stored(site) == 0


class _Sink:
    """Remembers what was written; fails while it is down."""

    def __init__(self) -> None:
        self.down: BaseException | None = None
        self.written: list[Reported] = []
        self.sweeps = 0

    async def record(self, reported: Sequence[Reported]) -> None:
        if self.down is not None:
            raise self.down
        self.written += reported

    async def forget_ended(self) -> None:
        self.sweeps += 1


async def test_positions_are_coalesced_and_bounded() -> None:
    """One row an order however often it is told; beyond the bound new orders are passed over, known ones are not."""
    sink = _Sink()
    recorder = PositionRecorder(sink, lambda: 5, time.monotonic)
    me = source()
    recorder.record(me, [Position("A", float(n), 0.0) for n in range(50)])
    recorder.record(me, [Position(str(n), 1.0, 0.0) for n in range(MOST_ORDERS + 10)])
    recorder.record(me, [Position("A", 7.0, 0.0)])
    await recorder.flush()
    assert len(sink.written) == MOST_ORDERS
    kept = {item.position.order_id: item.position for item in sink.written}
    assert kept["A"] == CourierPosition(
        order_id="A", source_uid="u1", latitude=7.0, longitude=0.0, occurred_us=None, received_at=5
    )
    assert sink.sweeps == 1


async def test_a_failing_store_costs_freshness_alone() -> None:
    """What was not written waits, newer ones replace it, and it is written when the store is back."""
    sink = _Sink()
    recorder = PositionRecorder(sink, lambda: 1_700_000_000_000, time.monotonic)
    recorder.record(source(), [Position("A", 1.0, 0.0, PLAUSIBLE_FROM_US + 10), Position("B", 1.0, 0.0)])
    sink.down = StoreUnavailable("away")
    await recorder.flush()
    await recorder.flush()
    recorder.record(
        source(), [Position("A", 2.0, 0.0, PLAUSIBLE_FROM_US + 11), Position("A", 3.0, 0.0, PLAUSIBLE_FROM_US + 9)]
    )
    sink.down = None
    flusher = Flusher(recorder.flush, failed="not_written")
    await flusher.start()
    await flusher.stop()
    assert {item.position.order_id: item.position.latitude for item in sink.written} == {"A": 2.0, "B": 1.0}
    await flusher.stop()


async def test_a_cancelled_write_loses_nothing() -> None:
    """What it had in hand is written with the next one."""
    sink = _Sink()
    recorder = PositionRecorder(sink, lambda: 5, time.monotonic)
    recorder.record(source(), [Position("A", 1.0, 0.0)])
    sink.down = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await recorder.flush()
    sink.down = None
    await recorder.flush()
    assert [item.position.order_id for item in sink.written] == ["A"]


async def test_waiting_positions_keep_the_newest_claim() -> None:
    """One without a time replaces and leaves the claim; an older one does not replace; one of the future is none."""
    sink, now_ms = _Sink(), 1_700_000_000_000
    recorder = PositionRecorder(sink, lambda: now_ms, time.monotonic)
    future = now_ms * 1000 + PLAUSIBLE_AHEAD_US
    told = [(1.0, now_ms * 1000), (2.0, None), (3.0, now_ms * 1000 - 1), (4.0, future + 1)]
    for latitude, occurred_us in told:
        recorder.record(source(), [Position("A", latitude, 0.0, occurred_us)])
    recorder.record(source(), [Position("B", 1.0, 0.0, future)])
    await recorder.flush()
    kept = {item.position.order_id: (item.position.latitude, item.position.occurred_us) for item in sink.written}
    assert kept == {"A": (4.0, now_ms * 1000), "B": (1.0, future)}


async def test_a_bug_in_one_write_does_not_end_the_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer goes on with the next second."""
    monkeypatch.setattr("service.ingress.flushing.FLUSH_EVERY_S", 0.001)
    sink = _Sink()
    recorder = PositionRecorder(sink, lambda: 5, time.monotonic)
    sink.down = RuntimeError("a bug")
    recorder.record(source(), [Position("A", 1.0, 0.0)])
    flusher = Flusher(recorder.flush, failed="not_written")
    await flusher.start()

    async def is_written() -> bool:
        recorder.record(source(), [Position("A", 1.0, 0.0)])
        sink.down = None
        return bool(sink.written)

    await wait_until(is_written, timeout=5.0, what="the next write")
    await flusher.stop()


async def test_recording_nothing_asks_the_store_nothing(site: Site) -> None:
    """No transaction for no position."""
    await PositionRepository(site.store, "elsewhere").record([])
    one = Reported(
        position=CourierPosition(
            order_id="D-1", source_uid="u", latitude=1.0, longitude=1.0, occurred_us=None, received_at=1
        ),
        role=Role.COURIER,
        parties=None,
    )
    await site.parts.positions.record(
        [one, replace(one, role=Role.PLATFORM, position=replace(one.position, source_uid="v"))]
    )
    assert await stored(site) == 2
