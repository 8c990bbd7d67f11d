"""The order-status API held against its document, with a worker behind it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog
from yarl import URL

from backbone.clocks import Clock
from schemas.errors import LogUnavailable, StoreUnavailable
from schemas.statuses import Role
from service.facades.order_status_errors import EXPIRED
from tests.support.documented import Schema
from tests.support.documented_order_status import (
    ERRORS,
    ERRORS_EXAMPLE,
    PUT_EXAMPLE,
    STATUS,
    STATUS_EXAMPLE,
    TOKEN,
    UNAUTHORIZED,
    UNAUTHORIZED_EXAMPLE,
    is_valid,
)
from tests.support.fake_log import FakeLog
from tests.support.http_face import Reply, Site, serve_beside, serve_site
from tests.support.waiting import wait_until
from tests.support.working_site import Staff, serve_working_site

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
VENDOR_TYPE = "application/vnd.eats.order.status.v1+json"
AT = "2021-11-21T12:00:27.870000+00:20"


@pytest.fixture
async def staff(tmp_path: Path) -> AsyncIterator[Staff]:
    """A served site with a worker and the usual sources; verdicts are waited for as long as it takes."""
    async with serve_working_site(tmp_path, verdict_wait_ms=20_000) as site:
        yield await Staff.hired(site)


async def put(site: Site, name: str, order_id: str, body: Any, **headers: str) -> Reply:
    """A PUT with the source's own token."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    merged = {"Content-Type": "application/json", **site.bearer(name), **headers}
    return await site.call("PUT", f"/order/{order_id}/status", data=raw, headers=merged)


async def get(site: Site, name: str, order_id: str, **headers: str) -> Reply:
    """A GET with the source's own token."""
    return await site.call("GET", f"/order/{order_id}/status", headers={**site.bearer(name), **headers})


def errors_of(reply: Reply, status: int) -> list[int]:
    """The codes of an answer that must have the documented array shape."""
    assert reply.status == status, reply.raw
    assert reply.headers["Content-Type"].startswith("application/json")
    assert reply.headers["X-Request-Id"]
    assert is_valid(ERRORS, reply.json), reply.raw
    return [error["code"] for error in reply.json]


def assert_unauthorized(reply: Reply) -> None:
    """401 with exactly the reason."""
    assert reply.status == 401
    assert reply.json == UNAUTHORIZED_EXAMPLE
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("schema", "example", "required"),
    [
        (STATUS, STATUS_EXAMPLE, "status"),
        (ERRORS, ERRORS_EXAMPLE, "code"),
        (UNAUTHORIZED, UNAUTHORIZED_EXAMPLE, "reason"),
    ],
)
def test_schemas_take_the_examples_and_nothing_else(schema: Schema, example: Any, required: str) -> None:
    """The document's examples pass; with a required member missing, or one too many, they fail."""
    assert is_valid(schema, example)
    for change in ("missing", "extra"):
        wrong = deepcopy(example)
        inner = wrong[0] if isinstance(wrong, list) else wrong
        if change == "missing":
            del inner[required]
        else:
            inner["more"] = 1
        assert not is_valid(schema, wrong)


async def test_order_is_driven_and_read(staff: Staff) -> None:
    """GET shows each step with its comment and time; PUTs of both content types move the order: 204, empty."""
    site = staff.site
    await staff.announce("Y-1", comment="New order", placed_at="2021-11-21T12:00:27.87+00:20")
    shown = await get(site, "market", "Y-1")
    assert shown.status == 200
    assert shown.headers["Content-Type"] == "application/json"
    assert is_valid(STATUS, shown.json)
    assert (shown.json["status"], shown.json["comment"]) == ("NEW", "New order")
    assert (await staff.report("kitchen", "Y-1", "READY", comment="c" * 500)).status == 200
    shown = await get(site, "market", "Y-1")
    assert is_valid(STATUS, shown.json)
    assert shown.json["comment"] == "c" * 500
    taken = await put(site, "market", "Y-1", {"status": "TAKEN_BY_COURIER"}, **{"Content-Type": VENDOR_TYPE})
    assert (taken.status, taken.raw) == (204, b"")
    assert "Content-Type" not in taken.headers
    shown = await get(site, "market", "Y-1")
    assert is_valid(STATUS, shown.json)
    assert set(shown.json) == {"status", "updatedAt"}
    body = {"status": "DELIVERED", "comment": "", "updatedAt": AT, "somethingNew": {"a": [1]}}
    charset = {"Content-Type": "application/json; charset=utf-8"}
    assert (await put(site, "market", "Y-1", body, **charset)).status == 204
    assert (await get(site, "market", "Y-1")).json == {
        "status": "DELIVERED",
        "comment": "",
        "updatedAt": "2021-11-21T11:40:27.870000+00:00",
    }


