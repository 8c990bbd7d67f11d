"""The admin port's application: metrics and health. The HTTP face and a worker both serve it."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from backbone.health import Health
from backbone.metrics import CONTENT_TYPE, Metrics


def build_admin(metrics: Metrics, health: Health, *, middlewares: Sequence[Middleware] = ()) -> web.Application:
    """An application with /metrics, /healthz and /readyz. Serve it on an address that only operators reach."""
    app = web.Application(middlewares=middlewares)

    async def show_metrics(_request: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    app.router.add_get("/metrics", show_metrics)
    add_health_routes(app, health)
    return app


def add_health_routes(app: web.Application, health: Health) -> None:
    """Adds /healthz (the process answers) and /readyz (200 or 503, with the state of every part)."""

    async def answer_healthz(_request: web.Request) -> web.Response:
        return web.Response(body=b'{"ok":true}', content_type="application/json")

    async def answer_readyz(_request: web.Request) -> web.Response:
        state = await health.readiness()
        return web.Response(
            status=200 if state.ready else 503,
            body=orjson.dumps({"ready": state.ready, "parts": state.parts}),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    app.router.add_get("/healthz", answer_healthz)
    app.router.add_get("/readyz", answer_readyz)
