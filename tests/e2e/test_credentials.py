"""Credentials in a running service: the official client library signs, rotation and disabling take effect."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import aiohttp
from standardwebhooks.webhooks import Webhook

from tests.support.deployments import Deployment, deployment
from tests.support.waiting import wait_until

__all__ = ["deployment"]


class Partner:
    """A partner that signs with the official Standard Webhooks library."""

    def __init__(self, session: aiohttp.ClientSession, url: str, secret: str) -> None:
        self.session = session
        self.url = url
        self.secret = secret
        self.sent = 0

    async def post(
        self, *, age_s: float = 0, flip: bool = False, version: str = "v1", secret: str | None = None
    ) -> int:
        """Posts one signed webhook; the HTTP status."""
        self.sent += 1
        body = json.dumps({"order_id": f"signed-{self.sent}", "status": "NEW"})
        moment = datetime.now(UTC) - timedelta(seconds=age_s)
        signature = Webhook(secret or self.secret).sign(f"msg-{self.sent}", moment, body)
        headers = {
            "webhook-id": f"msg-{self.sent}",
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": signature.replace("v1", version),
            "content-type": "application/json",
        }
        raw = body.encode()
        if flip:
            raw = raw[:-2] + bytes([raw[-2] ^ 1]) + raw[-1:]
        async with self.session.post(self.url, data=raw, headers=headers) as answer:
            return answer.status


async def test_signatures_rotation_and_disabling(deployment: Deployment) -> None:
    """Signed requests are accepted and forged ones are not; a rotation and a disabling count within 5 seconds."""
    async with aiohttp.ClientSession() as session:
        made = await deployment.cli_json("source", "add", "signer", "--role", "platform")
        assert made["auth"] == "standard-webhooks"
        partner = Partner(session, f"{deployment.url}/v1/webhooks/signer", made["secret"])
        assert await partner.post() == 202
        assert await partner.post(flip=True) == 401
        assert await partner.post(age_s=600) == 401
        assert await partner.post(version="v2") == 401
        other = "whsec_" + "A" * 32
        assert await partner.post(secret=other) == 401
        rotated = await deployment.cli_json("source", "rotate", "signer", "--grace", "0")

        async def is_refused() -> bool:
            return await partner.post() == 401

        await wait_until(is_refused, timeout=5.0, what="the old secret to be refused")
        partner.secret = rotated["secret"]
        assert await partner.post() == 202
        await deployment.cli("source", "disable", "signer")
        await wait_until(is_refused, timeout=5.0, what="the disabled source to be refused")

        async def are_listed() -> bool:
            refusals = await deployment.cli_json("source", "refusals")
            return len(refusals) > 0 and sum(row["count"] for row in refusals.get("refusals", [])) >= 6

        await wait_until(are_listed, timeout=10.0, what="the refusals to be listed")