async def test_times_that_cannot_be_believed_give_way_to_the_logs(staff: Staff) -> None:
    """The document's example of 1937 is taken, and the log's time is shown for it."""
    await staff.announce("Y-2")
    assert (await put(staff.site, "market", "Y-2", PUT_EXAMPLE)).status == 204
    shown = (await get(staff.site, "market", "Y-2")).json
    assert is_valid(STATUS, shown)
    assert shown["status"] == "CANCELLED"
    assert not shown["updatedAt"].startswith("1937")
    (*_, last) = await staff.history("Y-2")
    assert (last["comment"], last["cancel_reason"]) == ("test", "place.unable_to_call")
    assert last["occurred_mark"] == "implausible"


async def test_rejected_put_is_told_and_kept(staff: Staff) -> None:
    """The caller gets 400 in the documented shape, the order's history has the attempt with its reason."""
    await staff.announce("Y-3")
    await put(staff.site, "market", "Y-3", {"status": "CANCELLED"})
    rejected = await put(staff.site, "market", "Y-3", {"status": "DELIVERED", "updatedAt": "2099-01-01T00:00:00Z"})
    assert errors_of(rejected, 400) == [111]
    (*_, last) = await staff.history("Y-3")
    assert (last["verdict"], last["reason"], last["reported_status"]) == ("rejected", "order_closed", "DELIVERED")


async def test_behind_the_order_is_an_illegal_transition(staff: Staff) -> None:
    """A status the order has passed, claimed to be of now, is refused."""
    await staff.announce("Y-4")
    await put(staff.site, "market", "Y-4", {"status": "DELIVERED", "updatedAt": AT})
    late = {"status": "TAKEN_BY_COURIER", "updatedAt": "2021-11-21T12:00:28.870000+00:20"}
    assert errors_of(await put(staff.site, "market", "Y-4", late), 400) == [110]
    assert errors_of(await put(staff.site, "kitchen", "Y-4", {"status": "DELIVERED"}), 400) == [112]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"status": "DELIVERED", "updatedAt": AT}, 204),
        ({"status": "TAKEN_BY_COURIER", "updatedAt": "2099-01-01T00:00:00Z"}, 204),
        ({"status": "CANCELLED"}, 204),
        ({"status": "DELIVERED"}, 204),
    ],
)
async def test_lost_answers_are_given_again(staff: Staff, body: dict[str, Any], status: int) -> None:
    """The same PUT once more gets the same answer, and with a time it is the same event."""
    await staff.announce("Y-5")
    answers = [(await put(staff.site, "market", "Y-5", body)).status for _ in range(3)]
    assert answers == [status] * 3
    verdicts = [entry["verdict"] for entry in await staff.history("Y-5") if not entry["inferred"]]
    assert verdicts == ["applied", "applied"] + ([] if "updatedAt" in body else ["repeated"] * 2)


async def test_repeat_of_what_others_have_moved_past_gets_the_first_answer(staff: Staff) -> None:
    """With a time it is the same event. Without one it is an event of its own, which the lifecycle takes as late once
    and refuses then; the caller is answered as before all the same, and the history has what was decided.
    """
    for number, fields in enumerate([{}, {"updatedAt": AT}]):
        order_id = f"Y-1{number}"
        await staff.announce(order_id)
        assert (await put(staff.site, "market", order_id, {"status": "DELIVERED"})).status == 204
        body = {"status": "TAKEN_BY_COURIER", **fields}
        assert [(await put(staff.site, "courier", order_id, body)).status for _ in range(3)] == [204] * 3
    verdicts = [entry["verdict"] for entry in await staff.history("Y-10") if entry["source"] == "courier"]
    assert verdicts == ["late", "rejected", "rejected"]


