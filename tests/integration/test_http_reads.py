from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backbone.metrics import Metrics
from backbone.settings import Settings
from consumers.composition import runner_config, running
from consumers.runner import Runner
from schemas.errors import StoreUnavailable
from schemas.identifiers import ReceiptId
from schemas.statuses import Role
from service.app import WATCHER
from tests.integration.test_http_webhooks import assert_problem
from tests.support.http_face import PARTITIONS, Reply, Site, serve_site
from tests.support.logs import embedded_log
from tests.support.waiting import wait_until

MILLIS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ORDER = {"order_id": "A-1", "restaurant": "R1", "external_ids": ["X-9"], "details": {"customer": {"name": "Ann"}}}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A face, its embedded log and a worker in one process; a platform, two kitchens and a courier with tokens."""
    async with serve_site(tmp_path, log=embedded_log(tmp_path)) as served:
        await served.add_source("platform", Role.PLATFORM, auth="bearer")
        await served.add_source("kitchen", Role.RESTAURANT, auth="bearer", parties=("R1",))
        await served.add_source("other", Role.RESTAURANT, auth="bearer", parties=("R2",))
        config = runner_config(Settings(data_dir=tmp_path, partitions=PARTITIONS))
        runner = Runner(log=served.log, store=served.store, config=config, metrics=Metrics())
        async with running(runner, stop_timeout_s=5):
            yield served


async def settled(site: Site, receipt_id: str, who: dict[str, str]) -> dict[str, Any]:
    """The receipt once it is no longer pending."""
    last: dict[str, Any] = {}

    async def asked() -> bool:
        reply = await site.call("GET", f"/v1/receipts/{receipt_id}", headers=who)
        assert reply.status == 200, reply.raw
        last.update(reply.json)
        return bool(last["state"] != "pending")

    await wait_until(asked, 20, "a decision")
    return last


async def announce(site: Site, **changes: Any) -> dict[str, Any]:
    """Announces the order as the platform and waits for it."""
    reply = await site.post("/v1/orders", {**ORDER, **changes}, site.bearer("platform"))
    assert reply.status == 202, reply.raw
    return await settled(site, reply.json["receipt_id"], site.bearer("platform"))


async def report(site: Site, name: str, status: str, **more: Any) -> dict[str, Any]:
    """Reports a status and waits for the verdict."""
    body = {"order_id": "A-1", "status": status, **more}
    reply = await site.post(f"/v1/webhooks/{name}", body, site.bearer(name))
    assert reply.status == 202, reply.raw
    return await settled(site, reply.json["receipt_id"], site.bearer(name))


async def test_order_is_announced_moved_and_read_back(site: Site) -> None:
    """From POST to history: receipts say what happened, the order and its trail have the promised shapes."""
    announced = await announce(site, placed_at="2021-01-01T10:00:00.5Z")
    assert (announced["state"], announced["verdict"], announced["to_status"]) == ("final", "applied", "NEW")
    receipt = await report(site, "kitchen", "READY", comment="hot", event_id="e1")
    assert set(receipt) == {
        "receipt_id", "event_id", "order_id", "state", "verdict", "reason", "from_status", "to_status",
    }  # fmt: skip
    assert (receipt["event_id"], receipt["verdict"], receipt["to_status"]) == ("e1", "applied", "READY")
    order = (await site.call("GET", "/v1/orders/A-1", headers=site.bearer("kitchen"))).json
    assert MILLIS.fullmatch(order["updated_at"])
    assert order["placed_at"] == "2021-01-01T10:00:00.500000Z"
    assert (order["status"], order["restaurant"], order["external_ids"]) == ("READY", "R1", ["X-9"])
    assert order["details"] == {"customer": {"name": "Ann"}}
    history = (await site.call("GET", "/v1/orders/A-1/history", headers=site.bearer("kitchen"))).json
    assert history["order_id"] == "A-1"
    steps = [(item["to_status"], item["inferred"], item["source"]) for item in history["items"]]
    assert steps == [
        ("NEW", False, "platform"),
        ("ACCEPTED_BY_RESTAURANT", True, "kitchen"),
        ("COOKING", True, "kitchen"),
        ("READY", False, "kitchen"),
    ]
    last = history["items"][-1]
    assert last["comment"] == "hot"
    assert MILLIS.fullmatch(last["received_at"])
    assert MILLIS.fullmatch(last["decided_at"])
    assert len(last["hash"]) == 64
    assert {
        "partition", "seq", "verdict", "reason", "reported_status", "from_status", "event_id", "role", "occurred_at",
        "cancel_reason",
    } <= set(last)  # fmt: skip


async def test_amendment_changes_details_and_parties(site: Site) -> None:
    """PATCH adds, replaces and takes off; the order then shows it."""
    await announce(site)
    patch = {"courier": "C1", "details": {"customer": {"name": None, "phone": "1"}, "total": 12.1}}
    reply = await site.call("PATCH", "/v1/orders/A-1", json=patch, headers=site.bearer("platform"))
    assert reply.status == 202
    receipt = await settled(site, reply.json["receipt_id"], site.bearer("platform"))
    assert receipt["verdict"] == "noted"
    order = (await site.call("GET", "/v1/orders/A-1", headers=site.bearer("platform"))).json
    assert order["courier"] == "C1"
    assert order["details"] == {"customer": {"phone": "1"}, "total": "12.1"}


async def test_announcing_again_is_the_same_event(site: Site) -> None:
    """A retried POST without an id has the first one's event id, and its receipt the first one's verdict."""
    first = await announce(site)
    second = await announce(site)
    assert first["event_id"] == second["event_id"]
    assert (second["verdict"], second["to_status"]) == ("applied", "NEW")


async def test_strangers_see_nothing_and_learn_nothing(site: Site) -> None:
    """Another restaurant's token gets for a foreign order exactly what it gets for one that is not there."""
    await announce(site)
    receipt = await report(site, "kitchen", "COOKING")
    other = site.bearer("other")
    for path in ("/v1/orders/{}", "/v1/orders/{}/history"):
        foreign = await site.call("GET", path.format("A-1"), headers=other)
        missing = await site.call("GET", path.format("A-2"), headers=other)
        assert_problem(foreign, 404, "not_found")
        assert foreign.json["detail"] == assert_problem(missing, 404, "not_found")["detail"]
    listed = await site.call("GET", "/v1/orders", headers=other)
    assert listed.json == {"items": [], "next": None}
    stolen = await site.call("GET", f"/v1/receipts/{receipt['receipt_id']}", headers=other)
    assert_problem(stolen, 404, "not_found")
    changes = await site.call("GET", "/v1/changes", headers=other)
    assert changes.json["items"] == []


