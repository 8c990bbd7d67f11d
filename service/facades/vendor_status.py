"""What an order's status is called in the vendor API, and what follows from it. Derived at each answer, never stored.

The document shows `pending` whole and names `cancelled` with the colour role `error`; the five others are ours, in
the same manner. docs/vendor-api.md has this table, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from schemas.statuses import OrderStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorStatus:
    """One status as vendors know it."""

    key: str
    title: str
    role: str
    """The semantic role of its colour: neutral, info, warning, success, error."""
    aliases: tuple[str, ...]
    is_active: bool = True
    can_mark_as_ready: bool = False
    is_dated: bool = True
    """Whether the status has a `created_at` of its own; `pending` has not, it is as old as the order."""

    def decoration(self) -> dict[str, Any]:
        """Colours and icon; of these we know the role alone."""
        return {
            "background_color": None,
            "foreground_color": {"light_hex": None, "dark_hex": None, "role": self.role},
            "border_color": None,
            "border_radius": None,
            "featured_icon": None,
        }


VENDOR_STATUSES: Mapping[OrderStatus, VendorStatus] = MappingProxyType(
    {
        OrderStatus.NEW: VendorStatus(key="pending", title="Pending", role="neutral", aliases=(), is_dated=False),
        OrderStatus.ACCEPTED_BY_RESTAURANT: VendorStatus(
            key="accepted",
            title="Accepted",
            role="info",
            aliases=("accepted_by_restaurant",),
            can_mark_as_ready=True,
        ),
        OrderStatus.COOKING: VendorStatus(
            key="preparing", title="Preparing", role="info", aliases=("cooking",), can_mark_as_ready=True
        ),
        OrderStatus.READY: VendorStatus(key="ready", title="Ready", role="success", aliases=()),
        OrderStatus.TAKEN_BY_COURIER: VendorStatus(
            key="picked_up", title="Picked up", role="info", aliases=("taken_by_courier",)
        ),
        OrderStatus.DELIVERED: VendorStatus(
            key="delivered", title="Delivered", role="success", aliases=(), is_active=False
        ),
        OrderStatus.CANCELLED: VendorStatus(
            key="cancelled", title="Cancelled", role="error", aliases=(), is_active=False
        ),
    }
)
