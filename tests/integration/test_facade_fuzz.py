"""The vendor and StoreHarmony APIs under whatever a client sends: no 500, no answer outside the documented shapes."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from yarl import URL

from tests.integration.test_storeharmony_api import BODY, Chain, created
from tests.support.documented import Schema, problems
from tests.support.documented_storeharmony import LOCATION_SCHEMA, STOREHARMONY_ERROR_SCHEMA, TRACKING_SCHEMA
from tests.support.documented_vendor import VENDOR_ERROR_SCHEMA, VENDOR_SCHEMA
from tests.support.http_face import Reply, Site
from tests.support.working_site import Staff, serve_working_site

FUZZ = settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))

SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
    | st.sampled_from(["\0", "\ud800", "\u202e", "9" * 400, 10**400, -0.0, 1e-320, "x" * 2001, "NGN", "inclusive"])
)  # fmt: skip
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
NUMBERS = st.floats(0, 100) | st.integers(0, 100)
STOREINFO = st.fixed_dictionaries(
    {
        "taxRate": NUMBERS | JSON,
        "vatType": st.sampled_from(["inclusive", "exclusive"]) | JSON,
        "currency": st.from_regex(r"[A-Z]{3}", fullmatch=True) | JSON,
    }
)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "storeinfo": STOREINFO | JSON,
        "storeName": st.text(max_size=20) | JSON,
        "storeLocLat": st.floats().map(str) | JSON,
        "storeLocLng": st.floats().map(str) | JSON,
        "storeUsers": st.integers() | JSON,
        "more": JSON,
    },
)
NESTED = st.integers(1, 60).map(lambda depth: b'{"storeinfo":' + b"[" * depth + b"]" * depth + b"}")


def _json(value: Any) -> bytes:
    """The value as JSON, as far as it is one; else its repr, which is none."""
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):
        return repr(value).encode("utf-8", "surrogatepass")


AMOUNTS = st.decimals(-(10**15), 10**15, places=6).map(str) | st.floats(-1e14, 1e14) | st.integers()
FORMS = st.just({"": None}) | st.dictionaries(st.text(max_size=1), st.just("x" * 9000) | SCALARS, max_size=2)
DETAILS_OF_ANY_KIND = st.fixed_dictionaries(
    {},
    optional={
        "total": AMOUNTS | SCALARS,
        "currency": st.sampled_from(["LYD", "lyd"]),
        "pickup_otp": st.text(max_size=5) | SCALARS,
        "customer": st.fixed_dictionaries({}, optional={"name": st.text(max_size=9), "id": st.integers() | SCALARS}),
        "items": st.lists(
            st.fixed_dictionaries(
                {}, optional={"price": AMOUNTS, "quantity": AMOUNTS, "customizations": st.just({"a": {"b": [1.5]}})}
            ),
            max_size=3,
        ),
        "payment_method": st.fixed_dictionaries({}, optional={"form": FORMS, "key": st.text(max_size=3)}),
    },
)
BODIES = MEMBERS.map(_json) | JSON.map(_json) | NESTED | st.binary(max_size=200)
SEGMENTS = st.text(max_size=140) | st.sampled_from(
    [
        "F-1", "..", ".", "", "%2e%2e", "{orderId}", "a/b", "\0", "\n", "ü", "٣", "F-1;x=1", "F-1?y", "F-1#z", "\u202e",
        "x" * 129, str(2**64), "-1", "null", "' OR 1=1 --",
    ]
)  # fmt: skip
HEADER_VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=40)
HEADERS = st.dictionaries(
    st.sampled_from(["Accept", "Content-Encoding", "Prefer", "X-Request-Id", "Range", "If-None-Match", "Host"]),
    HEADER_VALUES,
    max_size=3,
)
TYPES = st.sampled_from(["application/json", "application/json;charset=x", "text/html", "", "é"])


@pytest.fixture
async def staff(tmp_path: Path) -> AsyncIterator[Staff]:
    """A working site with one order of an account's store, and sources that nothing slows down."""
    async with serve_working_site(tmp_path) as site:
        yield await Staff.hired(site)


@pytest.fixture
async def chain(staff: Staff) -> Chain:
    """An account on that site."""
    return await Chain.opened(staff.site)


