"""The vendor API: GET /api/developer/v1/orders/{orderId}, as its document has it.

A bearer token of a restaurant, a marketplace or the platform opens the orders that name it; an access token opens all.
Couriers have no place in this API, and theirs opens nothing. A foreign order is a 404 like one that is not there.
Errors are `{"status": "error", "message": …}`, with the document's own words for 401 and 404.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from aiohttp import web

from schemas.errors import NotAuthenticated
from schemas.refusals import Why
from schemas.statuses import Role
from service.access import Access
from service.facades.lookup import OrderLookup
from service.facades.mounting import Route
from service.facades.vendor_order import vendor_document
from service.failures import Failure
from service.queries.reads import json_answer

ORDER_PATH = "/api/developer/v1/orders/{orderId:[^/]*}"
_MESSAGES = {401: "Unauthenticated.", 404: "Order not found"}


class VendorApi:
    """The facade. One per application."""

    name = "vendor"

    def __init__(self, access: Access, lookup: OrderLookup) -> None:
        self._access = access
        self._lookup = lookup

    def routes(self) -> Sequence[Route]:
        """Its one endpoint."""
        return (Route("GET", ORDER_PATH, self.get_order),)

    def fail(self, failure: Failure, request_id: str) -> web.Response:
        """A refusal or an outage in this API's shape; the request id goes in its header alone."""
        del request_id
        body = {"status": "error", "message": _MESSAGES.get(failure.status, failure.detail)}
        return web.Response(
            status=failure.status,
            body=orjson.dumps(body),
            content_type="application/json",
            headers={**(failure.headers or {}), "Cache-Control": "no-store"},
        )

    async def get_order(self, request: web.Request) -> web.Response:
        """The whole order. Raises NotAuthenticated, NotFound, RateLimited, StoreUnavailable."""
        sight = await self._access.sight(request)
        if sight.role is Role.COURIER:
            self._access.count_refusal(request, Why.ROLE_NOT_SERVED)
            raise NotAuthenticated(Why.ROLE_NOT_SERVED)
        view = await self._lookup.seen(request, sight, request.match_info["orderId"])
        return json_answer(vendor_document(view))
