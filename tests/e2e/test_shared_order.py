"""One order through all the documented APIs at once, in both run modes.

The clients are written from the documents alone, with aiohttp's client: a marketplace on the order-status API, a
kitchen display on the vendor API, a guest's app on the StoreHarmony API. The platform announces and the kitchen moves
by the native API; what one does the others see as soon as the verdict is there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.support.deployments import Deployment, deployment
from tests.support.documented import problems
from tests.support.documented_order_status import ERRORS, STATUS
from tests.support.documented_storeharmony import LOCATION_SCHEMA, TRACKING_SCHEMA
from tests.support.documented_vendor import VENDOR_SCHEMA
from tests.support.orders import DETAILS
from tests.support.partners import Client, add_client, add_reader

__all__ = ["deployment"]

Vendor = dict[str, Any]


@dataclass
class Marketplace:
    """Speaks the order-status API."""

    session: aiohttp.ClientSession
    url: str
    token: str

    @classmethod
    async def signed_in(cls, session: aiohttp.ClientSession, url: str, client_id: str, secret: str) -> Marketplace:
        """Asks for an access token first, as the document says."""
        form = {
            "client_id": client_id,
            "client_secret": secret,
            "grant_type": "client_credentials",
            "scope": "read write",
        }
        async with session.post(f"{url}/security/oauth/token", data=form) as answer:
            assert answer.status == 200, await answer.text()
            return cls(session, url, (await answer.json())["access_token"])

    async def status(self, order_id: str) -> dict[str, Any]:
        """GET of the status."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.session.get(f"{self.url}/order/{order_id}/status", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            document: dict[str, Any] = await answer.json()
        assert problems(STATUS, document) == []
        return document

    async def put(self, order_id: str, status: str, **fields: Any) -> tuple[int, Any]:
        """PUT of a status; the HTTP status, and the array of errors where there is one."""
        async with self.session.put(
            f"{self.url}/order/{order_id}/status",
            json={"status": status, **fields},
            headers={"Authorization": f"Bearer {self.token}"},
        ) as answer:
            errors = await answer.json() if await answer.read() else None
            assert errors is None or problems(ERRORS, errors) == []
            return answer.status, errors


@dataclass
class KitchenDisplay:
    """Speaks the vendor API."""

    session: aiohttp.ClientSession
    url: str
    token: str

    async def order(self, order_id: str) -> dict[str, Any]:
        """The whole order."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        async with self.session.get(f"{self.url}/api/developer/v1/orders/{order_id}", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            document = await answer.json()
        assert problems(VENDOR_SCHEMA, document) == []
        data: dict[str, Any] = document["data"]
        return data


@dataclass
class GuestApp:
    """Speaks the StoreHarmony API, of one store."""

    session: aiohttp.ClientSession
    url: str
    store_id: str
    token: str

    @classmethod
    async def of_new_store(cls, session: aiohttp.ClientSession, url: str, account_id: str, token: str) -> GuestApp:
        """Registers a store first and takes its session."""
        body = {"storeinfo": {"taxRate": 7.5, "vatType": "inclusive", "currency": "LYD"}, "storeName": "Bab Al-Bahr"}
        headers = {"sessiontoken": token}
        async with session.post(f"{url}/user/{account_id}/createNewLocation", json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            store = await answer.json()
        assert problems(LOCATION_SCHEMA, store) == []
        return cls(session, url, store["id"], store["sessionId"])

    async def track(self, order_id: str) -> dict[str, Any]:
        """Track Order Status."""
        path = f"{self.url}/restro/{self.store_id}/trackorder/{order_id}"
        async with self.session.get(path, headers={"sessiontoken": self.token}) as answer:
            assert answer.status == 200, await answer.text()
            document: dict[str, Any] = await answer.json()
        assert problems(TRACKING_SCHEMA, document) == []
        return document


@dataclass
class Market:
    """Everybody around the shared orders."""

    platform: Client
    kitchen: Client
    reader: Client
    marketplace: Marketplace
    display: KitchenDisplay
    app: GuestApp

    async def announce(self, order_id: str, **fields: Any) -> None:
        """The platform announces an order of the new store on the marketplace."""
        body = {"order_id": order_id, "restaurant": self.app.store_id, "marketplace": "eats", "details": DETAILS}
        answer = await self.platform.call("POST", "/v1/orders", {**body, **fields}, Prefer="wait=20")
        assert (answer.status, answer.body["verdict"]) == (200, "applied"), answer

    async def cook(self, order_id: str, status: str) -> None:
        """The kitchen moves the order."""
        body = {"order_id": order_id, "status": status}
        answer = await self.kitchen.call("POST", f"/v1/webhooks/{self.kitchen.name}", body, Prefer="wait=20")
        assert (answer.status, answer.body["verdict"]) == (200, "applied"), answer

    async def see(
        self, order_id: str, status: str, key: str, *, confirmed: bool, active: bool, may_ready: bool
    ) -> Vendor:
        """All three APIs show the same step, at once. Returns the vendor's view."""
        assert (await self.marketplace.status(order_id))["status"] == status
        shown = await self.app.track(order_id)
        assert (shown["orderStatus"], shown["orderConfirmed"]) == (status, confirmed)
        data = await self.display.order(order_id)
        assert data["status"]["key"] == key
        assert (data["is_active"], data["can_mark_as_ready"]) == (active, may_ready)
        return data

    async def cook_until_ready(self, order_id: str) -> None:
        """From the announcement to READY, seen by all at every step."""
        await self.see(order_id, "NEW", "pending", confirmed=False, active=True, may_ready=False)
        await self.cook(order_id, "ACCEPTED_BY_RESTAURANT")
        await self.see(order_id, "ACCEPTED_BY_RESTAURANT", "accepted", confirmed=True, active=True, may_ready=True)
        await self.cook(order_id, "COOKING")
        await self.see(order_id, "COOKING", "preparing", confirmed=True, active=True, may_ready=True)
        await self.cook(order_id, "READY")
        await self.see(order_id, "READY", "ready", confirmed=True, active=True, may_ready=False)

    async def history(self, order_id: str) -> list[tuple[str, str | None, str]]:
        """The order's trail: reported status, verdict with its reason, resulting status."""
        answer = await self.reader.call("GET", f"/v1/orders/{order_id}/history")
        assert answer.status == 200, answer
        return [
            (item["reported_status"], item["reason"] or item["verdict"], item["to_status"])
            for item in answer.body["items"]
        ]


