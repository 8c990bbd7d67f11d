"""The main job from the outside, in both run modes: webhooks in, states, trail, receipts and changes out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from schemas.canonical import GENESIS, chain_hash
from tests.support.deployments import Deployment, deployment
from tests.support.partners import Client, add_client, add_reader
from tests.support.waiting import wait_until

__all__ = ["deployment"]

APPLIED = ("applied", None)
LATE = ("late", None)
ILLEGAL = ("rejected", "illegal_transition")


@dataclass
class Town:
    """Everybody who takes part."""

    deployment: Deployment
    platform: Client
    kitchen: Client
    other_kitchen: Client
    courier: Client
    other_courier: Client
    reader: Client

    async def announce(self, order_id: str, **fields: Any) -> None:
        """The platform announces an order of restaurant r1 and waits until it is applied."""
        body = {"order_id": order_id, "restaurant": "r1", **fields}
        answer = await self.platform.call("POST", "/v1/orders", body)
        assert answer.status == 202, answer
        assert await self.platform.await_verdict(answer.body["receipt_id"]) == APPLIED

    async def amend(self, order_id: str, **fields: Any) -> tuple[str, str | None]:
        """The platform amends an order; the verdict."""
        answer = await self.platform.call("PATCH", f"/v1/orders/{order_id}", fields)
        assert answer.status == 202, answer
        return await self.platform.await_verdict(answer.body["receipt_id"])

    async def status_of(self, order_id: str) -> str:
        """The order's status as a reader sees it."""
        answer = await self.reader.call("GET", f"/v1/orders/{order_id}")
        assert answer.status == 200, answer
        return str(answer.body["status"])

    async def history_of(self, order_id: str) -> list[dict[str, Any]]:
        """The order's trail, oldest first."""
        answer = await self.reader.call("GET", f"/v1/orders/{order_id}/history")
        assert answer.status == 200, answer
        items: list[dict[str, Any]] = answer.body["items"]
        return items


@pytest.fixture
async def town(deployment: Deployment) -> AsyncIterator[Town]:
    """A platform, two kitchens, two courier companies and a reader, on a running mealtrail."""
    async with aiohttp.ClientSession() as session:
        yield Town(
            deployment,
            await add_client(deployment, session, "platform", "--role", "platform"),
            await add_client(deployment, session, "kitchen-1", "--role", "restaurant", "--party", "r1"),
            await add_client(deployment, session, "kitchen-2", "--role", "restaurant", "--party", "r2"),
            await add_client(deployment, session, "courier-1", "--role", "courier", "--party", "c1"),
            await add_client(deployment, session, "courier-2", "--role", "courier", "--party", "c2"),
            await add_reader(deployment, session),
        )


def ago(minutes: float) -> str:
    """A claimed time so many minutes before now."""
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()


async def test_the_main_job(town: Town) -> None:
    """One long day: every kind of order and mishap, then the whole trail is read back and verified."""
    await a_plain_delivery(town)
    await cancelled_after_ready(town)
    await a_pickup_order(town)
    await early_and_foreign_events(town)
    await a_courier_is_named_late_and_replaced(town)
    await a_kitchen_without_a_clock(town)
    await an_operator_corrects(town)
    await the_document_s_own_example(town)
    await repeats_and_reused_ids(town)
    await reading(town)
    await changes_and_chains(town)


async def a_plain_delivery(town: Town) -> None:
    """Every step in turn; the same again, a step back, and nothing after the end."""
    await town.announce("plain", courier="c1", details={"customer": {"name": "Ann"}, "total": "12.50"})
    for status in ("ACCEPTED_BY_RESTAURANT", "COOKING", "READY"):
        assert await town.kitchen.verdict("plain", status) == APPLIED
    assert await town.kitchen.verdict("plain", "COOKING", occurred_at=ago(-10)) == ILLEGAL
    assert await town.kitchen.verdict("plain", "TAKEN_BY_COURIER") == ("rejected", "role_not_permitted")
    assert await town.courier.verdict("plain", "TAKEN_BY_COURIER") == APPLIED
    assert await town.courier.verdict("plain", "TAKEN_BY_COURIER") == ("repeated", None)
    assert await town.courier.verdict("plain", "DELIVERED", comment="left at the door") == APPLIED
    assert await town.status_of("plain") == "DELIVERED"
    items = await town.history_of("plain")
    assert [item["to_status"] for item in items if item["verdict"] == "applied"] == [
        "NEW",
        "ACCEPTED_BY_RESTAURANT",
        "COOKING",
        "READY",
        "TAKEN_BY_COURIER",
        "DELIVERED",
    ]
    assert items[-1]["comment"] == "left at the door"
    order = (await town.reader.call("GET", "/v1/orders/plain")).body
    assert order["details"]["customer"] == {"name": "Ann"}


