"""The StoreHarmony API over HTTP, with a worker behind it, held against its documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from backbone.store.accounts import Session
from schemas.errors import StoreUnavailable
from schemas.statuses import Role
from tests.support.documented import problems
from tests.support.documented_storeharmony import LOCATION_SCHEMA, STOREHARMONY_ERROR_SCHEMA, TRACKING_SCHEMA
from tests.support.http_face import Reply, Site
from tests.support.orders import DETAILS
from tests.support.working_site import Staff, serve_working_site

BODY: dict[str, Any] = {
    "storeinfo": {"taxRate": 7.5, "vatType": "inclusive", "currency": "NGN"},
    "storeName": "Mama Put",
    "storeLocLat": "6.5095",
}


@dataclass
class Chain:
    """An account as its own client."""

    site: Site
    account_id: str
    token: str

    @classmethod
    async def opened(cls, site: Site, name: str = "chain-9") -> Chain:
        """An account made as the command line does."""
        account, token = await site.parts.accounts.add(name, actor="test")
        return cls(site, account.account_id, token)

    async def create(self, body: Any = BODY, **headers: str) -> Reply:
        """One createNewLocation."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        merged = {"sessiontoken": self.token, "Content-Type": "application/json", **headers}
        return await self.site.call("POST", f"/user/{self.account_id}/createNewLocation", data=raw, headers=merged)

    async def track(self, store_id: str, order_id: str, token: str | None = None) -> Reply:
        """One Track Order Status."""
        headers = {"sessiontoken": self.token if token is None else token}
        return await self.site.call("GET", f"/restro/{store_id}/trackorder/{order_id}", headers=headers)


@pytest.fixture
async def staff(tmp_path: Path) -> AsyncIterator[Staff]:
    """A served site with a worker and the usual sources."""
    async with serve_working_site(tmp_path) as site:
        yield await Staff.hired(site)


@pytest.fixture
async def chain(staff: Staff) -> Chain:
    """An account on that site."""
    return await Chain.opened(staff.site)


def created(reply: Reply) -> dict[str, Any]:
    """The store of an answer that must be as documented."""
    assert reply.status == 200, reply.raw
    assert problems(LOCATION_SCHEMA, reply.json) == []
    document: dict[str, Any] = reply.json
    assert document["success"] is True
    return document


def assert_refused(reply: Reply, status: int, message: str | None = None) -> None:
    """A failure in this API's shape."""
    assert reply.status == status, reply.raw
    assert problems(STOREHARMONY_ERROR_SCHEMA, reply.json) == []
    assert reply.headers["X-Request-Id"]
    if message is not None:
        assert reply.json["message"] == message


async def test_a_new_store_takes_orders_and_tracks_them(staff: Staff, chain: Chain) -> None:
    """The store's id is a restaurant, the token of the answer tracks its orders step by step."""
    store = created(await chain.create())
    assert (store["taxRate"], store["currency"], store["storeGpsLatitude"]) == (7.5, "NGN", 6.5095)
    await staff.site.add_source("its-kitchen", Role.RESTAURANT, auth="bearer", parties=(store["id"],))
    await staff.announce("T-1", restaurant=store["id"], details=DETAILS, fulfilment="dine_in")
    for token in (store["sessionId"], store["accessToken"], chain.token):
        reply = await chain.track(store["id"], "T-1", token)
        assert reply.status == 200, reply.raw
        assert problems(TRACKING_SCHEMA, reply.json) == []
        assert (reply.json["orderConfirmed"], reply.json["orderStatus"]) == (False, "NEW")
        assert (reply.json["tableTitle"], reply.json["orderedItems"][0]["totalPrice"]) == ("Table 4", 25)
    for status in ("ACCEPTED_BY_RESTAURANT", "COOKING", "READY", "DELIVERED"):
        assert (await staff.report("its-kitchen", "T-1", status)).status == 200
        shown = (await chain.track(store["id"], "T-1", store["sessionId"])).json
        assert (shown["orderConfirmed"], shown["orderStatus"]) == (True, status)


async def test_a_retried_creation_finds_its_store(chain: Chain) -> None:
    """The same body in another spelling: the same store, a fresh token, and the first one still works."""
    first = created(await chain.create())
    spelled = b'{"storeLocLat":"6.5095","email":null,"storeName":"Mama Put","coupon":1,'
    spelled += b'"storeinfo":{"currency":"NGN","vatType":"inclusive","taxRate":7.50}}'
    again = created(await chain.create(spelled))
    assert again["id"] == first["id"]
    assert again["sessionId"] != first["sessionId"]
    for token in (first["sessionId"], again["sessionId"]):
        assert_refused(await chain.track(first["id"], "none", token), 404)
    other = created(await chain.create({**BODY, "storeName": "Mama Put 2"}))
    assert other["id"] != first["id"]


