from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from backbone.eventlog.partitioner import partition_of
from schemas.canonical import payload_digest
from schemas.cloudevents import header
from schemas.events import StatusEvent
from schemas.identifiers import ReceiptId, receipt_digest
from schemas.records import EventRecord, load_record
from schemas.statuses import OrderStatus, Role
from schemas.topics import RECEIVED
from tests.support.fake_log import FakeLog
from tests.support.http_face import PARTITIONS, Reply, Site, serve_site, sign
from tests.support.logs import embedded_log
from tests.support.waiting import wait_until

READY = {"order_id": "A-1", "status": "READY"}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A face on the fake log with one signing source, `kitchen`."""
    async with serve_site(tmp_path) as served:
        await served.add_source("kitchen", Role.RESTAURANT, parties=("R1",))
        yield served


def stored(site: Site) -> list[EventRecord]:
    """All events in the log."""
    assert isinstance(site.log, FakeLog)
    records = [load_record(record.value) for record in site.log.records(RECEIVED)]
    return [record for record in records if isinstance(record, EventRecord)]


def assert_problem(reply: Reply, status: int, code: str) -> dict[str, Any]:
    """The answer is a problem of exactly the promised shape."""
    assert reply.status == status, reply.raw
    assert reply.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = reply.json
    assert set(body) - {"errors"} == {"type", "title", "status", "detail", "code", "request_id"}
    assert (body["status"], body["code"]) == (status, code)
    assert body["request_id"] == reply.headers["X-Request-Id"]
    return body


async def test_signed_webhook_lies_in_the_log_before_its_202(site: Site) -> None:
    """What the official library signs is accepted, stored with everything stamped on, and answered with a receipt."""
    body = {**READY, "comment": "hot", "updatedAt": "1937-01-01T12:00:27.870000+00:20"}
    reply = await site.send("kitchen", body, event_id="msg_7")
    assert reply.status == 202
    (record,) = stored(site)
    assert reply.json["event_id"] == record.event_id == "msg_7"
    receipt = ReceiptId.parse(reply.json["receipt_id"])
    assert reply.headers["Location"] == f"/v1/receipts/{receipt}"
    (source,) = await site.sources.all()
    assert receipt.digest == record.receipt_digest == receipt_digest(source.receipt_key, "A-1", "msg_7")
    assert receipt.partition == partition_of(b"default:A-1", PARTITIONS)
    assert record.payload is not None
    raw = base64.b64decode(record.payload)
    assert orjson.loads(raw) == body
    assert record.payload_digest == payload_digest(bytes.fromhex(record.salt), raw)
    assert (record.source.uid, record.source.role, record.source.parties) == (source.uid, Role.RESTAURANT, ("R1",))
    assert isinstance(record.event, StatusEvent)
    assert record.event.status is OrderStatus.READY
    assert record.event.occurred_us == -1041337172130000
    assert isinstance(site.log, FakeLog)
    (in_log,) = site.log.records(RECEIVED)
    assert in_log.key == b"default:A-1"
    assert header(in_log.headers, "ce_subject") == "A-1"


async def test_works_on_the_embedded_log(tmp_path: Path) -> None:
    """The same on the real embedded log: the receipt points at the record."""
    async with serve_site(tmp_path, log=embedded_log(tmp_path)) as site:
        await site.add_source("kitchen", Role.RESTAURANT)
        first = await site.send("kitchen", READY)
        assert first.status == 202
        receipt = ReceiptId.parse(first.json["receipt_id"])
        bounds = await site.log.bounds(RECEIVED, [receipt.partition])
        assert bounds[receipt.partition].end == receipt.offset + 1


async def test_every_failed_authentication_gets_the_same_answer(site: Site) -> None:
    """Unknown name, flipped byte, wrong secret, old time, other version, nothing at all: one 401, reasons aside."""
    raw = orjson.dumps(READY)
    await site.add_source("other", Role.COURIER)
    await site.add_source("gone", Role.COURIER)
    await site.sources.disable("gone", actor="test")
    await site.parts.source_cache.refresh()
    good = sign(site.secrets["kitchen"], raw)
    wrong = {
        "unknown_source": ("nobody", raw, good),
        "source_disabled": ("gone", raw, sign(site.secrets["gone"], raw)),
        "bad_signature": ("kitchen", raw.replace(b"A-1", b"A-2"), good),
        "bad_signature_2": ("kitchen", raw, sign(site.secrets["other"], raw)),
        "bad_signature_3": ("kitchen", raw, {**good, "webhook-signature": "v9" + good["webhook-signature"][2:]}),
        "timestamp_outside_tolerance": ("kitchen", raw, sign(site.secrets["kitchen"], raw, at=time.time() - 400)),
        "timestamp_outside_tolerance_2": ("kitchen", raw, sign(site.secrets["kitchen"], raw, at=time.time() + 400)),
        "missing_signature": ("kitchen", raw, {"Content-Type": "application/json"}),
    }
    answers = []
    for name, body, headers in wrong.values():
        reply = await site.call("POST", f"/v1/webhooks/{name}", data=body, headers=headers)
        problem = assert_problem(reply, 401, "unauthenticated")
        visible = {k: v for k, v in reply.headers.items() if k.lower() not in ("date", "x-request-id")}
        answers.append(({k: v for k, v in problem.items() if k != "request_id"}, visible))
    assert answers == [answers[0]] * len(answers)
    assert stored(site) == []
    await site.parts.refusals.flush()
    counted = {(r.source, r.reason): r.count for r in await site.sources.refusals(None)}
    assert counted == {
        ("?", "unknown_source"): 1,
        ("gone", "source_disabled"): 1,
        ("kitchen", "bad_signature"): 3,
        ("kitchen", "timestamp_outside_tolerance"): 2,
        ("kitchen", "missing_signature"): 1,
    }


async def test_source_made_a_moment_ago_works_at_once(site: Site) -> None:
    """A name that the cache does not know yet is looked up before it is refused."""
    await site.parts.source_cache.stop()
    secret = (await site.sources.rotate("kitchen", grace_ms=0, secret=None, actor="test"))[1]
    site.parts.source_cache._begun = float("-inf")  # an extra load begins at most every 250 ms
    raw = orjson.dumps(READY)
    reply = await site.call("POST", "/v1/webhooks/kitchen", data=raw, headers=sign(secret, raw))
    assert reply.status == 202


async def test_checks_come_in_the_promised_order(site: Site) -> None:
    """Too large beats unauthenticated, which beats too fast, which beats the type, which beats the form."""
    too_large = b"x" * (256 * 1024 + 1)
    reply = await site.call("POST", "/v1/webhooks/nobody", data=too_large)
    assert_problem(reply, 413, "body_too_large")
    reply = await site.call("POST", "/v1/webhooks/nobody", data=b"{", headers={"Content-Type": "text/plain"})
    assert_problem(reply, 401, "unauthenticated")
    await site.add_source("slow", Role.COURIER, rate=1)
    bad = b"{not json"
    headers = {**sign(site.secrets["slow"], bad), "Content-Type": "text/plain"}
    for _ in range(2):
        reply = await site.call("POST", "/v1/webhooks/slow", data=bad, headers=headers)
        assert_problem(reply, 415, "unsupported_media_type")
    reply = await site.call("POST", "/v1/webhooks/slow", data=bad, headers=headers)
    assert_problem(reply, 429, "rate_limited")
    assert int(reply.headers["Retry-After"]) >= 1
    assert_problem(await site.send("kitchen", bad), 400, "malformed")


async def test_body_cap_holds_whatever_the_length_says(site: Site) -> None:
    """Chunked bodies count as they come; exactly the cap is taken; a length over it is refused before the body."""

    async def chunks(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 1024):
            yield b" " * 1024

    reply = await site.call("POST", "/v1/webhooks/kitchen", data=chunks(512 * 1024))
    assert_problem(reply, 413, "body_too_large")
    padded = orjson.dumps(READY).ljust(256 * 1024)
    assert (await site.send("kitchen", padded)).status == 202
    reader, writer = await asyncio.open_connection("127.0.0.1", site.face.public.port)
    lines = ("POST /v1/webhooks/kitchen HTTP/1.1", "Host: x", "Content-Length: 999999999", "Expect: 100-continue")
    writer.write("\r\n".join((*lines, "", "")).encode())
    await writer.drain()
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 413")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"order_id":"A","status":"EATEN"}', "status"),
        (b'{"order_id":"A"}', "status"),
        (b'{"order_id":true,"status":"READY"}', "order_id"),
        (b'{"order_id":"A\\u0000","status":"READY"}', "order_id"),
        (b'{"order_id":"A","status":"READY","comment":"' + b"x" * 501 + b'"}', "comment"),
        (b'{"order_id":"A","status":"READY","occurred_at":"yesterday"}', "occurred_at"),
        (b'{"order_id":"A","status":"READY","updatedAt":17}', "updatedAt"),
        (b'{"order_id":18446744073709551616,"status":"READY"}', "order_id"),
        (b'{"order_id":"A","status":"READY","x":1e30}', "x"),
        (b'{"order_id":"A","status":"READY","x":' + b"[" * 33 + b"]" * 33 + b"}", "x"),
        (b'{"order_id":"A","status":"READY","attributes":"paid"}', "attributes"),
    ],
)
async def test_malformed_body_names_its_field(site: Site, body: bytes, field: str) -> None:
    """Whatever cannot be kept or understood is a 400 that names the field and never repeats the value."""
    problem = assert_problem(await site.send("kitchen", body), 400, "malformed")
    assert problem["errors"][0]["field"] == field
    assert stored(site) == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"\xff\xfe", b'{"a":"\\ud800"}', b'{"a":NaN}', b"[" * 2000, b"1e999"]
)
async def test_what_is_no_json_object_is_a_400(site: Site, body: bytes) -> None:
    """Bytes that are no JSON, or JSON that is no object, are refused in words."""
    await site.add_source("plain", Role.COURIER, auth="bearer")
    headers = {"Content-Type": "application/json", **site.bearer("plain")}
    assert_problem(await site.call("POST", "/v1/webhooks/plain", data=body, headers=headers), 400, "malformed")


async def test_event_id_comes_from_header_body_content_or_chance(site: Site) -> None:
    """webhook-id wins over event_id; without both the content and its time make one; without a time, chance does."""
    await site.add_source("plain", Role.COURIER, auth="bearer")
    path, bearer = "/v1/webhooks/plain", site.bearer("plain")

    async def event_id(body: dict[str, Any], headers: dict[str, str] | None = None) -> str:
        reply = await site.post(path, body, {**bearer, **(headers or {})})
        assert reply.status == 202
        return str(reply.json["event_id"])

    timed = {**READY, "occurred_at": "2021-01-01T00:00:00Z"}
    assert await event_id({**timed, "event_id": 17}, {"webhook-id": "h"}) == "h"
    assert await event_id({**timed, "event_id": 17}) == "17"
    assert await event_id(timed) == await event_id(timed) != await event_id({**timed, "comment": "x"})
    assert await event_id(READY) != await event_id(READY)


async def test_log_outage_is_a_503_that_says_unknown(site: Site) -> None:
    """A log that does not answer gives 503 with Retry-After, never a 202 and never a 500; then service resumes."""
    assert isinstance(site.log, FakeLog)
    site.log.down = True
    reply = await site.send("kitchen", READY)
    problem = assert_problem(reply, 503, "log_unavailable")
    assert "unknown" in problem["detail"]
    assert int(reply.headers["Retry-After"]) >= 1
    site.log.down = False
    assert (await site.send("kitchen", READY)).status == 202


async def test_store_outage_leaves_webhooks_alone(site: Site) -> None:
    """With the store gone a known source's webhook is still taken, reads are 503, and readiness says degraded."""
    token = await site.add_token()
    await site.store.close()
    (site.settings.data_dir / "store.db").rename(site.settings.data_dir / "store.moved")
    (site.settings.data_dir / "store.db").mkdir()
    for leftover in site.settings.data_dir.glob("store.db-*"):
        leftover.unlink()
    assert (await site.send("kitchen", READY)).status == 202
    assert_problem(await site.call("GET", "/v1/orders/A-1", headers=token), 503, "store_unavailable")
    ready = await site.call("GET", "/readyz")
    assert ready.status == 200
    assert ready.json["parts"]["store"] == "degraded: store_unavailable"
    # A connection that cannot be made ends its thread without being waited for; the loop must not close before.
    await wait_until(lambda: not any("_connection_worker_thread" in thread.name for thread in threading.enumerate()))