async def cancelled_after_ready(town: Town) -> None:
    """Cancelled by the platform; what happened before is late, what comes after is refused."""
    await town.announce("cancelled", courier="c1")
    assert await town.kitchen.verdict("cancelled", "READY") == APPLIED
    assert await town.courier.verdict("cancelled", "CANCELLED") == ("noted", None)
    assert await town.platform.verdict("cancelled", "CANCELLED", reason="customer.changed_mind") == APPLIED
    before = await town.courier.verdict("cancelled", "TAKEN_BY_COURIER", occurred_at=ago(1))
    assert before == ("late", "moved_before_cancellation")
    after = await town.courier.verdict("cancelled", "DELIVERED", occurred_at=ago(-5))
    assert after == ("rejected", "order_closed")
    assert await town.platform.verdict("cancelled", "CANCELLED", event_id="again") == ("repeated", None)
    assert await town.status_of("cancelled") == "CANCELLED"


async def a_pickup_order(town: Town) -> None:
    """No courier: the restaurant hands it over; a courier's step has no place."""
    await town.announce("pickup", fulfilment="pickup", courier="c1")
    assert await town.kitchen.verdict("pickup", "READY") == APPLIED
    assert await town.courier.verdict("pickup", "TAKEN_BY_COURIER") == ("noted", None)
    assert await town.kitchen.verdict("pickup", "DELIVERED") == APPLIED
    inferred = [item["to_status"] for item in await town.history_of("pickup") if item["inferred"]]
    assert inferred == ["ACCEPTED_BY_RESTAURANT", "COOKING"]


async def early_and_foreign_events(town: Town) -> None:
    """Events before the announcement wait for it; a stranger's wait too, look the same, and are never in the trail."""
    early = await town.kitchen.post("early", "COOKING", occurred_at=ago(3))
    stranger = await town.other_kitchen.post("early", "READY", occurred_at=ago(3))
    for client, receipt in ((town.kitchen, early), (town.other_kitchen, stranger)):

        async def is_held(client: Client = client, receipt: str = receipt) -> bool:
            return bool((await client.receipt(receipt))["state"] == "held")

        await wait_until(is_held, timeout=20.0, what="the event to be held")
    await town.announce("early")
    assert await town.kitchen.await_verdict(early) == APPLIED
    assert (await town.other_kitchen.receipt(stranger))["state"] == "held"
    assert {item["source"] for item in await town.history_of("early")} == {"platform", "kitchen-1"}
    for path in ("/v1/orders/early", "/v1/orders/early/history"):
        assert (await town.other_kitchen.call("GET", path)).status == 404
    assert (await town.kitchen.call("GET", f"/v1/receipts/{stranger}")).status == 404
    late = await town.kitchen.verdict("early", "ACCEPTED_BY_RESTAURANT", occurred_at=ago(5))
    assert late == LATE


async def a_courier_is_named_late_and_replaced(town: Town) -> None:
    """A courier's first callback comes before it is named; then another one takes over."""
    await town.announce("courier")
    assert await town.kitchen.verdict("courier", "READY") == APPLIED
    first = await town.courier.post("courier", "TAKEN_BY_COURIER", occurred_at=ago(0))
    assert await town.amend("courier", courier="c1") == ("noted", None)
    assert await town.courier.await_verdict(first) == APPLIED
    assert await town.amend("courier", courier="c2") == ("noted", None)
    assert await town.courier.verdict("courier", "DELIVERED") == ("rejected", "not_your_order")
    assert await town.courier.verdict("courier", "TAKEN_BY_COURIER", event_id="t2") == ("repeated", None)
    assert (await town.courier.call("GET", "/v1/orders/courier")).status == 200
    assert await town.other_courier.verdict("courier", "DELIVERED") == APPLIED


async def a_kitchen_without_a_clock(town: Town) -> None:
    """Steps without times: out of order once is late, out of order again is not believed."""
    await town.announce("clockless")
    assert await town.kitchen.verdict("clockless", "READY") == APPLIED
    assert await town.kitchen.verdict("clockless", "COOKING") == LATE
    assert await town.kitchen.verdict("clockless", "COOKING") == ILLEGAL


