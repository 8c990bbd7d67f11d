"""GET receipts, orders, history, lists. What a caller may not see is answered as what is not there."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from backbone.store.positions import PositionRepository
from backbone.store.readings import Readings
from schemas.errors import NotFound
from schemas.identifiers import ReceiptId, normalise_id
from schemas.statuses import OrderStatus
from service.access import Access
from service.queries.parameters import choice, identifier, whole_number
from service.queries.rendering import order_document, position_document, receipt_document, trail_document
from service.request_notes import notes_of

DEFAULT_LIMIT = 50
MOST = 200


def json_answer(document: Any) -> web.Response:
    """200 with a document that nobody may keep a copy of."""
    return web.Response(
        body=orjson.dumps(document), content_type="application/json", headers={"Cache-Control": "no-store"}
    )


class Reads:
    """The handlers. One per application."""

    def __init__(self, readings: Readings, positions: PositionRepository, access: Access, *, partitions: int) -> None:
        self._readings = readings
        self._positions = positions
        self._access = access
        self._partitions = partitions

    async def receipt(self, request: web.Request) -> web.Response:
        """GET /v1/receipts/{receipt_id}."""
        sight = await self._access.sight(request)
        text = request.match_info["receipt_id"]
        try:
            receipt_id = ReceiptId.parse(text)
        except ValueError as error:
            raise NotFound("There is no such receipt.") from error
        notes = notes_of(request)
        notes.partition, notes.offset = receipt_id.partition, receipt_id.offset
        view = None
        if receipt_id.partition < self._partitions:  # made up otherwise, perhaps beyond what the store can compare
            view = await self._readings.receipt(receipt_id, sight)
        if view is None:
            raise NotFound("There is no such receipt.")
        return json_answer(receipt_document(view, text))

    async def order(self, request: web.Request) -> web.Response:
        """GET /v1/orders/{order_id}."""
        sight = await self._access.sight(request)
        order_id = _order_id(request)
        view = await self._readings.order(order_id, sight)
        if view is None:
            raise NotFound("There is no such order.")
        position = position_document(await self._positions.latest(order_id, sight))
        return json_answer({**order_document(view), "courier_position": position})

    async def history(self, request: web.Request) -> web.Response:
        """GET /v1/orders/{order_id}/history, oldest first."""
        sight = await self._access.sight(request)
        order_id = _order_id(request)
        entries = await self._readings.history(order_id, sight)
        if entries is None:
            raise NotFound("There is no such order.")
        return json_answer({"order_id": order_id, "items": [trail_document(entry) for entry in entries]})

    async def orders(self, request: web.Request) -> web.Response:
        """GET /v1/orders, newest announced first; `next` is the cursor of the next page, null on the last."""
        sight = await self._access.sight(request)
        query = request.query
        views, cursor = await self._readings.orders(
            status=choice(query, "status", OrderStatus),
            restaurant=identifier(query, "restaurant"),
            courier=identifier(query, "courier"),
            external_id=identifier(query, "external_id"),
            sight=sight,
            cursor=query.get("cursor"),
            limit=whole_number(query, "limit", default=DEFAULT_LIMIT, least=1, most=MOST),
        )
        return json_answer({"items": [order_document(view) for view in views], "next": cursor})


def _order_id(request: web.Request) -> str:
    try:
        order_id = normalise_id(request.match_info["order_id"])
    except ValueError as error:
        raise NotFound("There is no such order.") from error
    notes_of(request).order_id = order_id
    return order_id