async def test_another_method_is_logged_with_its_name(site: Site) -> None:
    """405 with what the URL takes; whoever sets up a partner sees GET in the log. A made-up method is not repeated."""
    with structlog.testing.capture_logs() as lines:
        reply = await site.call("GET", "/v1/webhooks/kitchen")
        await site.call("PROPFIND", "/v1/webhooks/kitchen")
    assert_problem(reply, 405, "method_not_allowed")
    assert {one.strip() for one in reply.headers["Allow"].split(",")} == {"POST", "PUT"}
    assert [line["method"] for line in lines if line["event"] == "request"] == ["GET", "-"]
    assert {line["status"] for line in lines if line["event"] == "request"} == {405}


async def test_a_name_that_no_source_has_is_in_the_log_once(site: Site) -> None:
    """So that a typing error in a partner's URL can be seen; what is counted keeps no names."""
    headers = {"Content-Type": "application/json"}
    with structlog.testing.capture_logs() as lines:
        for name in ("kitchne", "kitchne", "kitchen", "a%0Ab"):
            await site.call("POST", f"/v1/webhooks/{name}", data=b"{}", headers=headers)
    assert [line["requested"] for line in lines if line["event"] == "source_unknown"] == ["kitchne", "a\\nb"]
    await site.parts.refusals.flush()
    counted = {(one.source, one.reason): one.count for one in await site.sources.refusals(None)}
    assert counted["?", "unknown_source"] == 3


