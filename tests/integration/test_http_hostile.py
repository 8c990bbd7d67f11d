from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import structlog

from backbone import listening
from schemas.errors import StoreUnavailable
from schemas.statuses import Role
from service.ingress import body as body_module
from tests.integration.test_http_webhooks import READY, assert_problem
from tests.support.fake_log import FakeLog
from tests.support.http_face import Site, serve_site, sign
from tests.support.waiting import wait_until


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A face with a signing kitchen and a courier with a token."""
    async with serve_site(tmp_path) as served:
        await served.add_source("kitchen", Role.RESTAURANT)
        await served.add_source("plain", Role.COURIER, auth="bearer", rate=1_000_000)
        yield served


async def exchange(site: Site, raw: bytes, *, end: bool = False, port: int | None = None) -> bytes:
    """Writes bytes to the public port (or another), reads until the answer's head is there or the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port or site.face.public.port)
    try:
        writer.write(raw)
        await writer.drain()
        if end:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read(4096)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


HEAD = b"POST /v1/webhooks/plain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcdefgh\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: -5\r\n\r\n",
        HEAD + b"Content-Length: 5, 6\r\n\r\nabcde",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/webhooks/plain HTTP/1.1\r\nHost: x\r\nBad Header\x00: 1\r\n\r\n",
        b"POST /v1/webhooks/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_broken_http_is_the_senders_fault(site: Site, raw: bytes) -> None:
    """Bytes that are no proper HTTP get a 4xx or a closed connection, never a 5xx, and the server lives on."""
    answer = await exchange(site, raw)
    assert not answer or re.match(rb"HTTP/1\.[01] 4", answer), answer
    assert (await site.call("GET", "/healthz")).status == 200


@pytest.mark.parametrize("port", ["public", "admin"])
async def test_what_is_no_http_gets_a_problem(site: Site, port: str) -> None:
    """Our shape, a request id that the log has too, and nothing of what was sent or of what we are made of."""
    listener = getattr(site.face, port)
    with structlog.testing.capture_logs() as lines:
        raw = b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\x01b\r\n\r\n"
        answer = await exchange(site, raw, port=listener.port)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    headers = {line.partition(b": ")[0].lower(): line.partition(b": ")[2] for line in head.split(b"\r\n")[1:]}
    assert (headers[b"server"], headers[b"connection"]) == (b"mealtrail", b"close")
    assert headers[b"content-type"].startswith(b"application/problem+json")
    problem = orjson.loads(body)
    assert (problem["status"], problem["code"]) == (400, "malformed")
    assert problem["request_id"].encode() == headers[b"x-request-id"]
    assert b"Bearer" not in answer
    assert b"aiohttp" not in answer
    (line,) = [line for line in lines if line["event"] == "request"]
    assert (line["status"], line["refusal"], line["request_id"]) == (400, "broken_http", problem["request_id"])


async def test_a_head_that_never_ends_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new connection has bounded time for its first request; one that had a request may idle for longer."""
    monkeypatch.setattr(listening, "FIRST_HEAD_WITHIN_S", 0.2)
    unfinished = exchange(site, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    silent = exchange(site, b"")
    reader, writer = await asyncio.open_connection("127.0.0.1", site.face.public.port)
    try:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await reader.read(4096)).startswith(b"HTTP/1.1 200")
            assert tuple(await asyncio.gather(unfinished, silent)) == (b"", b"")
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.read(4096)).startswith(b"HTTP/1.1 200")
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_broken_chunks_are_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body whose framing breaks on the way never ends; it is given up like one that never comes."""
    monkeypatch.setattr(body_module, "READ_WITHIN_S", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.face.public.port)
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
    try:
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            writer.write(b"zz\r\nabc\r\n0\r\n\r\n")
            answer = await reader.read(4096)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    assert answer.startswith(b"HTTP/1.1 4")
    assert b"X-Request-Id" in answer


