"""The order-status API under whatever a client may send: no 500, and no answer outside the documented shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import orjson
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from yarl import URL

from tests.support.documented_order_status import (
    ERRORS,
    PUT_EXAMPLE,
    STATUS,
    STATUSES,
    TOKEN,
    UNAUTHORIZED,
    is_valid,
)
from tests.support.http_face import Reply
from tests.support.working_site import Staff, serve_working_site

FUZZ = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


def _json(value: Any) -> bytes:
    """The value as JSON, as far as it is one; else its repr, which is none."""
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):
        return repr(value).encode("utf-8", "surrogatepass")


SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([*STATUSES, "paid", "\0", "\ud800", "9" * 400, "1937-01-01T12:00:27.870000+00:20", "x" * 600])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
MEMBERS = st.fixed_dictionaries(
    {}, optional={name: JSON | st.just(value) for name, value in PUT_EXAMPLE.items()} | {"order_id": JSON, "more": JSON}
)
NESTED = st.integers(1, 60).map(lambda depth: b'{"status":' + b"[" * depth + b"]" * depth + b"}")
BODIES = st.binary(max_size=200) | NESTED | MEMBERS.map(_json) | JSON.map(_json)
SEGMENTS = st.text(max_size=140) | st.sampled_from(
    [
        "F-1",
        "..",
        ".",
        "",
        "%2e%2e",
        "{x}",
        "a/b",
        "\0",
        "\n",
        "ü",
        "٣",
        "F-1;x=1",
        "F-1?y",
        "F-1#z",
        "\u202e",
        "x" * 129,
    ]
)
TYPES = st.sampled_from(
    [
        "application/json",
        "application/vnd.eats.order.status.v1+json",
        "application/json;charset=x",
        "text/html",
        "",
        "é",
    ]
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=80)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Content-Type", "Content-Encoding", "Accept", "Prefer", "X-Request-Id", "traceparent", "webhook-id", "Range"]
    ),
    HEADER_TEXT | st.sampled_from(["gzip", "wait=0", "wait=99999999999", "*/*", "bytes=0-1", "identity"]),
    max_size=3,
)


@pytest.fixture
async def staff(tmp_path: Path) -> AsyncIterator[Staff]:
    """A working site with one order, and sources that nothing slows down."""
    async with serve_working_site(tmp_path, verdict_wait_ms=5000) as site:
        hired = await Staff.hired(site)
        await hired.announce("F-1")
        yield hired


async def send(staff: Staff, method: str, path: str, **options: Any) -> Reply | None:
    """A request with the path as it is; None where the client's own library refuses to send it."""
    try:
        url = URL(staff.site.face.public.url + path, encoded=True)
        async with staff.site.http.request(method, url, **options) as answer:
            return Reply(answer.status, answer.headers, await answer.read())
    except (ValueError, aiohttp.InvalidURL):
        return None


def assert_documented(reply: Reply | None, good: dict[int, Any]) -> None:
    """The answer is one that the document (or issue and page, for 202 and the statuses around it) has."""
    if reply is None:
        return
    event(f"answered {reply.status}")
    assert reply.status < 500, reply.raw
    if reply.status in good:
        schema = good[reply.status]
        assert reply.raw == b"" if schema is None else is_valid(schema, reply.json), reply.raw
    else:
        assert reply.status in {400, 404, 405, 413, 415, 429}, reply.status
        assert is_valid(ERRORS, reply.json), reply.raw
    assert reply.headers["X-Request-Id"]


@FUZZ
@given(body=BODIES, kind=TYPES, segment=st.just("F-1") | SEGMENTS, more=HEADERS)
async def test_put_under_any_body_id_and_headers(
    staff: Staff, body: bytes, kind: str, segment: str, more: dict[str, str]
) -> None:
    """Whatever is PUT is answered 204, 202 or an array."""
    path = f"/order/{quote(segment.encode('utf-8', 'surrogatepass'), safe='')}/status"
    headers = {"Content-Type": kind, **more, **staff.site.bearer("market")}
    assert_documented(await send(staff, "PUT", path, data=body, headers=headers), {204: None, 202: None})


@FUZZ
@given(members=MEMBERS, seconds=st.integers(0, 3))
async def test_put_of_likely_bodies(staff: Staff, members: dict[str, Any], seconds: int) -> None:
    """Bodies that are nearly right, with a status that is."""
    likely = _json({**PUT_EXAMPLE, **members, "updatedAt": f"2021-11-21T12:00:0{seconds}.870000+00:20"})
    headers = {**staff.site.bearer("market"), "Content-Type": "application/json"}
    assert_documented(await send(staff, "PUT", "/order/F-1/status", data=likely, headers=headers), {204: None})


@FUZZ
@given(segment=SEGMENTS, token=st.none() | st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=600))
async def test_get_under_any_id_and_token(staff: Staff, segment: str, token: str | None) -> None:
    """Whatever is asked for is answered with a status, an array or the reason."""
    path = f"/order/{quote(segment.encode('utf-8', 'surrogatepass'), safe='')}/status"
    headers = staff.site.bearer("market") if token is None else {"Authorization": f"Bearer {token}"}
    assert_documented(await send(staff, "GET", path, headers=headers), {200: STATUS, 401: UNAUTHORIZED})


@FUZZ
@given(
    form=st.fixed_dictionaries(
        {},
        optional={
            "grant_type": st.just("client_credentials") | TEXT,
            "client_id": st.just("market") | TEXT,
            "client_secret": st.just("SECRET") | TEXT,
            "scope": st.just("read write") | TEXT,
            "more": TEXT,
        },
    )
    | st.binary(max_size=200)
)
async def test_token_under_any_form(staff: Staff, form: dict[str, str] | bytes) -> None:
    """Whatever is posted for a token is answered with one or with an array."""
    data = form
    if isinstance(form, dict):
        secret = staff.site.secrets["market"]
        data = urlencode({name: secret if value == "SECRET" else value for name, value in form.items()}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = await send(staff, "POST", "/security/oauth/token", data=data, headers=headers)
    assert_documented(reply, {200: TOKEN, 401: ERRORS})