async def test_errors_outside_the_routes_have_the_same_shape(site: Site) -> None:
    """No such route and a method that a route does not take are problems too, with a request id."""
    assert_problem(await site.call("GET", "/nothing"), 404, "not_found")
    reply = await site.call("DELETE", "/v1/orders")
    assert_problem(reply, 405, "method_not_allowed")
    assert set(reply.headers["Allow"].split(",")) >= {"GET", "POST"}


async def test_sane_request_id_is_taken_over(site: Site) -> None:
    """The caller's request id comes back when it is one; anything odd is replaced."""
    reply = await site.call("GET", "/healthz", headers={"X-Request-Id": "abc-1.2_3"})
    assert reply.headers["X-Request-Id"] == "abc-1.2_3"
    reply = await site.call("GET", "/healthz", headers={"X-Request-Id": "a b"})
    assert reply.headers["X-Request-Id"] != "a b"


async def test_admin_port_shows_metrics_and_readiness(site: Site) -> None:
    """Metrics count what was accepted and refused; readiness on both ports names the parts."""
    await site.send("kitchen", READY)
    await site.call("POST", "/v1/webhooks/kitchen", data=b"{}")
    assert site.face.admin is not None
    async with site.http.get(site.face.admin.url + "/metrics") as answer:
        text = await answer.text()
    assert 'mealtrail_events_accepted_total{source="kitchen"} 1.0' in text
    assert 'mealtrail_refusals_total{reason="missing_signature"} 1.0' in text
    assert "mealtrail_moved_before_cancellation_ahead_total" in text
    for url in (site.face.admin.url, site.face.public.url):
        async with site.http.get(url + "/readyz") as answer:
            state = orjson.loads(await answer.read())
        assert (answer.status, state["ready"]) == (200, True), state
        assert set(state["parts"]) == {"log", "topics", "sources", "tokens", "store", "schema"}


async def test_readiness_names_a_log_that_is_down(site: Site) -> None:
    """Without the log no webhook can be taken: not ready, and the part says so by code."""
    assert isinstance(site.log, FakeLog)
    site.log.down = True
    ready = await site.call("GET", "/readyz")
    assert ready.status == 503
    assert ready.json["parts"]["log"] == "down: log_unavailable"