def segment(text: str) -> str:
    """The text as one path segment; dots that clients and proxies would resolve are spelled out."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="").replace(".", "%2E")


async def send(site: Site, method: str, path: str, headers: Mapping[str, str], data: bytes | None = None) -> Reply:
    """One request whose path and headers go out as they are given."""
    url = URL(site.face.public.url + path, encoded=True)
    async with site.http.request(method, url, data=data, headers=headers) as answer:
        return Reply(answer.status, answer.headers, await answer.read())


def hold(reply: Reply, good: Schema, bad: Schema, statuses: set[int]) -> None:
    """The answer has one of the expected statuses and the shape that the document has for it."""
    event(f"answered {reply.status}")
    assert reply.status in statuses, (reply.status, reply.raw)
    assert reply.headers["Content-Type"].startswith("application/json"), reply.raw
    assert problems(good if reply.status == 200 else bad, reply.json) == [], reply.raw
    assert reply.headers["X-Request-Id"]


@FUZZ
@given(order_id=SEGMENTS, headers=HEADERS, token=st.none() | HEADER_VALUES)
async def test_vendor_orders(staff: Staff, order_id: str, headers: dict[str, str], token: str | None) -> None:
    """Whatever the id, the headers and the token: 401 or 404."""
    proof = staff.site.bearer("kitchen") if token is None else {"Authorization": f"Bearer {token}"}
    path = f"/api/developer/v1/orders/{segment(order_id)}"
    reply = await send(staff.site, "GET", path, {**headers, **proof})
    hold(reply, VENDOR_SCHEMA, VENDOR_ERROR_SCHEMA, {401, 404})


@FUZZ
@given(body=BODIES, kind=TYPES, headers=HEADERS, account=st.none() | SEGMENTS)
async def test_new_locations(
    chain: Chain, body: bytes, kind: str, headers: dict[str, str], account: str | None
) -> None:
    """Whatever is posted: a store as documented, or a refusal that is none of our faults."""
    path = f"/user/{chain.account_id if account is None else segment(account)}/createNewLocation"
    proof = {"sessiontoken": chain.token, "Content-Type": kind}
    reply = await send(chain.site, "POST", path, {**headers, **proof}, body)
    hold(reply, LOCATION_SCHEMA, STOREHARMONY_ERROR_SCHEMA, {200, 400, 404, 415})


@FUZZ
@given(members=MEMBERS)
async def test_new_locations_of_likely_bodies(chain: Chain, members: dict[str, Any]) -> None:
    """Bodies that are nearly right."""
    proof = {"sessiontoken": chain.token, "Content-Type": "application/json"}
    path = f"/user/{chain.account_id}/createNewLocation"
    reply = await send(chain.site, "POST", path, proof, _json({**BODY, **members}))
    hold(reply, LOCATION_SCHEMA, STOREHARMONY_ERROR_SCHEMA, {200, 400})


@FUZZ
@given(store_id=st.none() | SEGMENTS, order_id=st.none() | SEGMENTS, token=st.none() | HEADER_VALUES, headers=HEADERS)
async def test_tracking(
    chain: Chain, store_id: str | None, order_id: str | None, token: str | None, headers: dict[str, str]
) -> None:
    """Whatever the ids, the headers and the token: 401 or 404."""
    own = created(await chain.create())["id"] if store_id is None else segment(store_id)
    path = f"/restro/{own}/trackorder/{'none' if order_id is None else segment(order_id)}"
    proof = {"sessiontoken": chain.token if token is None else token}
    reply = await send(chain.site, "GET", path, {**headers, **proof})
    hold(reply, TRACKING_SCHEMA, STOREHARMONY_ERROR_SCHEMA, {401, 404})


@settings(FUZZ, max_examples=30)
@given(details=DETAILS_OF_ANY_KIND, patches=st.lists(DETAILS_OF_ANY_KIND, max_size=3), number=st.uuids())
async def test_both_of_an_order_with_odd_details(
    staff: Staff, chain: Chain, details: dict[str, Any], patches: list[dict[str, Any]], number: uuid.UUID
) -> None:
    """Whatever the native API takes as details and as amendments of them, both answer with documented shapes."""
    store_id = created(await chain.create())["id"]
    headers = {**staff.site.bearer("platform"), "Prefer": "wait=20", "Content-Type": "application/json"}
    body = _json({"order_id": str(number), "restaurant": store_id, "details": details})
    announced = await send(staff.site, "POST", "/v1/orders", headers, body)
    assert announced.status in {200, 400}, announced.raw
    if announced.status == 200:
        for patch in patches:
            amended = await send(staff.site, "PATCH", f"/v1/orders/{number}", headers, _json({"details": patch}))
            assert amended.status in {200, 400, 409}, amended.raw
        path = f"/api/developer/v1/orders/{number}"
        hold(await send(staff.site, "GET", path, headers), VENDOR_SCHEMA, VENDOR_ERROR_SCHEMA, {200})
        hold(await chain.track(store_id, str(number)), TRACKING_SCHEMA, STOREHARMONY_ERROR_SCHEMA, {200})
