"""Finding the order that a facade's path names, as far as its caller may see it.

A caller is a source or an access token, by its bearer token, or a store, by its session. It finds the orders that it
may see (a source those that name one of its parties), and for it nothing else exists. The id in the path may be ours
or one of the order's `external_ids` (a restaurant's own number); ours wins, and of several orders under one external id
the one announced last does, since restaurants count anew each day.
"""

from __future__ import annotations

from aiohttp import web

from backbone.store.readings import OrderView, Readings, Sight
from schemas.errors import NotFound
from schemas.identifiers import normalise_id
from service.request_notes import notes_of

NO_SUCH_ORDER = "There is no such order."


class OrderLookup:
    """Looks orders up for facades. One per application."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    async def seen(self, request: web.Request, sight: Sight, order_id: str) -> OrderView:
        """The order by its own or an external id, through these eyes. Raises NotFound (unknown and foreign are never
        told apart), StoreUnavailable.
        """
        order_id = path_id(order_id)
        notes_of(request).order_id = order_id
        view = await self._readings.order(order_id, sight)
        if view is None:
            view = await self._by_external_id(order_id, sight)
        if view is None:
            raise NotFound(NO_SUCH_ORDER)
        return view

    async def _by_external_id(self, external_id: str, sight: Sight) -> OrderView | None:
        views, _ = await self._readings.orders(external_id=external_id, sight=sight, limit=1)
        return views[0] if views else None


def path_id(text: str) -> str:
    """An order id of a path. What cannot be an id names no order: raises NotFound."""
    try:
        return normalise_id(text)
    except ValueError as error:
        raise NotFound(NO_SUCH_ORDER) from error
