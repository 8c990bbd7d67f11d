"""The vendor API over HTTP, with a worker behind it, held against its document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import StoreUnavailable
from schemas.statuses import Role
from tests.support.documented import problems
from tests.support.documented_vendor import VENDOR_401, VENDOR_404, VENDOR_ERROR_SCHEMA, VENDOR_SCHEMA
from tests.support.http_face import Reply, Site
from tests.support.orders import DETAILS
from tests.support.working_site import Staff, serve_working_site

PATH = "/api/developer/v1/orders/"


@pytest.fixture
async def staff(tmp_path: Path) -> AsyncIterator[Staff]:
    """A served site with a worker and the usual sources, and the kitchen of another restaurant."""
    async with serve_working_site(tmp_path) as site:
        await site.add_source("other", Role.RESTAURANT, auth="bearer", parties=("r2",))
        yield await Staff.hired(site)


async def read(site: Site, name: str, order_id: str = "12345") -> Reply:
    """What a source reads."""
    return await site.call("GET", PATH + order_id, headers=site.bearer(name))


def data_of(reply: Reply) -> dict[str, Any]:
    """The order of an answer that must be as documented."""
    assert reply.status == 200, reply.raw
    assert reply.headers["Content-Type"].startswith("application/json")
    assert problems(VENDOR_SCHEMA, reply.json) == []
    data: dict[str, Any] = reply.json["data"]
    return data


async def test_an_order_is_read_whole_at_every_step(staff: Staff) -> None:
    """From announcement to delivery each status shows as documented, with the details stored once."""
    await staff.announce("12345", details=DETAILS, fulfilment="pickup")
    data = data_of(await read(staff.site, "kitchen"))
    assert (data["status"]["key"], data["status"]["created_at"], data["is_active"]) == ("pending", None, True)
    assert (data["customer"], data["pickup_otp"]) == ({"id": "CUST_1", "name": "John Doe"}, "123456")
    assert "return_otp" not in data
    assert (data["is_pickup"], data["vendor"]["id"], data["total"]) == (True, "r1", 36.75)
    for status, key in (("ACCEPTED_BY_RESTAURANT", "accepted"), ("READY", "ready"), ("DELIVERED", "delivered")):
        assert (await staff.report("kitchen", "12345", status)).status == 200
        data = data_of(await read(staff.site, "kitchen"))
        assert data["status"]["key"] == key
    assert data["is_active"] is False


async def test_an_amendment_shows(staff: Staff) -> None:
    """Details come with PATCH as well; a code that is taken off is left out, not null."""
    await staff.announce("12345", details=DETAILS)
    patch = {"details": {"receipt_number": "R-7", "pickup_otp": None, "return_otp": "99"}}
    headers = {**staff.site.bearer("kitchen"), "Prefer": "wait=20", "Content-Type": "application/json"}
    assert (await staff.site.call("PATCH", "/v1/orders/12345", json=patch, headers=headers)).status == 200
    data = data_of(await read(staff.site, "kitchen"))
    assert (data["receipt_number"], data["return_otp"]) == ("R-7", "99")
    assert "pickup_otp" not in data


async def test_amendments_that_add_up_still_show(staff: Staff) -> None:
    """A form may grow, amendment by amendment, beyond what one request may carry."""
    await staff.announce("12345", details={"payment_method": {"form": {"a": "x" * 10_000}}})
    headers = {**staff.site.bearer("kitchen"), "Prefer": "wait=20"}
    patch = {"details": {"payment_method": {"form": {"b": "y" * 10_000}}}}
    assert (await staff.site.call("PATCH", "/v1/orders/12345", json=patch, headers=headers)).status == 200
    form = data_of(await read(staff.site, "market"))["payment_method"]["form"]
    assert {name: len(text) for name, text in form.items()} == {"a": 10_000, "b": 10_000}


async def test_ids_are_strings_or_integers(staff: Staff) -> None:
    """An order announced by an integer is found by its decimal text, by an external id, and not by another spelling."""
    body = {"order_id": 12345, "restaurant": "r1", "external_ids": ["K 7/8"]}
    reply = await staff.site.post("/v1/orders", body, {**staff.site.bearer("platform"), "Prefer": "wait=20"})
    assert reply.status == 200
    assert data_of(await read(staff.site, "kitchen"))["id"] == "12345"
    assert data_of(await read(staff.site, "kitchen", "%2012345%20"))["id"] == "12345"
    assert data_of(await read(staff.site, "kitchen", "K%207%2F8"))["id"] == "12345"
    assert (await read(staff.site, "kitchen", "012345")).status == 404


async def test_only_ones_own_orders_are_there(staff: Staff) -> None:
    """Restaurant, marketplace, platform and access tokens see theirs; to others it is as if there were none."""
    await staff.announce("12345")
    for name in ("kitchen", "market", "platform"):
        data_of(await read(staff.site, name))
    reader = await staff.site.add_token()
    data_of(await staff.site.call("GET", PATH + "12345", headers=reader))
    unknown = await read(staff.site, "kitchen", "77777")
    for foreign in (await read(staff.site, "other"), await read(staff.site, "rival"), unknown):
        assert (foreign.status, foreign.json) == (404, VENDOR_404)


async def test_a_stranger_is_unauthenticated(staff: Staff) -> None:
    """No token, a wrong one, a token of the wrong scheme and a courier's are the same 401, order or not."""
    await staff.announce("12345")
    for headers in (
        {},
        {"Authorization": "Bearer nobody"},
        {"Authorization": "Basic a2l0Y2hlbg=="},
        {"Authorization": "Bearer ü"},
        staff.site.bearer("courier"),
    ):
        for order_id in ("12345", "77777"):
            reply = await staff.site.call("GET", PATH + order_id, headers=headers)
            assert (reply.status, reply.json) == (401, VENDOR_401)
            assert reply.headers["X-Request-Id"]


async def test_other_failures_have_its_shape(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong method, too many requests, an outage and a fault of ours say no more than status and message."""
    await staff.site.add_source("busy", Role.PLATFORM, auth="bearer", rate=1)

    async def fails(*_: object) -> None:
        raise StoreUnavailable("password=hunter2")

    async def breaks(*_: object) -> None:
        raise ZeroDivisionError("password=hunter2")

    replies = {405: await staff.site.call("POST", PATH + "1", headers=staff.site.bearer("kitchen"))}
    for _ in range(3):
        replies[429] = await read(staff.site, "busy")
    with monkeypatch.context() as patched:
        patched.setattr(staff.site.parts.readings, "order", fails)
        replies[503] = await read(staff.site, "kitchen")
        patched.setattr(staff.site.parts.readings, "order", breaks)
        replies[500] = await read(staff.site, "kitchen")
    for status, reply in replies.items():
        assert reply.status == status, reply.raw
        assert problems(VENDOR_ERROR_SCHEMA, reply.json) == []
        assert b"hunter2" not in reply.raw
    assert replies[405].headers["Allow"] == "GET"
    assert {"Retry-After"} <= set(replies[429].headers) & set(replies[503].headers)


async def test_the_path_may_have_a_prefix(tmp_path: Path) -> None:
    """With MEALTRAIL_VENDOR_PREFIX the API is there and nowhere else."""
    async with serve_working_site(tmp_path, vendor_prefix="/shops/v") as site:
        reply = await site.call("GET", "/shops/v" + PATH + "1")
        assert (reply.status, reply.json) == (401, VENDOR_401)
        bare = await site.call("GET", PATH + "1")
        assert (bare.status, bare.json["code"]) == (404, "not_found")
