"""What an order consists of: customer, items, totals, payment. Personal data, stored apart and erasable.

Everything is optional, since it arrives in parts. The fields are those from which the documented vendor API and
tracking API answer; each of them renders its own types. Money and quantities are decimals, kept as text in JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema

from schemas.identifiers import normalise_id

_PLAIN_DECIMAL = r"-?[0-9]{1,15}(\.[0-9]{1,6})?"
MAX_FREE_FORM_BYTES = 16 * 1024
"""What one member of free form may come to as JSON, as it is sent; amendments may merge several into more."""
STORED: Mapping[str, bool] = MappingProxyType({"stored": True})
"""The validation context for details out of the store, which are not measured again."""


def _plain_decimal(value: object) -> object:
    """The text of an amount, without exponent: an exponent is a few bytes on the way in and a billion digits later.

    Of a float it is the shortest text (12.1 as a binary float is 12.0999…), which is what the sender wrote.
    """
    if isinstance(value, float) and math.isfinite(value):
        text = format(Decimal(repr(value)), "f")
    elif isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        text = str(value)
    else:
        text = ""
    if not re.fullmatch(_PLAIN_DECIMAL, text):
        raise ValueError("must be a plain decimal number below 10^15 with at most 6 decimal places")
    return text


def _not_too_large(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    if info.context is STORED:
        return value
    try:
        size = len(orjson.dumps(value))
    except orjson.JSONEncodeError as error:
        raise ValueError("must be JSON") from error
    if size > MAX_FREE_FORM_BYTES:
        raise ValueError(f"must not be over {MAX_FREE_FORM_BYTES} bytes as JSON")
    return value


Amount = Annotated[
    Decimal,
    BeforeValidator(_plain_decimal),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{_PLAIN_DECIMAL}$"}]}),
]
FreeForm = Annotated[dict[str, Any], AfterValidator(_not_too_large)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Text = Annotated[str, Field(max_length=2000)]
Identifier = Annotated[str, BeforeValidator(normalise_id)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Customer(_Part):
    """Who ordered."""

    id: Identifier | None = None
    name: Text | None = None
    phone: Text | None = None
    address: Text | None = None


class Product(_Part):
    """What an item is, as the catalogue has it."""

    id: Identifier | None = None
    vendor_id: Identifier | None = None
    vendor_reference_id: Identifier | None = None
    service: Text | None = None
    name: Text | None = None
    description: Text | None = None
    featured_image: Text | None = None
    images: list[Text] | None = Field(default=None, max_length=50)
    barcode: Text | None = None
    price: Amount | None = None
    original_price: Amount | None = None
    currency: Currency | None = None
    is_available: bool | None = None


class Item(_Part):
    """One line of the order. `price` is for one piece, `total_price` for the line."""

    id: Identifier | None = None
    price: Amount | None = None
    quantity: Amount | None = None
    total_price: Amount | None = None
    options: list[Text] | None = Field(default=None, max_length=100)
    customizations: FreeForm | None = None
    product: Product | None = None


class PaymentMethod(_Part):
    """How the customer pays."""

    id: Identifier | None = None
    key: Text | None = None
    title: Text | None = None
    sub_title: Text | None = None
    payment_type: Text | None = None
    featured_image: Text | None = None
    form: FreeForm | None = None


class NamedPart(_Part):
    """A vendor or a delivery method as shown to people."""

    id: Identifier | None = None
    name: Text | None = None
    featured_image: Text | None = None


class OrderDetails(_Part):
    """The whole of an order's details; a part that is not given stays as it is."""

    service: Text | None = None
    receipt_number: Text | None = None
    print_order_number: Text | None = None
    currency: Currency | None = None
    subtotal: Amount | None = None
    total: Amount | None = None
    cash_amount: Amount | None = None
    delivery_charge: Amount | None = None
    service_charge: Amount | None = None
    customer: Customer | None = None
    items: list[Item] | None = Field(default=None, max_length=500)
    payment_method: PaymentMethod | None = None
    delivery_method: NamedPart | None = None
    vendor: NamedPart | None = None
    pickup_otp: Text | None = None
    return_otp: Text | None = None
    table_title: Text | None = None
    serving_waiter: Text | None = None
    remarks: Text | None = None
    process_time_minutes: Annotated[int, Field(ge=0, le=100_000)] | None = None


MAX_DETAILS_BYTES = 256 * 1024
"""What one order's details may come to as JSON, all amendments merged."""
MAX_EXTERNAL_IDS = 100
"""External ids that one order may have."""


def merge_patch(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7396: a new mapping in which the patch's members replace the target's; null takes a member out."""
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            below = merged.get(name)
            merged[name] = merge_patch(below if isinstance(below, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def fill_missing(target: dict[str, Any], offered: dict[str, Any]) -> dict[str, Any]:
    """A new mapping with the offered members that the target lacks; what the target has stays."""
    filled = dict(target)
    for name, value in offered.items():
        present = filled.get(name)
        if present is None:
            filled[name] = value
        elif isinstance(present, dict) and isinstance(value, dict):
            filled[name] = fill_missing(present, value)
    return {name: value for name, value in filled.items() if value is not None}
