"""An order in the words of the tracking API: pure, from what the store has to the documented object.

Every member is optional there and none may be null, so what is not known is left out. Prices are integers: whole units
of the currency, rounded half to even, and left out where they do not fit the documented width.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from backbone.store.views import OrderView
from schemas.details import Item, Product
from schemas.statuses import OrderStatus
from schemas.times import EPOCH
from service.facades.money import INT32, INT64, json_number, multiply, whole_units
from service.facades.stored_order import believed_placed_us, read_details

UNCONFIRMED = frozenset({OrderStatus.NEW, OrderStatus.CANCELLED})
"""Every other status means that the restaurant has taken the order, or an event has passed that step over."""


def tracking_document(view: OrderView) -> dict[str, Any]:
    """The answer's body. Holds `orjson.Fragment`s, so that numbers are exact: write it with orjson."""
    details = read_details(view)
    items = None if details.items is None else [_item(item) for item in details.items]
    return _known(
        {
            "orderConfirmed": OrderStatus(view.status) not in UNCONFIRMED,
            "orderStatus": view.status,
            "orderProcessTimeInMin": details.process_time_minutes,
            "orderDate": tracking_time(believed_placed_us(view)),
            "tableTitle": details.table_title,
            "servingWaiter": details.serving_waiter,
            "remarks": details.remarks,
            "orderedItems": items,
        }
    )


def tracking_time(us: int) -> str:
    """Microseconds since the epoch as the document writes times: `2019-08-24T14:15:22Z`, whole seconds."""
    return (EPOCH + timedelta(seconds=us // 1_000_000)).isoformat()[:19] + "Z"


def _item(item: Item) -> dict[str, Any]:
    product = item.product or Product()
    price = item.price if item.price is not None else product.price
    quantity = item.quantity
    total = item.total_price
    if total is None and price is not None:
        total = multiply(price, Decimal(1) if quantity is None else quantity)
    return _known(
        {
            "itemId": item.id or product.id,
            "image": product.featured_image,
            "name": product.name,
            "description": product.description,
            "price": None if price is None else whole_units(price, INT64),
            "quantity": None if quantity is None else json_number(quantity),
            "totalPrice": None if total is None else whole_units(total, INT32),
            "additionalOptions": item.options,
        }
    )


def _known(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
