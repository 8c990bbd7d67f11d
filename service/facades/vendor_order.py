"""An order in the words of the vendor API: pure, from what the store has to the whole documented body.

Every documented field is there, in the document's own order. Where the details do not say, a field that may be null is
null; the others have the defaults that docs/vendor-api.md lists: what the order itself says (its id, its restaurant,
its fulfilment, the sum of its lines), else an empty string or zero.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from backbone.store.views import OrderView
from schemas.details import Item, NamedPart, OrderDetails, PaymentMethod, Product
from schemas.statuses import Fulfilment, OrderStatus
from schemas.times import EPOCH
from service.facades.money import ZERO, add, decimal_text, json_number, multiply, whole_pieces
from service.facades.stored_order import believed_placed_us, read_details
from service.facades.vendor_status import VENDOR_STATUSES

DEFAULT_SERVICE = "food"
NO_CURRENCY = "XXX"
"""ISO 4217: no currency is involved (or known)."""
DELIVERY_NAMES = {
    Fulfilment.DELIVERY: "Delivery",
    Fulfilment.OWN_DELIVERY: "Own delivery",
    Fulfilment.PICKUP: "Pickup",
    Fulfilment.DINE_IN: "Dine in",
}
_ONE = Decimal(1)


def vendor_document(view: OrderView) -> dict[str, Any]:
    """The answer's body. Holds `orjson.Fragment`s, so that numbers are exact: write it with orjson."""
    return {"data": _order(view, read_details(view))}


def vendor_time(us: int) -> str:
    """Microseconds since the epoch as the document writes times: `2025-01-01T00:00:00+00:00`, whole seconds."""
    return (EPOCH + timedelta(seconds=us // 1_000_000)).isoformat()


def _order(view: OrderView, details: OrderDetails) -> dict[str, Any]:
    status = VENDOR_STATUSES[OrderStatus(view.status)]
    fulfilment = Fulfilment(view.fulfilment) if view.fulfilment is not None else Fulfilment.DELIVERY
    items = details.items or []
    service = details.service or DEFAULT_SERVICE
    currency = details.currency or _currency_of_items(items) or NO_CURRENCY
    delivery_charge, service_charge = details.delivery_charge or ZERO, details.service_charge or ZERO
    subtotal = details.subtotal if details.subtotal is not None else add(_line_total(item) for item in items)
    total = details.total if details.total is not None else add((subtotal, delivery_charge, service_charge))
    vendor = _vendor(details.vendor, view.restaurant)
    document: dict[str, Any] = {
        "id": view.order_id,
        "service": service,
        "receipt_number": details.receipt_number,
        "cash_amount": json_number(details.cash_amount or ZERO),
        "subtotal": json_number(subtotal),
        "total": json_number(total),
        "total_quantity": decimal_text(add(_quantity(item) for item in items)),
        "created_at": vendor_time(believed_placed_us(view)),
        "currency": currency,
        "is_active": status.is_active,
        "delivery_charge": json_number(delivery_charge),
        "service_charge": json_number(service_charge),
        "status": {
            "key": status.key,
            "title": status.title,
            "created_at": vendor_time(view.updated_ms * 1000) if status.is_dated else None,
            "aliases": list(status.aliases),
            "decoration": status.decoration(),
        },
        "customer": {
            "id": (details.customer and details.customer.id) or "",
            "name": (details.customer and details.customer.name) or "",
        },
        "print_order_number": details.print_order_number or view.order_id,
        "items": [
            _item(item, number, service=service, currency=currency, vendor_id=vendor["id"])
            for number, item in enumerate(items, 1)
        ],
        "payment_method": _payment_method(details.payment_method or PaymentMethod()),
        "delivery_method": _delivery_method(details.delivery_method or NamedPart(), fulfilment),
        "is_pickup": fulfilment is Fulfilment.PICKUP,
        "can_mark_as_ready": status.can_mark_as_ready,
    }
    for name in ("pickup_otp", "return_otp"):
        code = getattr(details, name)
        if code:
            document[name] = code
    document["vendor"] = vendor
    return document


def _currency_of_items(items: list[Item]) -> str | None:
    return next((item.product.currency for item in items if item.product and item.product.currency), None)


def _quantity(item: Item) -> Decimal:
    return _ONE if item.quantity is None else item.quantity


def _price(item: Item) -> Decimal:
    if item.price is not None:
        return item.price
    return (item.product and item.product.price) or ZERO


def _line_total(item: Item) -> Decimal:
    return item.total_price if item.total_price is not None else multiply(_price(item), _quantity(item))


def _item(item: Item, number: int, *, service: str, currency: str, vendor_id: str) -> dict[str, Any]:
    item_id, product = item.id or str(number), item.product or Product()
    return {
        "id": item_id,
        "price": json_number(_price(item)),
        "quantity": whole_pieces(_quantity(item)),
        "product": {
            "id": product.id or item_id,
            "vendor_id": product.vendor_id or vendor_id,
            "vendor_reference_id": product.vendor_reference_id,
            "service": product.service or service,
            "name": product.name or "",
            "featured_image": product.featured_image or "",
            "images": list(product.images or ()),
            "barcode": product.barcode,
            "price": json_number(product.price if product.price is not None else _price(item)),
            "original_price": None if product.original_price is None else json_number(product.original_price),
            "currency": product.currency or currency,
            "is_available": product.is_available is not False,
        },
        "customizations": item.customizations,
    }


def _payment_method(method: PaymentMethod) -> dict[str, Any]:
    key = method.key or "unknown"
    return {
        "id": method.id,
        "key": key,
        "title": method.title or (method.key or "Unknown"),
        "sub_title": method.sub_title,
        "payment_type": method.payment_type,
        "featured_image": method.featured_image,
        "form": method.form,
    }


def _delivery_method(method: NamedPart, fulfilment: Fulfilment) -> dict[str, Any]:
    return {
        "id": method.id or fulfilment.value,
        "name": method.name or method.id or DELIVERY_NAMES[fulfilment],
        "featured_image": method.featured_image,
    }


def _vendor(vendor: NamedPart | None, restaurant: str | None) -> dict[str, Any]:
    vendor_id = (vendor and vendor.id) or restaurant or ""
    return {
        "id": vendor_id,
        "name": (vendor and vendor.name) or vendor_id,
        "featured_image": (vendor and vendor.featured_image) or "",
    }
