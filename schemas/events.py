"""The canonical events: what a webhook says, whatever dialect it came in.

An event holds only what its sender said. Who sent it, under which policy and when it was logged stand on the record
around it (`schemas.records`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from schemas.identifiers import normalise_id
from schemas.statuses import Fulfilment, OrderStatus
from schemas.times import TimeMark

Identifier = Annotated[str, BeforeValidator(normalise_id)]
PartySlot = Literal["restaurant", "courier", "marketplace"]
PARTY_SLOTS: tuple[PartySlot, ...] = ("restaurant", "courier", "marketplace")


class Event(BaseModel):
    """What every event has: the moment its sender claims, and what is wrong with that claim."""

    model_config = ConfigDict(frozen=True)

    occurred_us: int | None = None
    """Microseconds since the epoch; None when the sender gave no time. A naive time is read as UTC and marked."""
    occurred_mark: TimeMark | None = None
    """MISSING or NAIVE; whether a time is implausible depends on the log's time and is found when applying."""
    comment: Annotated[str, Field(max_length=500)] | None = None
    """Free words of the sender: personal data, kept apart from the trail."""


class StatusEvent(Event):
    """An order reached a status. NEW from a marketplace or platform announces the order."""

    type: Literal["status"] = "status"
    status: OrderStatus
    reason: Annotated[str, Field(max_length=500)] | None = None
    attributes: tuple[Annotated[str, Field(max_length=200)], ...] = ()


class FactEvent(Event):
    """Something happened that has no place in the lifecycle: a courier assigned, an ETA, an unknown code."""

    type: Literal["fact"] = "fact"
    code: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\x20-\x7e]+$")]


class OrderPlaced(Event):
    """An order is announced, with its parties and details. For a known order it fills in what is missing."""

    type: Literal["announcement"] = "announcement"
    parties: dict[PartySlot, Identifier] = Field(default_factory=dict)
    fulfilment: Fulfilment | None = None
    external_ids: tuple[Identifier, ...] = ()
    details: dict[str, Any] = Field(default_factory=dict)


class OrderAmended(Event):
    """A known order's details, fulfilment or parties change. A party of None is taken off the order."""

    type: Literal["amendment"] = "amendment"
    parties: dict[PartySlot, Identifier | None] = Field(default_factory=dict)
    fulfilment: Fulfilment | None = None
    external_ids: tuple[Identifier, ...] = ()
    details: dict[str, Any] = Field(default_factory=dict)
    """An RFC 7396 merge patch of `schemas.details.OrderDetails`."""


AnyEvent = Annotated[StatusEvent | FactEvent | OrderPlaced | OrderAmended, Field(discriminator="type")]
EventType = Literal["status", "fact", "announcement", "amendment"]
EVENT_TYPES: tuple[EventType, ...] = ("status", "fact", "announcement", "amendment")
