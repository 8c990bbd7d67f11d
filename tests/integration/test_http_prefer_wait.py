"""`Prefer: wait` on the native API, with a worker behind it: on the fake log and on the embedded one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import LogUnavailable, StoreUnavailable
from schemas.topics import OUTCOMES
from tests.support.fake_log import FakeLog
from tests.support.http_face import Reply, serve_beside, serve_site
from tests.support.logs import embedded_log
from tests.support.waiting import wait_until
from tests.support.working_site import Staff, serve_working_site, working

RECEIPT_FIELDS = {"receipt_id", "event_id", "order_id", "state", "verdict", "reason", "from_status", "to_status"}


@pytest.fixture(params=["fake", "embedded"])
async def staff(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Staff]:
    """A served site with a worker and the usual sources."""
    log: Any = None
    if request.param == "embedded":
        log = embedded_log(tmp_path)
    async with serve_working_site(tmp_path, log=log) as site:
        yield await Staff.hired(site)


async def receipt_of(staff: Staff, name: str, reply: Reply) -> Any:
    """The receipt that the answer's Location names."""
    answer = await staff.site.call("GET", reply.headers["Location"], headers=staff.site.bearer(name))
    assert answer.status == 200, answer.raw
    return answer.json


async def test_waited_verdicts_are_the_receipts(staff: Staff) -> None:
    """200 or 409 with exactly what the receipt says: applied over several steps, repeated, rejected, foreign, noted."""
    await staff.announce("A-1")
    stories: list[tuple[str, dict[str, Any], int, str, str | None]] = [
        ("kitchen", {"status": "READY"}, 200, "applied", None),
        ("kitchen", {"status": "READY"}, 200, "repeated", None),
        ("kitchen", {"status": "COOKING"}, 200, "late", None),
        ("kitchen", {"status": "DELIVERED"}, 409, "rejected", "role_not_permitted"),
        ("courier", {"status": "CANCELLED"}, 200, "noted", None),
        ("market", {"status": "CANCELLED", "event_id": "c-1"}, 200, "applied", None),
        ("market", {"status": "CANCELLED", "event_id": "c-1"}, 200, "applied", None),
        ("market", {"status": "READY", "event_id": "c-1"}, 409, "rejected", "event_id_reused"),
        ("kitchen", {"status": "NEW", "event_id": "k-9"}, 409, "rejected", "role_not_permitted"),
    ]
    for name, fields, status, verdict, reason in stories:
        reply = await staff.report(name, "A-1", **fields)
        assert (reply.status, reply.json["verdict"], reply.json["reason"]) == (status, verdict, reason), (name, fields)
        assert set(reply.json) == RECEIPT_FIELDS
        assert reply.headers["Preference-Applied"] == "wait=20"
        assert reply.headers["Content-Type"] == "application/json"
        assert reply.json == await receipt_of(staff, name, reply)


async def test_inferred_steps_start_where_the_order_was(staff: Staff) -> None:
    """An event that skips steps answers with the status before all of them."""
    await staff.announce("A-2")
    reply = await staff.report("market", "A-2", "DELIVERED")
    assert (reply.json["from_status"], reply.json["to_status"]) == ("NEW", "DELIVERED")


async def test_unknown_and_foreign_look_the_same(staff: Staff) -> None:
    """Both are held, so both are answered 202 when the time is over, in the same words."""
    await staff.announce("A-3")
    unknown = await staff.report("rival", "A-999", "CANCELLED", wait="wait=1")
    foreign = await staff.report("rival", "A-3", "CANCELLED", wait="wait=1")
    for reply in (unknown, foreign):
        assert reply.status == 202
        assert set(reply.json) == {"event_id", "receipt_id"}
        assert reply.headers["Preference-Applied"] == "wait=1"
        assert (await receipt_of(staff, "rival", reply))["state"] == "held"


async def test_announcing_and_amending_wait_too(staff: Staff) -> None:
    """POST and PATCH of orders take the same preference."""
    announced = await staff.announce("A-4")
    assert (announced.json["from_status"], announced.json["to_status"]) == (None, "NEW")
    for name, status, verdict in (("platform", 200, "noted"), ("courier", 409, "rejected")):
        reply = await staff.site.call(
            "PATCH",
            "/v1/orders/A-4",
            json={"details": {"remarks": "no onions"}},
            headers={**staff.site.bearer(name), "Prefer": "respond-async, WAIT=9"},
        )
        assert (reply.status, reply.json["verdict"]) == (status, verdict)
        assert reply.headers["Preference-Applied"] == "wait=9"


