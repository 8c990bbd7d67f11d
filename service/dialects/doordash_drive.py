"""DoorDash Drive (couriers): one event of one delivery a request, flat, with what is known of the delivery beside it.

{"event_name":"DASHER_PICKED_UP","external_delivery_id","created_at","dasher_id","dasher_location":{"lat","lng"},…};
what is empty is left out. Nothing is signed: the proof is a fixed bearer token or user and password, as set in the
portal. The dasher_enroute_* events, written small and sent only where enabled, are positions.

Our order is `external_delivery_id`, which has to be the order's id. DoorDash takes an id once: whoever dispatches an
order again, after its delivery was cancelled, needs another one. It is to be the order's id with two hyphens and a
number behind it (`A-17`, then `A-17--2`, `A-17--3`); the number is taken off here, and each dispatch keeps events of
its own. Nothing else can be told from an order's id by looking at it: an id suffixed in another way names an unknown
order, waits, and is rejected in the end. So order ids that themselves end in two hyphens and digits do not go with
this format.

A delivery that is cancelled or returned leaves the order where it is. There is no event id, and whether `created_at`
is the event's or the delivery's time the pages leave open: the derived id has the dasher in it too, so that the
second dasher who confirms is an event of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from backbone.store.sources import Source
from schemas.identifiers import normalise_id
from schemas.statuses import OrderStatus, Role
from service.bodies.documents import read_object
from service.bodies.validation import read_model
from service.dialects.days import Message, Outgoing, Signing, token_headers
from service.dialects.event_ids import derive_body_id, derive_fact_id
from service.dialects.optional_ids import OptionalId
from service.dialects.partner import PartnerDialect, report, words
from service.dialects.port import AnswerOnly, Inbound, Meaning, Parsed, ParsedEvent, Position
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.times import claimed_time

_STATUSES = MappingProxyType(
    {"DASHER_PICKED_UP": OrderStatus.TAKEN_BY_COURIER, "DASHER_DROPPED_OFF": OrderStatus.DELIVERED}
)
_POSITIONS = "DASHER_ENROUTE_"
_DISPATCH = re.compile(r"(.+)(--[0-9]{1,4})", re.DOTALL)


def _delivery_id(value: object) -> str:
    """An order's id, with a dispatch's number that does not count for its length."""
    match = _DISPATCH.fullmatch(value.strip()) if isinstance(value, str) else None
    return normalise_id(value) if match is None else normalise_id(match[1]) + match[2]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    event_name: str = Field(min_length=1)
    external_delivery_id: Annotated[str, BeforeValidator(_delivery_id)]
    created_at: Any = None
    dasher_id: OptionalId = None
    dasher_location: Any = None
    reason: Any = None
    cancellation_reason: Any = None


class DoorDashDrive(PartnerDialect):
    """The delivery webhook."""

    profile = Profile(
        name="doordash-drive",
        title="DoorDash Drive",
        roles=(Role.COURIER,),
        schemes=("bearer", "basic"),
        proof="`Authorization`: the bearer token, or the user and password, set in the developer portal",
        refusals={
            Refusal.MALFORMED: Told(None, "sent three times, and refused each time"),
            Refusal.UNAUTHENTICATED: Told(None, "sent three times, then lost"),
            Refusal.UNSUITABLE: Told(None, "sent three times, and refused each time"),
            Refusal.RATE_LIMITED: Told(None, "sent again, which uses up one of three sends"),
            Refusal.OUTAGE: Told(None, "sent again; lost after three sends"),
        },
        within="not stated",
        resends="all but exactly 200: three sends in all",
        order_field="`external_delivery_id`, without the `--2` of a second dispatch",
        event_id=(
            "derived: `external_delivery_id`, `event_name`, `created_at` and `dasher_id`; without a time, the body"
        ),
        times="`created_at`, RFC 3339 with 6 digits",
        facts=(
            "[O] developer.doordash.com, drive/reference/webhooks: events and their meaning, opt-in dasher_enroute_*",
            "[I] AsyncAPI in api-evangelist/doordash, after its page: three sends, exactly 200, DELIVERY_BATCHED",
            "[I] integrators' notes: static bearer or Basic, no signature; event_name and not delivery_status",
            "[I] a sandbox's log: DASHER_PICKED_UP 3 s after DASHER_DROPPED_OFF; ids suffixed for each dispatch",
            "[D] the event id; the two hyphens before a dispatch's number; cancelled and returned deliveries are noted",
        ),
    )

    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """One event with perhaps a position; of a dasher_enroute_* the position alone."""
        body = read_model(_Body, read_object(inbound.raw))
        order_id, code = _order_id(body.external_delivery_id), body.event_name.strip().upper()
        occurred = claimed_time(body.created_at, "created_at", source.zone, unreadable="missing")
        place = body.dasher_location
        place = place if isinstance(place, dict) else {}
        position = Position.at(order_id, place.get("lat"), place.get("lng"), occurred[0])
        positions = () if position is None else (position,)
        if code.startswith(_POSITIONS):
            return Parsed((), positions) if positions else AnswerOnly(self.success())
        why = words(body.reason) or words(body.cancellation_reason)
        event = report(_STATUSES.get(code), code, occurred, comment=why)
        if occurred[0] is None:
            event_id = derive_body_id(self.name, raw=inbound.raw)
        else:
            event_id = derive_fact_id(self.name, body.external_delivery_id, code, occurred[0], body.dasher_id)
        return Parsed((ParsedEvent(order_id, event_id, event),), positions)

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:
        """The first delivery is cancelled, a second one is dispatched under a suffixed id; its pick-up is heard of
        after its drop-off, and one message comes twice.
        """

        def message(minute: int, event: str, says: str, dispatch: str = "--2", **more: Any) -> Message:
            at = start + timedelta(minutes=minute)
            body = {
                "created_at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "event_name": event,
                "external_delivery_id": f"{order_id}{dispatch}",
                "dasher_id": 123212 + len(dispatch),
                "pickup_external_store_id": store,
                "currency": "USD",
                "fee": 975,
            }
            return Message(says, {**body, **more})

        confirmed = message(6, "DASHER_CONFIRMED", "another Dasher for the second dispatch: noted")
        here = {"lat": 43.333333333, "lng": -79.333333333}
        return (
            message(0, "DASHER_CONFIRMED", "a Dasher confirmed: noted", dispatch=""),
            message(
                4, "DELIVERY_CANCELLED", "cancelled: noted, the order lives on", dispatch="", reason="dasher_cancelled"
            ),
            confirmed,
            confirmed,
            message(12, "dasher_enroute_to_pickup", "a position", dasher_location=here),
            message(15, "DASHER_CONFIRMED_PICKUP_ARRIVAL", "at the store: noted"),
            message(25, "dasher_enroute_to_dropoff", "a position", dasher_location=here),
            message(39, "DASHER_CONFIRMED_DROPOFF_ARRIVAL", "at the customer's: noted"),
            message(40, "DASHER_DROPPED_OFF", "dropped off: delivered", dasher_location=here),
            message(20, "DASHER_PICKED_UP", "picked up, overtaken on its way"),
        )

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """The Authorization header."""
        return Outgoing(body, token_headers(signing))


def _order_id(external_delivery_id: str) -> str:
    """Without the number of a further dispatch."""
    match = _DISPATCH.fullmatch(external_delivery_id)
    return external_delivery_id if match is None else match[1]


DIALECT = DoorDashDrive()
