"""The vendor API's document: its example, its schema, its errors."""

from __future__ import annotations

from typing import Any

from tests.support.documented import (
    BOOLEAN,
    NUMBER,
    NUMBER_OR_NULL,
    OBJECT_OR_NULL,
    OFFSET_TIME,
    STRING,
    STRING_OR_NULL,
    array,
    closed,
)

VENDOR_EXAMPLE: dict[str, Any] = {
    "data": {
        "id": "ORDER_123",
        "service": "shop",
        "receipt_number": None,
        "cash_amount": 0,
        "subtotal": 0,
        "total": 0,
        "total_quantity": "0",
        "created_at": "2025-01-01T00:00:00+00:00",
        "currency": "LYD",
        "is_active": True,
        "delivery_charge": 0,
        "service_charge": 0,
        "status": {
            "key": "pending",
            "title": "Pending",
            "created_at": None,
            "aliases": [],
            "decoration": {
                "background_color": None,
                "foreground_color": {"light_hex": None, "dark_hex": None, "role": "neutral"},
                "border_color": None,
                "border_radius": None,
                "featured_icon": None,
            },
        },
        "customer": {"id": "CUST_1", "name": "John Doe"},
        "print_order_number": "ORDER_123",
        "items": [
            {
                "id": "ITEM_1",
                "price": 0,
                "quantity": 0,
                "product": {
                    "id": "PROD_1",
                    "vendor_id": "VENDOR_1",
                    "vendor_reference_id": None,
                    "service": "shop",
                    "name": "Sample Product",
                    "featured_image": "",
                    "images": [],
                    "barcode": None,
                    "price": 0,
                    "original_price": None,
                    "currency": "USD",
                    "is_available": True,
                },
                "customizations": None,
            }
        ],
        "payment_method": {
            "id": None,
            "key": "Cash",
            "title": "Cash",
            "sub_title": None,
            "payment_type": None,
            "featured_image": None,
            "form": None,
        },
        "delivery_method": {"id": "delivery", "name": "Delivery", "featured_image": None},
        "is_pickup": False,
        "can_mark_as_ready": False,
        "pickup_otp": "123456",
        "return_otp": "123456",
        "vendor": {"id": "VENDOR_1", "name": "Sample Vendor", "featured_image": ""},
    }
}

_DECORATION = closed(
    {
        "background_color": STRING_OR_NULL,
        "foreground_color": closed({"light_hex": STRING_OR_NULL, "dark_hex": STRING_OR_NULL, "role": STRING_OR_NULL}),
        "border_color": STRING_OR_NULL,
        "border_radius": NUMBER_OR_NULL,
        "featured_icon": STRING_OR_NULL,
    }
)
_PRODUCT = closed(
    {
        "id": STRING,
        "vendor_id": STRING,
        "vendor_reference_id": STRING_OR_NULL,
        "service": STRING,
        "name": STRING,
        "featured_image": STRING,
        "images": array(STRING),
        "barcode": STRING_OR_NULL,
        "price": NUMBER,
        "original_price": NUMBER_OR_NULL,
        "currency": STRING,
        "is_available": BOOLEAN,
    }
)
VENDOR_SCHEMA = closed(
    {
        "data": closed(
            {
                "id": STRING,
                "service": STRING,
                "receipt_number": STRING_OR_NULL,
                "cash_amount": NUMBER,
                "subtotal": NUMBER,
                "total": NUMBER,
                "total_quantity": STRING,
                "created_at": OFFSET_TIME,
                "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                "is_active": BOOLEAN,
                "delivery_charge": NUMBER,
                "service_charge": NUMBER,
                "status": closed(
                    {
                        "key": STRING,
                        "title": STRING,
                        "created_at": {"anyOf": [OFFSET_TIME, {"type": "null"}]},
                        "aliases": array(STRING),
                        "decoration": _DECORATION,
                    }
                ),
                "customer": closed({"id": STRING, "name": STRING}),
                "print_order_number": STRING,
                "items": array(
                    closed(
                        {
                            "id": STRING,
                            "price": NUMBER,
                            "quantity": {"type": "integer"},
                            "product": _PRODUCT,
                            "customizations": OBJECT_OR_NULL,
                        }
                    )
                ),
                "payment_method": closed(
                    {
                        "id": STRING_OR_NULL,
                        "key": STRING,
                        "title": STRING,
                        "sub_title": STRING_OR_NULL,
                        "payment_type": STRING_OR_NULL,
                        "featured_image": STRING_OR_NULL,
                        "form": OBJECT_OR_NULL,
                    }
                ),
                "delivery_method": closed({"id": STRING, "name": STRING, "featured_image": STRING_OR_NULL}),
                "is_pickup": BOOLEAN,
                "can_mark_as_ready": BOOLEAN,
                "pickup_otp": STRING,
                "return_otp": STRING,
                "vendor": closed({"id": STRING, "name": STRING, "featured_image": STRING}),
            },
            optional=("pickup_otp", "return_otp"),
        )
    }
)
VENDOR_ERROR_SCHEMA = closed({"status": {"const": "error"}, "message": {"type": "string", "minLength": 1}})
VENDOR_401: dict[str, Any] = {"status": "error", "message": "Unauthenticated."}
VENDOR_404: dict[str, Any] = {"status": "error", "message": "Order not found"}
