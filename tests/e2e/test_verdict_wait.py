"""Waiting for verdicts from the outside, in both run modes; on Kafka across two ingress processes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from kafka_broker import free_port
from tests.support.deployments import Deployment, deployment
from tests.support.documented_order_status import STATUS, TOKEN, UNAUTHORIZED, is_valid
from tests.support.partners import Client, add_client
from tests.support.waiting import wait_until

__all__ = ["deployment"]


@dataclass
class Shop:
    """A platform, a kitchen and a marketplace, and every address where mealtrail answers."""

    platform: Client
    kitchen: Client
    market: Client
    urls: list[str]

    def at(self, client: Client, number: int) -> Client:
        """The client, talking to another ingress process where there is one."""
        return dataclasses.replace(client, url=self.urls[number % len(self.urls)])

    async def announce(self, order_id: str) -> None:
        """The platform announces an order and waits for its verdict."""
        body = {"order_id": order_id, "restaurant": "r1", "marketplace": "m1"}
        answer = await self.platform.call("POST", "/v1/orders", body, Prefer="wait=20")
        assert (answer.status, answer.body["verdict"]) == (200, "applied"), answer


@pytest.fixture
async def shop(deployment: Deployment) -> AsyncIterator[Shop]:
    """A running mealtrail with two ingress processes where the mode has several."""
    urls = [deployment.url]
    if deployment.mode == "kafka":
        port = free_port()
        urls.append(f"http://127.0.0.1:{port}")
        deployment.start("serve-2", "serve", MEALTRAIL_PORT=str(port))
    async with aiohttp.ClientSession() as session:
        await wait_until(lambda: answers(session, urls[-1]), timeout=40.0, what="every ingress process")
        yield Shop(
            await add_client(deployment, session, "platform", "--role", "platform"),
            await add_client(deployment, session, "kitchen", "--role", "restaurant", "--party", "r1"),
            await add_client(deployment, session, "market", "--role", "marketplace", "--party", "m1"),
            urls,
        )


async def answers(session: aiohttp.ClientSession, url: str) -> bool:
    """Whether an ingress process is ready."""
    try:
        async with session.get(f"{url}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def test_each_process_answers_its_own_callers(shop: Shop) -> None:
    """Many waits at once, on whichever process: every caller gets its own verdict, the same as its receipt."""
    orders = [f"W-{number}" for number in range(12)]
    await asyncio.gather(*(shop.announce(order_id) for order_id in orders))

    async def cook(number: int, order_id: str) -> tuple[int, Any]:
        kitchen = shop.at(shop.kitchen, number)
        body = {"order_id": order_id, "status": "COOKING"}
        answer = await kitchen.call("POST", "/v1/webhooks/kitchen", body, Prefer="wait=20")
        other = shop.at(shop.kitchen, number + 1)
        assert answer.body == await other.receipt(answer.body["receipt_id"])
        return answer.status, answer.body["verdict"]

    first = await asyncio.gather(*(cook(number, order_id) for number, order_id in enumerate(orders)))
    assert set(first) == {(200, "applied")}
    again = await asyncio.gather(*(cook(number + 1, order_id) for number, order_id in enumerate(orders)))
    assert set(again) == {(200, "repeated")}


async def test_order_status_api_across_processes(shop: Shop) -> None:
    """A token of one process opens the other; a change through one is read through the other, within the wait."""
    await shop.announce("W-1")
    session = shop.market.session
    form = {
        "grant_type": "client_credentials",
        "client_id": "market",
        "client_secret": shop.market.token,
        "scope": "read write",
    }
    async with session.post(f"{shop.urls[0]}/security/oauth/token", data=form) as reply:
        issued = await reply.json()
    assert is_valid(TOKEN, issued)
    partner = dataclasses.replace(shop.at(shop.market, 1), token=issued["access_token"])

    body = {"status": "TAKEN_BY_COURIER", "comment": "picked up", "updatedAt": "2021-01-31T12:00:27.870000+00:20"}
    for number in range(3):  # lost answers are asked for again, wherever the call lands
        answer = await shop.at(partner, number).call("PUT", "/order/W-1/status", body)
        assert answer.status == 204
        shown = await shop.at(partner, number + 1).call("GET", "/order/W-1/status")
        assert is_valid(STATUS, shown.body)
        assert shown.body == {
            "status": "TAKEN_BY_COURIER",
            "comment": "picked up",
            "updatedAt": "2021-01-31T11:40:27.870000+00:00",
        }
    assert (await partner.call("PUT", "/order/W-404/status", {"status": "CANCELLED"})).status == 404
    assert (await partner.call("PUT", "/order/W-1/status", {"status": "CANCELLED"})).status == 204
    refused = await partner.call("PUT", "/order/W-1/status", {"status": "DELIVERED"})
    assert (refused.status, refused.body[0]["code"]) == (400, 111)
    history = await shop.platform.call("GET", "/v1/orders/W-1/history")
    last = history.body["items"][-1]
    assert (last["verdict"], last["reason"], last["reported_status"]) == ("rejected", "order_closed", "DELIVERED")
    stranger = await dataclasses.replace(partner, token="nonsense").call("GET", "/order/W-1/status")
    assert stranger.status == 401
    assert is_valid(UNAUTHORIZED, stranger.body)