async def test_made_up_receipts_are_not_found(site: Site) -> None:
    """Garbage, another's digest and a partition that is none: 404, never 500."""
    made_up = [
        "x", "é", "A" * 39, "%00", str(ReceiptId(2**32 - 1, 5, "00" * 16)), str(ReceiptId(0, 2**62, "00" * 16)),
    ]  # fmt: skip
    for text in made_up[:-1]:
        reply = await site.call("GET", f"/v1/receipts/{text}", headers=site.bearer("platform"))
        assert_problem(reply, 404, "not_found")
    reply = await site.call("GET", f"/v1/receipts/{made_up[-1]}", headers=site.bearer("platform"))
    assert reply.json["state"] == "pending"


async def test_list_is_filtered_and_paged(site: Site) -> None:
    """Newest first, by filters, with a cursor that goes on where the page ended."""
    for number in range(5):
        await announce(site, order_id=f"A-{number}", external_ids=[f"X-{number}"])
    token = await site.add_token()
    page = (await site.call("GET", "/v1/orders?limit=3&restaurant=R1", headers=token)).json
    rest = (await site.call("GET", f"/v1/orders?limit=3&cursor={page['next']}&restaurant=R1", headers=token)).json
    ids = [order["order_id"] for order in page["items"] + rest["items"]]
    assert ids == [f"A-{number}" for number in reversed(range(5))]
    assert rest["next"] is None
    one = (await site.call("GET", "/v1/orders?external_id=X-2&status=NEW", headers=token)).json
    assert [order["order_id"] for order in one["items"]] == ["A-2"]
    for wrong in ("limit=0", "limit=x", "limit=999", "status=EATEN", "cursor=x", "restaurant=%00"):
        reply = await site.call("GET", f"/v1/orders?{wrong}", headers=token)
        problem = assert_problem(reply, 400, "malformed")
        assert problem["errors"][0]["field"] == wrong.partition("=")[0]


async def read_changes(site: Site, token: dict[str, str], after: str, **more: Any) -> tuple[list[dict[str, Any]], str]:
    """One read of the feed."""
    query = "&".join(f"{name}={value}" for name, value in {"after": after, **more}.items())
    reply = await site.call("GET", f"/v1/changes?{query}", headers=token)
    assert reply.status == 200, reply.raw
    return reply.json["items"], reply.json["next"]


