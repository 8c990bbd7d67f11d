"""What a new order of Rappi consists of, as our order details: items, amounts, customer, payment.

Amounts are in the store's currency, which the message does not name. What cannot be kept is left out field by field: an
odd detail is no reason to lose an order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from schemas.details import Customer, Item, NamedPart, OrderDetails, PaymentMethod, Product

_MOST_ITEMS = 500
_MOST_OPTIONS = 100


def below(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object under this name; an empty one where there is none."""
    held = holder.get(name)
    return held if isinstance(held, dict) else {}


def describe_order(detail: Mapping[str, Any], customer: Mapping[str, Any], store: Mapping[str, Any]) -> dict[str, Any]:
    """The details of an order that people need, from its parts as Rappi sends them, each of which may be anything."""
    totals, items = below(detail, "totals"), detail.get("items")
    charges = below(totals, "charges")
    names = (customer.get("first_name"), customer.get("last_name"))
    return _kept(
        OrderDetails,
        subtotal=totals.get("total_products"),
        total=totals.get("total_order"),
        cash_amount=totals.get("total_to_pay"),
        delivery_charge=charges.get("shipping"),
        service_charge=charges.get("service_fee"),
        process_time_minutes=detail.get("cooking_time"),
        payment_method=_kept(PaymentMethod, key=detail.get("payment_method")),
        delivery_method=_kept(NamedPart, name=detail.get("delivery_method")),
        vendor=_kept(NamedPart, id=store.get("external_id"), name=store.get("name")),
        customer=_kept(
            Customer,
            name=" ".join(name for name in names if isinstance(name, str)),
            phone=customer.get("phone_number"),
            address=below(detail, "delivery_information").get("complete_address"),
        ),
        items=[_item(item) for item in items[:_MOST_ITEMS] if isinstance(item, dict)]
        if isinstance(items, list)
        else None,
    )


def _item(item: Mapping[str, Any]) -> dict[str, Any]:
    subitems = item.get("subitems")
    extras = [one.get("name") for one in subitems if isinstance(one, dict)] if isinstance(subitems, list) else []
    return _kept(
        Item,
        id=item.get("id"),
        price=item.get("price"),
        quantity=item.get("quantity"),
        options=[name for name in extras if isinstance(name, str)][:_MOST_OPTIONS],
        product=_kept(Product, vendor_reference_id=item.get("sku"), name=item.get("name")),
    )


def _kept(model: type[BaseModel], **offered: Any) -> dict[str, Any]:
    """The fields that can be kept. One that cannot is left out: an odd detail is no reason to lose an order."""
    kept: dict[str, Any] = {}
    for name, value in offered.items():
        if value in (None, "", [], {}):
            continue
        try:
            kept |= model.model_validate({name: value}).model_dump(mode="json", exclude_none=True)
        except ValidationError:
            continue
    return kept
