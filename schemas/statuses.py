"""Order statuses, who may report them, and how an order reaches its customer.

Source of the statuses and their order: the order-status API's documentation ("Status transition is only
possible in the specified direction: from NEW to DELIVERED; from any status to CANCELLED").
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal


class OrderStatus(StrEnum):
    """What an order's life is made of. CANCELLED stands beside the chain."""

    NEW = "NEW"
    ACCEPTED_BY_RESTAURANT = "ACCEPTED_BY_RESTAURANT"
    COOKING = "COOKING"
    READY = "READY"
    TAKEN_BY_COURIER = "TAKEN_BY_COURIER"
    DELIVERED = "DELIVERED"
    CANCELLED = "CANCELLED"


FULL_CHAIN: tuple[OrderStatus, ...] = tuple(s for s in OrderStatus if s is not OrderStatus.CANCELLED)
"""Ahead and behind always go by this chain, whatever the fulfilment leaves out."""
_COLLECTED_CHAIN: tuple[OrderStatus, ...] = tuple(s for s in FULL_CHAIN if s is not OrderStatus.TAKEN_BY_COURIER)


class Fulfilment(StrEnum):
    """How the order reaches the customer. Unset counts as DELIVERY."""

    DELIVERY = "delivery"
    OWN_DELIVERY = "own_delivery"
    PICKUP = "pickup"
    DINE_IN = "dine_in"


class Role(StrEnum):
    """What a source is to an order; the table of who may do what is in `consumers.lifecycle`."""

    RESTAURANT = "restaurant"
    COURIER = "courier"
    MARKETPLACE = "marketplace"
    PLATFORM = "platform"
    OPERATOR = "operator"


PartySlot = Literal["restaurant", "courier", "marketplace"]
"""The places in which an order names its parties."""
PARTY_SLOTS: tuple[PartySlot, ...] = ("restaurant", "courier", "marketplace")
SLOT_OF: dict[Role, PartySlot] = {
    Role.RESTAURANT: "restaurant",
    Role.COURIER: "courier",
    Role.MARKETPLACE: "marketplace",
}
"""The slot of an order in which a role's party is named; platform and operator have none and are never foreign."""


class Policy(StrEnum):
    """What a source's event that skips steps means: move on at once, or wait for the steps."""

    FORWARD = "forward"
    STRICT = "strict"


def chain_of(fulfilment: Fulfilment | None) -> tuple[OrderStatus, ...]:
    """The statuses an order of this fulfilment goes through, in order; collected orders have no courier."""
    return _COLLECTED_CHAIN if fulfilment in (Fulfilment.PICKUP, Fulfilment.DINE_IN) else FULL_CHAIN