async def test_feed_gives_every_outcome_once_and_waits_for_the_next(site: Site) -> None:
    """Reading on from each position gives every row once, in order; a long poll wakes when a row is written."""
    token = await site.add_token()
    await announce(site)
    await report(site, "kitchen", "READY")
    seen: list[tuple[int, int]] = []
    position = ""
    while True:
        items, position = await read_changes(site, token, position, limit=2)
        seen += [(item["partition"], item["seq"]) for item in items]
        if not items:
            break
    assert seen == [(seen[0][0], seq) for seq in (1, 2, 3, 4)]
    waiting = asyncio.create_task(read_changes(site, token, position, wait=30))
    await wait_until(lambda: site.parts.metrics.waiting_readers._value.get() == 1, what="a waiting reader")
    await report(site, "kitchen", "CANCELLED", reason="closed")
    items, position = await asyncio.wait_for(waiting, 20)
    assert [item["to_status"] for item in items] == ["CANCELLED"]
    assert await read_changes(site, token, position, wait=1) == ([], position)


async def test_reader_who_leaves_frees_its_place(site: Site) -> None:
    """A closed connection ends its long poll at once, and stopping does not wait for the others."""
    token = await site.add_token()
    gauge = site.parts.metrics.waiting_readers._value
    waiting = [asyncio.create_task(site.call("GET", "/v1/changes?wait=30", headers=token)) for _ in range(2)]
    await wait_until(lambda: gauge.get() == 2, what="two waiting readers")
    waiting[0].cancel()
    await wait_until(lambda: gauge.get() == 1, what="one waiting reader")
    stopping = asyncio.create_task(site.face.stop())
    reply = await asyncio.wait_for(waiting[1], 5)
    assert reply.json["items"] == []
    await asyncio.wait_for(stopping, 10)
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_store_outage_while_waiting_is_a_503(site: Site) -> None:
    """Who waits when the store goes away is told, not left waiting."""
    token = await site.add_token()
    gauge = site.parts.metrics.waiting_readers._value
    waiting = asyncio.create_task(site.call("GET", "/v1/changes?wait=30", headers=token))
    await wait_until(lambda: gauge.get() == 1, what="a waiting reader")

    async def fail() -> dict[int, int]:
        raise StoreUnavailable("away")

    site.face.public.runner.app[WATCHER]._heads = fail
    assert_problem(await asyncio.wait_for(waiting, 10), 503, "store_unavailable")


async def test_tokens_open_what_they_should(site: Site) -> None:
    """No token, a wrong one or a revoked one: 401. An access token reads but does not speak for a source: 403."""
    await announce(site)

    def refused(reply: Reply) -> None:
        assert_problem(reply, 401, "unauthenticated")

    refused(await site.call("GET", "/v1/orders/A-1"))
    for given in ("Bearer nonsense", "Basic YTpi", "Bearer", "Bearer " + "x" * 600):
        refused(await site.call("GET", "/v1/orders/A-1", headers={"Authorization": given}))
    token = await site.add_token()
    assert (await site.call("GET", "/v1/orders/A-1", headers=token)).status == 200
    assert_problem(await site.post("/v1/orders", ORDER, token), 403, "forbidden")
    await site.tokens.revoke("reader", actor="test")
    await wait_until(lambda: _is_refused(site, token), 6, "the revocation to take effect")
    await site.sources.disable("platform", actor="test")
    await wait_until(lambda: _is_refused(site, site.bearer("platform")), 6, "the disabling to take effect")


async def _is_refused(site: Site, headers: dict[str, str]) -> bool:
    return (await site.call("GET", "/v1/orders/A-1", headers=headers)).status == 401


async def test_announcement_names_its_wrong_fields(site: Site) -> None:
    """What is missing or cannot be is named, details by their path."""
    bad = {"order_id": "A", "details": {"total": "abc", "nonsense": 1}, "fulfilment": "drone"}
    problem = assert_problem(await site.post("/v1/orders", bad, site.bearer("platform")), 400, "malformed")
    fields = {error["field"] for error in problem["errors"]}
    assert fields == {"restaurant", "details.total", "details.nonsense", "fulfilment"}
    assert "drone" not in str(problem)
    assert "abc" not in str(problem)


@pytest.mark.parametrize("cursor", ["W10", "WzEsMl0", "é", "WzEsIngiXQ"])
async def test_made_up_cursors_never_break_a_list(site: Site, cursor: str) -> None:
    """A cursor that was not given, whatever it holds, is a 400 or an empty page."""
    reply = await site.call("GET", f"/v1/orders?cursor={cursor}", headers=site.bearer("platform"))
    assert reply.status in (200, 400), reply.raw