async def test_without_the_preference_nothing_changes(staff: Staff) -> None:
    """No Prefer, or one that is no wait: 202 at once with the usual body."""
    for prefer in ("", "wait=soon", "respond-async", "wait=0"):
        reply = await staff.report("kitchen", "A-5", "READY", wait=prefer)
        assert reply.status == 202
        assert "Preference-Applied" not in reply.headers
        assert set(reply.json) == {"event_id", "receipt_id"}


async def test_repeat_while_the_first_is_not_applied(tmp_path: Path) -> None:
    """A repeat makes no outcome; whoever waits for it hears when the first one is decided."""
    async with serve_site(tmp_path) as site:
        staff = await Staff.hired(site)
        sent = [
            asyncio.create_task(staff.report("platform", "A-1", "NEW", event_id="n-1", restaurant="r1")),
            asyncio.create_task(staff.report("platform", "A-1", "NEW", event_id="n-1", restaurant="r1")),
        ]
        assert isinstance(site.log, FakeLog)
        log = site.log
        await wait_until(lambda: len(log.records("mealtrail.received.v1")) == 2)
        async with working(site):
            first, second = await asyncio.wait_for(asyncio.gather(*sent), 15)
    assert (first.status, second.status) == (200, 200)
    assert {**first.json, "receipt_id": ""} == {**second.json, "receipt_id": ""}


async def test_nobody_at_work_means_202_in_time(tmp_path: Path) -> None:
    """Without a worker the wait ends by the clock; when the process stops it ends at once."""
    async with serve_site(tmp_path) as site:
        staff = await Staff.hired(site)
        reply = await staff.report("kitchen", "A-1", "READY", wait="wait=1")
        assert reply.status == 202
        late = asyncio.create_task(staff.report("kitchen", "A-1", "COOKING", wait="wait=30"))
        assert isinstance(site.log, FakeLog)
        log = site.log
        await wait_until(lambda: len(log.records("mealtrail.received.v1")) == 2)
        stopping = asyncio.create_task(site.face.stop())
        assert (await asyncio.wait_for(late, 15)).status == 202
        await stopping


async def test_verdict_comes_though_outcomes_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the outcomes are not published in time, the last look at the receipt finds the verdict."""
    async with serve_working_site(tmp_path) as site:
        staff = await Staff.hired(site)
        await staff.announce("A-1")
        append = site.log.append

        async def no_outcomes(topic: str, records: Any) -> Any:
            if topic == OUTCOMES:
                raise LogUnavailable("outcomes are not taken")
            return await append(topic, records)

        monkeypatch.setattr(site.log, "append", no_outcomes)
        reply = await staff.report("kitchen", "A-1", "READY", wait="wait=3")
        assert (reply.status, reply.json["verdict"]) == (200, "applied")


async def test_store_outage_never_fails_what_is_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Receipts that cannot be read cost the verdict, not the 202."""
    async with serve_site(tmp_path) as site:
        staff = await Staff.hired(site)

        async def away(*_: Any) -> None:
            raise StoreUnavailable("gone")

        monkeypatch.setattr(site.parts.readings, "receipt", away)
        assert (await staff.report("kitchen", "A-1", "READY", wait="wait=1")).status == 202


async def test_callers_that_leave_are_not_waited_for(tmp_path: Path) -> None:
    """A closed connection ends its wait long before the time is over."""
    async with serve_site(tmp_path) as site:
        staff = await Staff.hired(site)
        waiting = site.parts.metrics.waiting_for_verdicts._value
        call = asyncio.create_task(staff.report("kitchen", "A-1", "READY", wait="wait=30"))
        await wait_until(lambda: waiting.get() == 1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await wait_until(lambda: waiting.get() == 0, timeout=5)


async def test_two_faces_see_each_verdict(tmp_path: Path) -> None:
    """Two ingress processes' worth of faces on one log and store: each answers its own callers."""
    async with serve_working_site(tmp_path) as site, serve_beside(site) as second:
        staff, other = await Staff.hired(site), second
        await other.parts.source_cache.refresh()
        await staff.announce("A-1")
        replies = await asyncio.gather(
            staff.report("kitchen", "A-1", "COOKING"), Staff(other).report("market", "A-1", "COOKING")
        )
        assert sorted(reply.json["verdict"] for reply in replies) == ["applied", "repeated"]
        assert {reply.status for reply in replies} == {200}
