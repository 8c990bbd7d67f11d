"""The people around mealtrail, as HTTP clients: a platform that announces, kitchens, couriers, readers.

They know the public API and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.support.deployments import Deployment
from tests.support.waiting import wait_until


@dataclass
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: Any


@dataclass
class Client:
    """Someone with a bearer token."""

    session: aiohttp.ClientSession
    url: str
    name: str
    token: str

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request with the token."""
        async with self.session.request(
            method, self.url + path, json=body, headers={"Authorization": f"Bearer {self.token}", **headers}
        ) as answer:
            text = await answer.json(content_type=None)
            return Answer(answer.status, dict(answer.headers), text)

    async def post(self, order_id: str, status: str, **fields: Any) -> str:
        """Posts a status; the receipt id. It must be accepted."""
        body = {"order_id": order_id, "status": status, **fields}
        answer = await self.call("POST", f"/v1/webhooks/{self.name}", body)
        assert answer.status == 202, answer
        assert answer.headers["Location"].endswith(f"/v1/receipts/{answer.body['receipt_id']}")
        return str(answer.body["receipt_id"])

    async def receipt(self, receipt_id: str) -> Any:
        """The receipt as it is now."""
        answer = await self.call("GET", f"/v1/receipts/{receipt_id}")
        assert answer.status == 200, answer
        return answer.body

    async def verdict(self, order_id: str, status: str, **fields: Any) -> tuple[str, str | None]:
        """Posts a status and waits for its verdict; (verdict, reason)."""
        return await self.await_verdict(await self.post(order_id, status, **fields))

    async def await_verdict(self, receipt_id: str) -> tuple[str, str | None]:
        """Waits until the receipt is final; (verdict, reason)."""
        found: dict[str, Any] = {}

        async def is_final() -> bool:
            found.update(await self.receipt(receipt_id))
            return bool(found["state"] == "final")

        await wait_until(is_final, timeout=20.0, what=f"a verdict for {self.name}")
        return found["verdict"], found["reason"]


async def add_client(deployment: Deployment, session: aiohttp.ClientSession, name: str, *options: str) -> Client:
    """Adds a source with bearer authentication by the command line."""
    made = await deployment.cli_json("source", "add", name, *options, "--auth", "bearer")
    assert set(made) == {"name", "uid", "role", "auth", "secret"}
    return await _known(Client(session, deployment.url, name, made["secret"]))


async def add_reader(deployment: Deployment, session: aiohttp.ClientSession, scope: str = "read") -> Client:
    """Adds an access token by the command line."""
    made = await deployment.cli_json("token", "add", f"reader-{scope}", "--scope", scope)
    return await _known(Client(session, deployment.url, made["name"], made["token"]))


async def _known(client: Client) -> Client:
    """The client, once the server knows its token, which it does within moments; at once where no server runs."""

    async def is_known() -> bool:
        try:
            return (await client.call("GET", "/v1/orders?limit=1")).status != 401
        except aiohttp.ClientError:
            return True

    await wait_until(is_known, timeout=10.0, what=f"{client.name} to be known")
    return client
