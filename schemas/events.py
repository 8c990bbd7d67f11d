"""The canonical events: what a webhook says, whatever dialect it came in.

An event holds only what its sender said. Who sent it, under which policy and when it was logged stand on the record
around it (`schemas.records`). What cannot be kept is refused here, for every dialect and reader: an event that was made
may be logged.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from schemas.identifiers import normalise_id
from schemas.statuses import PARTY_SLOTS as PARTY_SLOTS  # noqa: PLC0414 - callers have it from here
from schemas.statuses import Fulfilment, OrderStatus
from schemas.statuses import PartySlot as PartySlot  # noqa: PLC0414
from schemas.storable import StorableObject, StorableText
from schemas.times import EARLIEST_US, LATEST_US, TimeMark

Identifier = Annotated[str, BeforeValidator(normalise_id)]
Comment = Annotated[StorableText, Field(max_length=500)]
Attribute = Annotated[StorableText, Field(max_length=200)]


class Event(BaseModel):
    """What every event has: the moment its sender claims, and what is wrong with that claim."""

    model_config = ConfigDict(frozen=True)

    occurred_us: Annotated[int, Field(ge=EARLIEST_US, le=LATEST_US)] | None = None
    """Microseconds since the epoch, in the years 1 to 9999; None when the sender gave no time. A naive time is read as
    UTC and marked.
    """
    occurred_mark: TimeMark | None = None
    """MISSING or NAIVE; whether a time is implausible depends on the log's time and is found when applying."""
    comment: Comment | None = None
    """Free words of the sender: personal data, kept apart from the trail."""


class StatusEvent(Event):
    """An order reached a status. NEW from a marketplace or platform announces the order."""

    type: Literal["status"] = "status"
    status: OrderStatus
    reason: Comment | None = None
    attributes: tuple[Attribute, ...] = ()


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
    details: StorableObject = Field(default_factory=dict)


class OrderAmended(Event):
    """A known order's details, fulfilment or parties change. A party of None is taken off the order."""

    type: Literal["amendment"] = "amendment"
    parties: dict[PartySlot, Identifier | None] = Field(default_factory=dict)
    fulfilment: Fulfilment | None = None
    external_ids: tuple[Identifier, ...] = ()
    details: StorableObject = Field(default_factory=dict)
    """An RFC 7396 merge patch of `schemas.details.OrderDetails`."""


AnyEvent = Annotated[StatusEvent | FactEvent | OrderPlaced | OrderAmended, Field(discriminator="type")]
EventType = Literal["status", "fact", "announcement", "amendment"]
EVENT_TYPES: tuple[EventType, ...] = ("status", "fact", "announcement", "amendment")