async def an_operator_corrects(town: Town) -> None:
    """A person moves an order back; a stale retry of what was undone changes nothing."""
    await town.announce("corrected", courier="c1")
    assert await town.kitchen.verdict("corrected", "READY") == APPLIED
    claimed = ago(0)
    assert await town.courier.verdict("corrected", "DELIVERED", occurred_at=claimed) == APPLIED
    moved = await town.deployment.cli_json("order", "move", "corrected", "READY", "--reason", "came back")
    assert moved["receipt"]["verdict"] == "applied"
    assert await town.status_of("corrected") == "READY"
    assert (await town.history_of("corrected"))[-1]["comment"] == "came back"
    stale = await town.courier.verdict("corrected", "TAKEN_BY_COURIER", occurred_at=claimed)
    assert stale == ("late", "undone_by_operator")
    assert await town.courier.verdict("corrected", "TAKEN_BY_COURIER", occurred_at=ago(-0.05)) == APPLIED


async def the_document_s_own_example(town: Town) -> None:
    """The order-status document's own body: dated 1937 at +00:20, implausible, and it cancels."""
    await town.announce("document")
    example = {
        "attributes": ["paid"],
        "comment": "test",
        "reason": "place.unable_to_call",
        "updatedAt": "1937-01-01T12:00:27.870000+00:20",
    }
    assert await town.platform.verdict("document", "CANCELLED", **example) == APPLIED
    last = (await town.history_of("document"))[-1]
    assert (last["cancel_reason"], last["comment"]) == ("place.unable_to_call", "test")
    assert last["occurred_at"] == "1937-01-01T11:40:27.870000Z"


async def repeats_and_reused_ids(town: Town) -> None:
    """The same event again is absorbed; another one under its id is refused, and its repeats are absorbed."""
    await town.announce("repeats")
    first = await town.kitchen.post("repeats", "COOKING", event_id="e1")
    assert await town.kitchen.await_verdict(first) == APPLIED
    assert await town.kitchen.verdict("repeats", "COOKING", event_id="e1") == APPLIED
    reused = await town.kitchen.verdict("repeats", "READY", event_id="e1")
    assert reused == ("rejected", "event_id_reused")
    await town.kitchen.post("repeats", "READY", event_id="e1")
    assert await town.kitchen.verdict("repeats", "READY", event_id="e2") == APPLIED
    assert [item["verdict"] for item in await town.history_of("repeats") if not item["inferred"]] == [
        "applied",
        "applied",
        "rejected",
        "applied",
    ]


async def reading(town: Town) -> None:
    """Lists by status and party, pages, external ids, and who may see what."""
    await town.announce("listed", external_ids=["till-77"])
    found = (await town.reader.call("GET", "/v1/orders?external_id=till-77")).body
    assert [order["order_id"] for order in found["items"]] == ["listed"]
    delivered = (await town.reader.call("GET", "/v1/orders?status=DELIVERED&restaurant=r1")).body
    assert {order["order_id"] for order in delivered["items"]} == {"plain", "pickup", "courier"}
    assert (await town.other_kitchen.call("GET", "/v1/orders")).body["items"] == []
    assert (await town.reader.call("GET", "/v1/orders/unheard-of")).status == 404
    async with town.reader.session.get(f"{town.reader.url}/v1/orders/plain") as answer:
        assert answer.status == 401
    seen: list[str] = []
    path = "/v1/orders?limit=3"
    while True:
        page = (await town.reader.call("GET", path)).body
        seen += [order["order_id"] for order in page["items"]]
        if page["next"] is None:
            break
        path = f"/v1/orders?limit=3&cursor={page['next']}"
    assert len(seen) == len(set(seen)) == 10


async def changes_and_chains(town: Town) -> None:
    """The changes feed carries every row of the trail in order; hashes follow from each other; the audit agrees."""
    position, items = "", []
    while True:
        page = (await town.reader.call("GET", f"/v1/changes?after={position}&limit=50")).body
        if not page["items"]:
            break
        items += page["items"]
        position = page["next"]
    heads: dict[int, tuple[int, bytes]] = {}
    for item in items:
        seq, head = heads.get(item["partition"], (0, GENESIS))
        assert item["seq"] == seq + 1
        fields = {name: value for name, value in item.items() if name != "hash"}
        assert chain_hash(head, fields).hex() == item["hash"]
        heads[item["partition"]] = (item["seq"], bytes.fromhex(item["hash"]))
    report = await town.deployment.cli_json("audit", "verify")
    assert report == {"rows": len(items), "partitions": len(heads), "ok": True, "first_bad": None} or (
        report["ok"] and report["rows"] == len(items)
    )
    waiting = town.reader.call("GET", f"/v1/changes?after={position}&wait=10")
    await town.announce("woken")
    assert [item["order_id"] for item in (await waiting).body["items"]] == ["woken"]