@pytest.fixture
async def market(deployment: Deployment) -> AsyncIterator[Market]:
    """A platform, a marketplace, an account with a new store and its kitchen, on a running mealtrail."""
    account = await deployment.cli_json("account", "add", "chain-9")
    eats = await deployment.cli_json(
        "source", "add", "eats", "--role", "marketplace", "--party", "eats", "--auth", "bearer"
    )
    async with aiohttp.ClientSession() as session:
        url = deployment.url
        app = await GuestApp.of_new_store(session, url, account["account_id"], account["session_token"])
        kitchen = await add_client(deployment, session, "kitchen", "--role", "restaurant", "--party", app.store_id)
        yield Market(
            platform=await add_client(deployment, session, "platform", "--role", "platform"),
            kitchen=kitchen,
            reader=await add_reader(deployment, session),
            marketplace=await Marketplace.signed_in(session, url, "eats", eats["secret"]),
            display=KitchenDisplay(session, url, kitchen.token),
            app=app,
        )


STEPS = [("NEW", "applied", "NEW")] + [
    (status, "applied", status) for status in ("ACCEPTED_BY_RESTAURANT", "COOKING", "READY")
]


async def test_a_shared_order_from_placed_to_delivered(market: Market) -> None:
    """The platform announces, the kitchen cooks, the marketplace delivers; every API shows every step."""
    await market.announce("12345")
    await market.cook_until_ready("12345")
    taken = {"status": "TAKEN_BY_COURIER", "comment": "on the way", "updatedAt": "2025-06-01T12:00:27.870000+02:00"}
    assert await market.marketplace.put("12345", **taken) == (204, None)
    await market.see("12345", "TAKEN_BY_COURIER", "picked_up", confirmed=True, active=True, may_ready=False)
    assert await market.marketplace.put("12345", **taken) == (204, None), "the same call, its answer lost"
    assert await market.marketplace.put("12345", "DELIVERED") == (204, None)
    data = await market.see("12345", "DELIVERED", "delivered", confirmed=True, active=False, may_ready=False)
    assert (data["id"], data["vendor"]["id"], data["is_pickup"]) == ("12345", market.app.store_id, False)
    assert (data["customer"]["name"], data["total"]) == ("John Doe", 36.75)
    assert await market.history("12345") == [
        *STEPS,
        ("TAKEN_BY_COURIER", "applied", "TAKEN_BY_COURIER"),
        ("DELIVERED", "applied", "DELIVERED"),
    ]


async def test_a_pickup(market: Market) -> None:
    """A guest fetches the order: the vendor sees the code, the courier's step is noted, the kitchen hands it over."""
    await market.announce("P-1", fulfilment="pickup")
    await market.cook_until_ready("P-1")
    assert await market.marketplace.put("P-1", "TAKEN_BY_COURIER") == (204, None)
    data = await market.see("P-1", "READY", "ready", confirmed=True, active=True, may_ready=False)
    assert (data["is_pickup"], data["delivery_method"]["id"], data["pickup_otp"]) == (True, "pickup", "123456")
    await market.cook("P-1", "DELIVERED")
    await market.see("P-1", "DELIVERED", "delivered", confirmed=True, active=False, may_ready=False)
    assert ("TAKEN_BY_COURIER", "noted", "READY") in await market.history("P-1")


async def test_a_cancellation_after_ready(market: Market) -> None:
    """Cancelled by the marketplace; a later move gets 400, again at a retry, and stands in the history."""
    await market.announce("C-1")
    await market.cook_until_ready("C-1")
    fields = {"reason": "place.unable_to_call", "attributes": ["paid"], "comment": "test"}
    assert await market.marketplace.put("C-1", "CANCELLED", **fields) == (204, None)
    data = await market.see("C-1", "CANCELLED", "cancelled", confirmed=False, active=False, may_ready=False)
    assert data["status"]["decoration"]["foreground_color"]["role"] == "error"
    assert (await market.marketplace.status("C-1"))["comment"] == "test"
    refused = await market.marketplace.put("C-1", "DELIVERED", updatedAt="2100-01-01T12:00:27.870000+00:20")
    assert refused[0] == 400
    again = await market.marketplace.put("C-1", "DELIVERED", updatedAt="2100-01-01T12:00:27.870000+00:20")
    assert again == refused
    await market.see("C-1", "CANCELLED", "cancelled", confirmed=False, active=False, may_ready=False)
    assert await market.history("C-1") == [
        *STEPS,
        ("CANCELLED", "applied", "CANCELLED"),
        ("DELIVERED", "order_closed", "CANCELLED"),
    ]