async def test_retries_after_a_cancellation(staff: Staff) -> None:
    """An order cancelled since the first call: the retry gets the first answer; who never reported it is refused."""
    for number, fields in enumerate([{}, {"updatedAt": AT}]):
        order_id, body = f"Y-2{number}", {"status": "TAKEN_BY_COURIER", **fields}
        await staff.announce(order_id)
        assert (await put(staff.site, "market", order_id, body)).status == 204
        await staff.report("platform", order_id, "CANCELLED")
        again = await put(staff.site, "market", order_id, body)
        assert again.status == 204
        first = await put(staff.site, "courier", order_id, {"status": "TAKEN_BY_COURIER"})
        assert errors_of(first, 400) == [111]


async def test_what_the_native_api_holds_is_not_waited_for(staff: Staff) -> None:
    """The same fact waits for its order since a webhook brought it: the PUT is a 404 at once, and the hold stays."""
    assert (await staff.report("market", "Y-30", "CANCELLED", wait="wait=0", occurred_at=AT)).status == 202
    begun = asyncio.get_running_loop().time()
    replies = [await put(staff.site, "market", "Y-30", {"status": "CANCELLED", "updatedAt": AT}) for _ in range(2)]
    assert [errors_of(reply, 404) for reply in replies] == [[120], [120]]
    assert asyncio.get_running_loop().time() - begun < 10  # of the 20 s that it would wait
    await staff.announce("Y-30")

    async def is_cancelled() -> bool:
        return bool((await get(staff.site, "market", "Y-30")).json["status"] == "CANCELLED")

    await wait_until(is_cancelled)


async def test_a_source_whose_key_does_not_open_sets_nothing(staff: Staff) -> None:
    """503 and no record: under an empty receipt key one source's change would be another one's repeat."""
    await staff.announce("Y-31")
    body = {"status": "CANCELLED", "updatedAt": AT}
    async with serve_beside(staff.site, "k2:" + base64.b64encode(b"k" * 32).decode()) as sealed:
        for name in ("courier", "market", "rival"):
            assert errors_of(await put(sealed, name, "Y-31", body), 503) == [153]
    assert len(await staff.history("Y-31")) == 1
    assert (await put(staff.site, "market", "Y-31", body)).status == 204
    assert (await get(staff.site, "market", "Y-31")).json["status"] == "CANCELLED"


async def test_lost_refusals_are_given_again(staff: Staff) -> None:
    """A rejected or unknown one is refused in the same words, and a curable one succeeds once it can."""
    body = {"status": "DELIVERED", "updatedAt": "2099-01-01T00:00:00Z"}
    unknown = [await put(staff.site, "market", "Y-6", body) for _ in range(2)]
    assert [errors_of(reply, 404) for reply in unknown] == [[120], [120]]
    await staff.announce("Y-6")
    assert (await put(staff.site, "market", "Y-6", body)).status == 204
    await staff.announce("Y-7")
    await put(staff.site, "market", "Y-7", {"status": "CANCELLED"})
    refused = [await put(staff.site, "market", "Y-7", body) for _ in range(2)]
    assert refused[0].raw == refused[1].raw
    assert [errors_of(reply, 400) for reply in refused] == [[111], [111]]
    assert [entry["verdict"] for entry in await staff.history("Y-7")].count("rejected") == 1


async def test_unknown_and_foreign_orders_are_the_same_404(staff: Staff) -> None:
    """Neither reading nor setting tells one from the other, in words or in what is kept."""
    await staff.announce("Y-8")
    cancel = {"status": "CANCELLED"}
    for foreign, unknown in (
        (await get(staff.site, "rival", "Y-8"), await get(staff.site, "rival", "Y-999")),
        (await put(staff.site, "rival", "Y-8", cancel), await put(staff.site, "rival", "Y-999", cancel)),
    ):
        assert errors_of(foreign, 404) == errors_of(unknown, 404) == [120]
        assert foreign.raw == unknown.raw
    assert [entry["source"] for entry in await staff.history("Y-8")] == ["platform"]