async def test_body_that_never_comes_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that announces a body and trickles is answered 408 in bounded time, and its room is given back."""
    monkeypatch.setattr(body_module, "READ_WITHIN_S", 0.1)
    answer = await exchange(site, HEAD + b"Content-Length: 50\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b'"code":"request_timeout"' in answer


async def test_caller_who_leaves_mid_body_harms_nobody(site: Site) -> None:
    """A connection that ends inside its body leaves nothing behind."""
    await exchange(site, HEAD + b"Content-Length: 50\r\n\r\n{", end=True)
    assert (await site.call("GET", "/healthz")).status == 200
    assert isinstance(site.log, FakeLog)
    assert site.log.records("mealtrail.received.v1") == []


@pytest.mark.parametrize("path", ["/v1/webhooks/%00", "/v1/webhooks/%ff%fe", "/v1/webhooks/..%2f..", "/v1/webhooks/é"])
async def test_odd_names_are_strangers(site: Site, path: str) -> None:
    """Whatever stands in the path, an unknown source is the constant 401."""
    raw = orjson.dumps(READY)
    reply = await site.call("POST", path, data=raw, headers=sign(site.secrets["kitchen"], raw))
    assert_problem(reply, 401, "unauthenticated")


async def test_mutated_bodies_are_taken_or_malformed(site: Site) -> None:
    """A thousand bodies with flipped, cut and doubled bytes: 202 or 400, nothing else."""
    rng = random.Random(7)
    valid = orjson.dumps(
        {**READY, "occurred_at": "2021-01-01T00:00:00.5+03:00", "comment": "ż", "attributes": ["paid"], "event_id": 17}
    )
    seen = set()
    for _ in range(1000):
        raw = bytearray(valid)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(raw))
            kind = rng.random()
            if kind < 0.6:
                raw[at] = rng.choice(b'\x00"\\{}[]:,0189eE+-.uTZ \xff\xc3') if kind < 0.4 else rng.randrange(256)
            elif kind < 0.8:
                del raw[at : at + rng.randint(1, 6)]
                raw = raw or bytearray(b" ")
            else:
                raw[at:at] = raw[at : at + rng.randint(1, 20)]
        reply = await site.call(
            "POST",
            "/v1/webhooks/plain",
            data=bytes(raw),
            headers={**site.bearer("plain"), "Content-Type": "application/json"},
        )
        seen.add(reply.status)
        assert reply.status in (202, 400), (bytes(raw), reply.raw)
    assert seen == {202, 400}


async def test_nobody_is_a_stranger_before_sources_were_loaded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A face that starts while the store is away answers 503, not a 401 that a partner would take for final."""
    cache = site.parts.source_cache

    async def away(**_options: bool) -> list[object]:
        raise StoreUnavailable("away")

    monkeypatch.setattr(cache._repository, "all", away)
    cache.loaded, cache._by_name, cache._begun = False, {}, float("-inf")
    assert_problem(await site.send("kitchen", READY), 503, "store_unavailable")


async def test_canonical_line_says_what_and_never_who(site: Site) -> None:
    """One line a request with ids and numbers; no comment, no secret, no address."""
    with structlog.testing.capture_logs() as lines:
        reply = await site.send("kitchen", {**READY, "comment": "Ann likes it hot"}, event_id="msg_9")
        await wait_until(lambda: any(line["event"] == "request" for line in lines))
    (line,) = [line for line in lines if line["event"] == "request"]
    assert {k: line[k] for k in ("method", "route", "status", "source", "event_id", "order_id", "events")} == {
        "method": "POST",
        "route": "/v1/webhooks/{source}",
        "status": 202,
        "source": "kitchen",
        "event_id": "msg_9",
        "order_id": "A-1",
        "events": 1,
    }
    assert {"duration_ms", "bytes", "partition", "offset"} <= set(line)
    text = str(lines)
    assert "Ann" not in text
    assert site.secrets["kitchen"] not in text
    assert "127.0.0.1" not in text
    assert reply.headers["X-Request-Id"]
