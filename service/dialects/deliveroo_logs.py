"""Deliveroo's bodies: orders and riders with their logs, read so that what does not matter costs nothing that does."""

from __future__ import annotations

from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from schemas.events import Identifier
from schemas.statuses import Fulfilment
from service.dialects.optional_ids import OptionalId
from service.dialects.port import MOST_EVENTS, Position
from service.dialects.times import claimed_time

LAST, _TAKEN_OFF, _SET_OUT = "rider_delivered", "rider_unassigned", "rider_in_transit"
_FULFILMENTS = MappingProxyType(
    {
        "deliveroo": Fulfilment.DELIVERY, "restaurant": Fulfilment.OWN_DELIVERY,
        "customer": Fulfilment.PICKUP, "table_service": Fulfilment.DINE_IN,
    }
)  # fmt: skip


def _read_log(value: object) -> object:
    """The latest entries that say something, with their places: one that says nothing is not to cost the others."""
    if not isinstance(value, list):
        return value
    said = [
        {"place": place, "status": one["status"], "at": one.get("at")}
        for place, one in enumerate(value)
        if isinstance(one, dict) and isinstance(one.get("status"), str) and one["status"].strip()
    ]
    return said[-MOST_EVENTS:]


class Entry(BaseModel):
    """One change in a log."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    status: str
    at: Any = None
    place: int
    """In the log, from 0; logs only grow. -1 for what must be so though the log does not say it (yet)."""

    @property
    def word(self) -> str:
        """The status, as it is looked up."""
        return self.status.strip().lower()


_Log = Annotated[tuple[Entry, ...] | None, BeforeValidator(_read_log)]


class Order(BaseModel):
    """An order as its messages describe it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Identifier
    location_id: OptionalId = None
    order_number: OptionalId = None
    fulfillment_type: Any = None
    status: Any = None
    status_log: _Log = None

    @property
    def fulfilment(self) -> Fulfilment | None:
        """How it reaches the customer, where that is known."""
        return _FULFILMENTS.get(self.fulfillment_type) if isinstance(self.fulfillment_type, str) else None

    @property
    def numbers(self) -> tuple[str, ...]:
        """Its other ids. The display id is no such: it comes back with other orders."""
        return () if self.order_number is None else (self.order_number,)


class OrderBody(BaseModel):
    """What an order's message holds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    order: Order
    location_id: OptionalId = None
    restaurant_acknowledged_at: Any = None


class Rider(BaseModel):
    """One of an order's riders."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    status_log: _Log = None
    at: Any = None
    lat: Any = None
    lon: Any = Field(default=None, validation_alias=AliasChoices("lon", "lng"))

    @property
    def words(self) -> list[str]:
        """Of its log, in its order."""
        return [entry.word for entry in self.status_log or ()]

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to come: delivered, or taken off before setting out to the customer."""
        words = self.words
        return LAST in words or (words[-1:] == [_TAKEN_OFF] and _SET_OUT not in words)

    @property
    def is_placed(self) -> bool:
        """Whether it says where the rider is, be it nowhere."""
        return not self.model_fields_set.isdisjoint({"lat", "lon"})

    def position(self, order_id: str, zone: str | None) -> Position | None:
        """Where the rider is; nowhere, once that is masked."""
        if (self.lat, self.lon) == (0, 0):
            return None
        return Position.at(order_id, self.lat, self.lon, claimed_time(self.at, "at", zone, unreadable="missing")[0])


class RiderBody(BaseModel):
    """What a message about riders holds."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    order_id: Identifier
    riders: Annotated[tuple[Rider, ...], Field(max_length=MOST_EVENTS)] | None = None