async def test_reads_take_the_restaurants_own_id(staff: Staff) -> None:
    """An external id opens the order for a GET of those who may see it; a PUT goes by the order's own id."""
    await staff.announce("Y-9", external_ids=["17", "R 18/a"])
    assert (await get(staff.site, "kitchen", "17")).json["status"] == "NEW"
    assert (await get(staff.site, "kitchen", "R%2018%2Fa")).json["status"] == "NEW"
    assert errors_of(await get(staff.site, "rival", "17"), 404) == [120]
    assert errors_of(await put(staff.site, "market", "17", {"status": "CANCELLED"}), 404) == [120]


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        (b"{", [100]),
        (b"[]", [100]),
        (b"", [100]),
        (b'"CANCELLED"', [100]),
        ({}, [101]),
        ({"status": "NEW"}, [101]),
        ({"status": "COOKING"}, [101]),
        ({"status": "Cancelled"}, [101]),
        ({"status": 7}, [101]),
        ({"status": "DELIVERED", "reason": "place.closed"}, [101]),
        ({"status": "CANCELLED", "comment": "c" * 501}, [101]),
        ({"status": "CANCELLED", "comment": 5, "attributes": "paid"}, [101, 101]),
        ({"status": "CANCELLED", "updatedAt": "yesterday"}, [101]),
        ({"status": "CANCELLED", "comment": "\0"}, [101]),
    ],
)
async def test_malformed_puts_are_explained(staff: Staff, body: Any, codes: list[int]) -> None:
    """400 with one element a wrong field, and nothing of what was sent."""
    assert errors_of(await put(staff.site, "market", "Y-1", body), 400) == codes


async def test_other_refusals_are_in_the_array_shape(staff: Staff) -> None:
    """405, 413, 415, 429, ids that are none; paths that are none of this API's stay native."""
    site = staff.site
    for method in ("DELETE", "POST", "HEAD", "PATCH", "OPTIONS"):
        reply = await site.call(method, "/order/Y-1/status", headers=site.bearer("market"))
        assert reply.status == 405
        assert set(reply.headers["Allow"].split(",")) == {"GET", "PUT"}
        assert method == "HEAD" or errors_of(reply, 405) == [140]
    reply = await site.call("GET", "/security/oauth/token")
    assert errors_of(reply, 405) == [140]
    assert errors_of(await put(site, "market", "Y-1", b" " * 262_145), 413) == [142]
    assert errors_of(await put(site, "market", "Y-1", {}, **{"Content-Type": "text/plain"}), 415) == [143]
    assert errors_of(await put(site, "market", "Y-1", {}, **{"Content-Encoding": "gzip"}), 415) == [143]
    for odd in ("", "%20", "%00", "x" * 129, "%ED%A0%80", "%0A"):
        assert errors_of(await get(site, "market", odd), 404) == [120]
    await site.add_source("slow", Role.MARKETPLACE, auth="bearer", rate=1)
    replies = [await put(site, "slow", "Y-1", {}) for _ in range(3)]
    assert errors_of(replies[2], 429) == [144]
    assert int(replies[2].headers["Retry-After"]) >= 1
    elsewhere = await site.call("GET", "/order/Y-1/courier", headers=site.bearer("market"))
    assert (elsewhere.status, elsewhere.headers["Content-Type"]) == (404, "application/problem+json")