async def test_what_is_not_ones_own_is_not_there(staff: Staff, chain: Chain) -> None:
    """A foreign order, store or account is the same 404 as one that does not exist."""
    rival = await Chain.opened(staff.site, "chain-8")
    store, second = created(await chain.create()), created(await chain.create({}))
    theirs = created(await rival.create())
    await staff.announce("T-1", restaurant=store["id"])
    await staff.announce("T-2", restaurant=theirs["id"])
    message = "Record Not Found"
    assert (await chain.track(store["id"], "T-1")).status == 200
    assert_refused(await chain.track(store["id"], "T-2"), 404, message)
    assert_refused(await chain.track(store["id"], "T-0"), 404, message)
    assert_refused(await chain.track(theirs["id"], "T-2"), 404, message)
    assert_refused(await chain.track("r1", "T-1"), 404, message)
    assert_refused(await chain.track(second["id"], "T-1"), 404, message)
    assert_refused(await chain.track(store["id"], "T-1", second["sessionId"]), 404, message)
    assert_refused(await rival.track(store["id"], "T-1"), 404, message)
    chain.account_id = rival.account_id
    assert_refused(await chain.create(), 404, message)


async def test_a_stranger_is_unauthorized(staff: Staff, chain: Chain) -> None:
    """No token, an unknown one, two of them, a bearer token: 401; a store's token makes no stores."""
    store = created(await chain.create())
    for token in ("", "nobody", "ü", "x" * 600, staff.site.secrets["platform"]):
        assert_refused(await chain.track(store["id"], "T-1", token), 401, "Unauthorized")
        assert_refused(await chain.create(sessiontoken=token), 401, "Unauthorized")
    bare = await chain.site.call("GET", f"/restro/{store['id']}/trackorder/T-1", headers=staff.site.bearer("platform"))
    assert_refused(bare, 401, "Unauthorized")
    twice = [("sessiontoken", chain.token), ("sessiontoken", chain.token)]
    assert_refused(await chain.site.call("GET", f"/restro/{store['id']}/trackorder/T-1", headers=twice), 401)
    assert_refused(await chain.create(sessiontoken=store["sessionId"]), 401, "Unauthorized")
    await chain.site.parts.accounts.disable("chain-9", actor="test")
    assert_refused(await chain.track(store["id"], "T-1"), 401)


async def test_guessing_leaves_the_store_to_others(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred guesses at once are answered by a few statements, all as strangers."""
    accounts, asked = chain.site.parts.accounts, list[int]()
    really = accounts.sessions

    async def counted(token_hashes: Sequence[str]) -> dict[str, Session]:
        asked.append(len(token_hashes))
        return await really(token_hashes)

    monkeypatch.setattr(accounts, "sessions", counted)
    guesses = [f"mtl_{number}" for number in range(200)]
    replies = await asyncio.gather(*(chain.track("st1", "T-1", guess) for guess in guesses), chain.create())
    assert {reply.status for reply in replies[:-1]} == {401}
    created(replies[-1])
    assert len(asked) <= 10


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"storeinfo": {"taxRate": 7, "vatType": "inclusive"}}, "storeinfo.currency"),
        ({"storeinfo": {"taxRate": 101, "vatType": "none", "currency": "ngn"}}, "storeinfo.taxRate"),
        ({"storeUsers": "many"}, "storeUsers"),
        ({"storeName": "a\0b"}, "storeName"),
        ([], "object"),
        (b"{", "JSON"),
        (b"", "JSON"),
        (b'{"storeName":"\\ud800"}', "JSON"),
    ],
)
async def test_a_body_that_is_not_as_documented_is_refused(chain: Chain, body: Any, named: str) -> None:
    """400 says which member is wrong; no store is made."""
    reply = await chain.create(body)
    assert_refused(reply, 400)
    assert named in reply.json["message"]
    [account] = await chain.site.parts.accounts.all()
    assert account.stores == 0


async def test_other_failures_have_its_shape(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong method, type and size; an outage and a fault of ours are the documented 500, which says no more."""
    assert_refused(await chain.create(b"{}", **{"Content-Type": "text/plain"}), 415)
    assert_refused(await chain.create(b"{}", **{"Content-Encoding": "gzip"}), 415)
    assert_refused(await chain.create(b'{"storeName":"' + b"x" * 300_000 + b'"}'), 413)
    assert_refused(await chain.site.call("PUT", f"/user/{chain.account_id}/createNewLocation"), 405)

    async def fails(*_: object) -> None:
        raise StoreUnavailable("password=hunter2")

    async def breaks(*_: object) -> None:
        raise ZeroDivisionError("password=hunter2")

    for broken in (fails, breaks):
        with monkeypatch.context() as patched:
            patched.setattr(chain.site.parts.accounts, "create_location", broken)
            reply = await chain.create()
            assert_refused(reply, 500, "Server Error")
            assert ("Retry-After" in reply.headers) is (broken is fails)
            patched.setattr(chain.site.parts.accounts, "session", broken)
            assert_refused(await chain.track("st1", "T-1"), 500, "Server Error")


async def test_the_paths_may_have_a_prefix(tmp_path: Path) -> None:
    """With MEALTRAIL_STOREHARMONY_PREFIX the API is there and nowhere else."""
    async with serve_working_site(tmp_path, storeharmony_prefix="/cloudapi") as site:
        assert_refused(await site.call("GET", "/cloudapi/restro/s/trackorder/o"), 401)
        assert_refused(await site.call("POST", "/cloudapi/user/a/createNewLocation"), 401)
        bare = await site.call("GET", "/restro/s/trackorder/o")
        assert (bare.status, bare.json["code"]) == (404, "not_found")
