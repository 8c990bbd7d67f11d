"""Orders as the store shows them, for tests of what is rendered from them."""

from __future__ import annotations

from typing import Any

from backbone.store.views import OrderView

DETAILS: dict[str, Any] = {
    "currency": "LYD",
    "service": "shop",
    "delivery_charge": "5",
    "customer": {"id": "CUST_1", "name": "John Doe"},
    "items": [
        {
            "id": "ITEM_1",
            "price": "12.5",
            "quantity": "2",
            "options": ["no onions"],
            "product": {"id": "PROD_1", "name": "Bazin", "description": "with lamb", "price": "13"},
        },
        {"id": "ITEM_2", "price": "4.5", "quantity": "1.5", "product": {"id": "PROD_2", "name": "Olives"}},
    ],
    "payment_method": {"key": "Cash", "title": "Cash"},
    "pickup_otp": "123456",
    "table_title": "Table 4",
    "serving_waiter": "Salma",
    "remarks": "by the window",
    "process_time_minutes": 25,
}
"""Details with everything that the documented APIs show; sums are left to be derived."""

_VIEW: dict[str, Any] = {
    "order_id": "A-1",
    "status": "NEW",
    "updated_ms": 1_735_690_200_000,  # 2025-01-01T00:10:00Z
    "restaurant": "R1",
    "courier": None,
    "marketplace": None,
    "fulfilment": None,
    "details": {},
    "placed_us": None,
    "announced_ms": 1_735_689_600_000,  # 2025-01-01T00:00:00Z
    "external_ids": (),
    "former": {},
}


def order_view(**changes: Any) -> OrderView:
    """A new order of restaurant R1, with changes."""
    return OrderView(**{**_VIEW, **changes})
