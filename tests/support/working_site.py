"""The HTTP face with a worker beside it in the same process: what is posted gets its verdict."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from backbone.metrics import Metrics
from consumers.composition import runner_config, running
from consumers.runner import Runner
from schemas.statuses import Role
from tests.support.http_face import Reply, Site, serve_site


@asynccontextmanager
async def working(site: Site) -> AsyncIterator[None]:
    """A worker on the site's log and store, until the block ends."""
    config = runner_config(site.settings)
    runner = Runner(log=site.log, store=site.store, config=config, metrics=Metrics())
    async with running(runner, stop_timeout_s=5.0):
        yield


@asynccontextmanager
async def serve_working_site(data_dir: Path, **options: Any) -> AsyncIterator[Site]:
    """`serve_site` with a worker."""
    async with serve_site(data_dir, **options) as site, working(site):
        yield site


@dataclass
class Staff:
    """The usual sources of a site, all with bearer tokens, and what they do in one line."""

    site: Site

    @classmethod
    async def hired(cls, site: Site) -> Staff:
        """A platform, kitchen of r1, courier of c1, marketplaces m1 and m2."""
        await site.add_source("platform", Role.PLATFORM, auth="bearer")
        await site.add_source("kitchen", Role.RESTAURANT, auth="bearer", parties=("r1",))
        await site.add_source("courier", Role.COURIER, auth="bearer", parties=("c1",))
        await site.add_source("market", Role.MARKETPLACE, auth="bearer", parties=("m1",))
        await site.add_source("rival", Role.MARKETPLACE, auth="bearer", parties=("m2",))
        return cls(site)

    async def announce(self, order_id: str, **fields: Any) -> Reply:
        """The platform announces an order of r1, c1 and m1 and waits for its verdict."""
        body = {"order_id": order_id, "restaurant": "r1", "courier": "c1", "marketplace": "m1", **fields}
        reply = await self.site.post("/v1/orders", body, {**self.site.bearer("platform"), "Prefer": "wait=20"})
        assert (reply.status, reply.json["verdict"]) == (200, "applied"), reply.raw
        return reply

    async def report(self, name: str, order_id: str, status: str, wait: str = "wait=20", **fields: Any) -> Reply:
        """A source reports a status and waits for the verdict."""
        body = {"order_id": order_id, "status": status, **fields}
        headers = {**self.site.bearer(name), "Prefer": wait}
        return await self.site.post(f"/v1/webhooks/{name}", body, headers)

    async def history(self, order_id: str) -> list[dict[str, Any]]:
        """The order's trail as the platform sees it."""
        reply = await self.site.call("GET", f"/v1/orders/{order_id}/history", headers=self.site.bearer("platform"))
        assert reply.status == 200, reply.raw
        items: list[dict[str, Any]] = orjson.loads(reply.raw)["items"]
        return items