async def test_outages_and_faults_are_in_the_array_shape(staff: Staff, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 when log or store is away (with Retry-After), 500 without internals when we fail."""
    site = staff.site

    async def no_log(*_: Any) -> None:
        raise LogUnavailable("broker-7 timed out")

    async def no_store(*_: Any) -> None:
        raise StoreUnavailable("db-3 refused")

    async def fail(*_: Any) -> None:
        raise ValueError("secret internals")

    with monkeypatch.context() as patch:
        patch.setattr(site.log, "append", no_log)
        reply = await put(site, "market", "Y-1", {"status": "CANCELLED"})
        assert errors_of(reply, 503) == [151]
        assert reply.headers["Retry-After"] == "2"
        assert b"broker" not in reply.raw
    await staff.announce("Y-40")
    assert (await put(site, "market", "Y-40", {"status": "DELIVERED"})).status == 204
    with monkeypatch.context() as patch:
        patch.setattr(site.parts.readings, "has_reported", no_store)
        assert (await put(site, "courier", "Y-40", {"status": "TAKEN_BY_COURIER"})).status == 204
        stored = await put(site, "courier", "Y-40", {"status": "TAKEN_BY_COURIER"})
        assert stored.status == 202  # in the log and refused, but what was before cannot be read now
    monkeypatch.setattr(site.parts.readings, "order", no_store)
    assert errors_of(await get(site, "market", "Y-1"), 503) == [152]
    monkeypatch.setattr(site.parts.readings, "order", fail)
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    reply = await get(site, "market", "Y-1", **{"X-Request-Id": "mine-1"})
    structlog.reset_defaults()
    assert errors_of(reply, 500) == [150]
    assert reply.headers["X-Request-Id"] == "mine-1"
    assert b"internals" not in reply.raw


async def test_no_verdict_in_time_is_202(tmp_path: Path) -> None:
    """Without a worker the call ends after the wait, and the event lies in the log with a hold of 0."""
    async with serve_site(tmp_path, verdict_wait_ms=100) as site:
        await site.add_source("market", Role.MARKETPLACE, auth="bearer", parties=("m1",))
        reply = await put(site, "market", "Y-1", {"status": "CANCELLED"})
        assert (reply.status, reply.raw) == (202, b"")
        assert isinstance(site.log, FakeLog)
        (record,) = site.log.records("mealtrail.received.v1")
        assert orjson.loads(record.value)["source"]["hold_ms"] == 0


async def token(site: Site, name: str, secret: str | None = None, **fields: str) -> Reply:
    """Asks for an access token."""
    form = {
        "grant_type": "client_credentials",
        "client_id": name,
        "client_secret": site.secrets.get(name, "") if secret is None else secret,
        "scope": "read write",
        **fields,
    }
    return await site.call("POST", "/security/oauth/token", data=form)


async def bearer(site: Site, name: str) -> dict[str, str]:
    """The header with a new access token."""
    reply = await token(site, name)
    assert reply.status == 200, reply.raw
    assert reply.headers["Cache-Control"] == "no-store"
    assert is_valid(TOKEN, reply.json)
    return {"Authorization": f"Bearer {reply.json['access_token']}"}


async def test_issued_tokens_open_both_calls_on_every_face(staff: Staff) -> None:
    """A token of one ingress process works on another: all derive the same keys. It opens nothing but this API."""
    await staff.announce("Y-1")
    mine = await bearer(staff.site, "market")
    async with serve_beside(staff.site) as second:
        for site in (staff.site, second):
            assert (await site.call("GET", "/order/Y-1/status", headers=mine)).status == 200
            reply = await site.call("PUT", "/order/Y-1/status", json={"status": "CANCELLED"}, headers=mine)
            assert reply.status == 204
    assert (await staff.site.call("GET", "/v1/orders/Y-1", headers=mine)).status == 401


async def test_missing_and_wrong_tokens_are_the_documented_401(staff: Staff) -> None:
    """Exactly the reason, for every kind of wrong token; an access token of ours, which speaks for nobody, too."""
    site = staff.site
    issued = (await bearer(site, "market"))["Authorization"]
    wrong: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic bTptYQ=="},
        {"Authorization": "Bearer nonsense"},
        {"Authorization": issued[:-4] + "AAAA"},
        {"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
    ]
    for headers in wrong:
        assert_unauthorized(await site.call("GET", "/order/Y-1/status", headers=headers))
        assert_unauthorized(await site.call("PUT", "/order/Y-1/status", json={"status": "CANCELLED"}, headers=headers))
    assert UNAUTHORIZED_EXAMPLE["reason"] == EXPIRED
    reader = await site.add_token()
    reply = await site.call("PUT", "/order/Y-1/status", json={"status": "CANCELLED"}, headers=reader)
    assert (reply.status, reply.json) == (401, UNAUTHORIZED_EXAMPLE)
    assert errors_of(await site.call("GET", "/order/Y-1/status", headers=reader), 404) == [120]


async def test_tokens_end_with_time_credential_and_source(tmp_path: Path) -> None:
    """An hour, the rotation of the credential that issued it, the disabling of its source: each ends a token."""
    now = [1_900_000_000_000]
    async with serve_site(tmp_path, clock=Clock(now_ms=lambda: now[0])) as site:
        await site.add_source("market", Role.MARKETPLACE, auth="bearer", parties=("m1",))

        async def opens(headers: dict[str, str]) -> bool:
            reply = await site.call("GET", "/order/Y-1/status", headers=headers)
            if reply.status == 401:
                assert_unauthorized(reply)
            return reply.status == 404

        first = await bearer(site, "market")
        now[0] += 3_599_000
        assert await opens(first)
        now[0] += 1_000
        assert not await opens(first)

        second = await bearer(site, "market")
        _, site.secrets["market"] = await site.sources.rotate("market", grace_ms=60_000, actor="test")
        await site.parts.source_cache.refresh()
        third = await bearer(site, "market")
        assert await opens(second)
        now[0] += 61_000
        await site.parts.source_cache.refresh()
        assert not await opens(second)
        assert await opens(third)
        await site.sources.disable("market", actor="test")
        await site.parts.source_cache.refresh()
        assert not await opens(third)
        assert errors_of(await token(site, "market"), 401) == [133]


async def test_token_requests_are_refused_in_the_array_shape(staff: Staff) -> None:
    """Every refusal of the token endpoint, 401 included, is an array with a stable code."""
    site = staff.site
    assert errors_of(await token(site, "market", "wrong"), 401) == [133]
    assert errors_of(await token(site, "nobody", site.secrets["market"]), 401) == [133]
    assert errors_of(await token(site, "market", ""), 400) == [130]
    assert errors_of(await token(site, "market", grant_type="password"), 400) == [131]
    for scope in ("admin", "read", "write write", "read write admin"):
        assert errors_of(await token(site, "market", scope=scope), 400) == [132]
    assert (await token(site, "market", scope="write read")).json["scope"] == "read write"
    assert (await token(site, "market", scope="")).status == 200
    for raw in (b"", b"&&&", b"a", b"client_id=a&client_id=b", b"\xff=1", b"client_id=%ff", b"a=1&" * 100):
        assert errors_of(await site.call("POST", "/security/oauth/token", data=raw, headers=FORM), 400) == [130]
    assert errors_of(await site.post("/security/oauth/token", {"grant_type": "client_credentials"}), 415) == [143]
    assert errors_of(await site.call("POST", "/security/oauth/token", data=b"a" * 262_145, headers=FORM), 413) == [142]
    packed = {**FORM, "Content-Encoding": "gzip"}
    assert errors_of(await site.call("POST", "/security/oauth/token", data=b"a=1", headers=packed), 415) == [143]


async def test_prefix_moves_the_whole_api(tmp_path: Path) -> None:
    """With MEALTRAIL_ORDER_STATUS_PREFIX the paths lie below it, and nowhere else."""
    async with serve_site(tmp_path, order_status_prefix="/eats/v2") as site:
        assert (await site.call("GET", "/eats/v2/order/1/status")).status == 401
        assert errors_of(await site.call("DELETE", "/eats/v2/order/1/status"), 405) == [140]
        assert errors_of(await site.call("POST", "/eats/v2/security/oauth/token", data=b"", headers=FORM), 400) == [130]
        gone = await site.call("GET", "/order/1/status")
        assert (gone.status, gone.json["code"]) == (404, "not_found")


async def test_path_tricks_find_nothing_else(staff: Staff) -> None:
    """Dots, braces, encoded slashes and the like are ids that nobody has, or no path of ours."""
    await staff.announce("Y-1")
    for path in ("/order/../order/{x}/status", "/order/%2e%2e/status", "/order/Y-1%2f/status", "/order/{Y-1}/status"):
        url = URL(staff.site.face.public.url + path, encoded=True)
        async with staff.site.http.get(url, headers=staff.site.bearer("market")) as answer:
            assert answer.status == 404
    replies = await asyncio.gather(*(get(staff.site, "market", "Y-1") for _ in range(20)))
    assert {reply.status for reply in replies} == {200}
