"""Wolt Drive (couriers): a JSON Web Token in JSON, one event of one delivery a request, in no order to rely on.

{"token":"<HS256 JWT>"}; the claims are {"type":"order.picked_up","dispatched_at","details":{…}}, one shape for all
types. The key is the client secret's own text. `details.id` is no event id (integrators find the delivery's id there),
so the event id is derived: from the delivery, the type and `dispatched_at`, and for what comes again with other content
(ETAs) from the details too, however they are spaced and ordered; the token's own claims (`iat`, `exp`) do not count.
Whether a message that is sent again keeps its `dispatched_at` is written nowhere. Where it does, it is a duplicate;
where it is stamped anew, the trail says the same a second time (repeated, or noted), and nothing moves.

Our order is `merchant_order_reference_id`. A delivery that is rejected leaves the order to another courier.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from backbone.store.sources import Source
from schemas.errors import MalformedEvent, NotAuthenticated
from schemas.events import Identifier
from schemas.refusals import Why
from schemas.statuses import OrderStatus, Role
from service.bodies.documents import read_object
from service.bodies.validation import read_model
from service.dialects.days import Message, Outgoing, Signing, day_id, hs256_token
from service.dialects.event_ids import derive_body_id, derive_fact_id
from service.dialects.json_tokens import read_hs256
from service.dialects.optional_ids import OptionalId
from service.dialects.partner import PartnerDialect, report, words
from service.dialects.port import AnswerOnly, Inbound, Meaning, Parsed, ParsedEvent, Position
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.times import claimed_time

_STATUSES = MappingProxyType(
    {
        "order.picked_up": OrderStatus.TAKEN_BY_COURIER,
        "order.dropoff_started": OrderStatus.TAKEN_BY_COURIER,
        "order.dropoff_completed": OrderStatus.DELIVERED,
        "order.delivered": OrderStatus.DELIVERED,
    }
)
_LOCATION = "order.location_updated"
_ONCE = frozenset(
    f"order.{name}"
    for name in (
        "received", "rejected", "pickup_started", "pickup_arrival", "picked_up", "dropoff_started", "dropoff_arrival",
        "dropoff_completed", "delivered", "handshake_delivery", "customer_no_show",
    )
)  # fmt: skip
"""Types that happen once a delivery; others may come again and say something new."""


class _Details(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    order_id: Identifier = Field(validation_alias="merchant_order_reference_id")
    delivery_id: OptionalId = Field(default=None, validation_alias="wolt_order_reference_id")
    courier_location: Any = None
    purchase_rejected_reason: Any = None


class _Claims(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str = Field(min_length=1)
    dispatched_at: Any = None
    details: _Details


class WoltDrive(PartnerDialect):
    """The Wolt Drive webhook."""

    profile = Profile(
        name="wolt-drive",
        title="Wolt Drive",
        roles=(Role.COURIER,),
        schemes=("signature",),
        proof="`token` in the body: a JSON Web Token, HS256 alone, under the client secret's own text",
        needs=frozenset({"secret"}),
        signs_body=False,
        refusals={
            Refusal.MALFORMED: Told(None, "sent again until its attempts are used up, and refused each time"),
            Refusal.UNAUTHENTICATED: Told(None, "sent again; lost when its attempts are used up"),
            Refusal.UNSUITABLE: Told(None, "sent again until its attempts are used up, and refused each time"),
            Refusal.RATE_LIMITED: Told(None, "sent again, which uses up an attempt"),
            Refusal.OUTAGE: Told(None, "sent again, which uses up an attempt"),
        },
        within="not stated",
        resends="as registered: after base^n seconds, `max_retry_count` times (samples: 5 and 3, 2 and 10)",
        order_field="`details.merchant_order_reference_id`",
        event_id="derived: `wolt_order_reference_id`, `type` and `dispatched_at`; for ETAs and what is unknown also "
        "the details; one sent again with another `dispatched_at` would be told twice, and move nothing",
        times="`dispatched_at`, RFC 3339 with 3 digits",
        facts=(
            "[O] developer.wolt.com, wolt-drive webhooks: token, algorithm, secret as raw text, retries as registered",
            "[I] integrators' notes and enum: the claims' shape, the types, details.id matched with the delivery's id",
            "[D] the event id, since what a resend keeps of dispatched_at is not stated",
            "[D] a rejected delivery is noted, since another courier may come",
        ),
    )

    def verify_signature(self, inbound: Inbound, source: Source) -> None:
        """The token's own."""
        _claims(inbound, source)

    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """One event with perhaps a position; of a location update the position alone."""
        document = read_object(_claims(inbound, source))
        claims = read_model(_Claims, document)
        details = claims.details
        occurred = claimed_time(claims.dispatched_at, "dispatched_at", source.zone, unreadable="missing")
        place = details.courier_location if isinstance(details.courier_location, dict) else {}
        position = Position.at(details.order_id, place.get("lat"), place.get("lon"), occurred[0])
        positions = () if position is None else (position,)
        if claims.type == _LOCATION:
            return Parsed((), positions) if positions else AnswerOnly(self.success())
        why = words(details.purchase_rejected_reason)
        event = report(_STATUSES.get(claims.type), claims.type, occurred, comment=why)
        if claims.type in _ONCE and details.delivery_id is not None:
            event_id = derive_fact_id(self.name, details.delivery_id, claims.type, occurred[0])
        else:
            said = orjson.dumps([claims.dispatched_at, document["details"]], option=orjson.OPT_SORT_KEYS)
            event_id = derive_body_id(self.name, details.delivery_id, claims.type, raw=said)
        return Parsed((ParsedEvent(details.order_id, event_id, event),), positions)

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:
        """Received to delivered: messages overtake each other, a position comes now and then, one comes twice."""

        def message(minute: int, kind: str, says: str, **more: Any) -> Message:
            at = start + timedelta(minutes=minute)
            details = {
                "id": day_id(order_id, "delivery"),
                "venue_id": store,
                "wolt_order_reference_id": day_id(order_id, "wolt"),
                "merchant_order_reference_id": order_id,
                "status": kind.upper(),
                **more,
            }
            dispatched = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            return Message(says, {"type": f"order.{kind}", "dispatched_at": dispatched, "details": details})

        def moved(minute: int, lat: float, lon: float) -> Message:
            return message(minute, "location_updated", "a position", courier_location={"lat": lat, "lon": lon})

        eta = {"eta": (start + timedelta(minutes=21)).isoformat()}
        completed = message(40, "dropoff_completed", "at the customer's: delivered")
        return (
            message(4, "pickup_started", "a courier took the task: noted"),
            message(0, "received", "received, overtaken: noted"),
            message(5, "pickup_eta_updated", "an ETA: noted", pickup=eta),
            moved(10, 32.07, 34.78),
            message(22, "picked_up", "picked up"),
            message(20, "pickup_arrival", "the courier was 150 m away, overtaken: noted"),
            message(23, "dropoff_started", "on the way: the same status again"),
            moved(30, 32.08, 34.79),
            completed,
            completed,
            message(41, "delivered", "delivered: the same status again"),
        )

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """The claims, in a token, in JSON."""
        return Outgoing(orjson.dumps({"token": hs256_token(signing.secret, body)}), {})


def _claims(inbound: Inbound, source: Source) -> bytes:
    try:
        token = read_object(inbound.raw).get("token")
    except MalformedEvent as error:
        raise NotAuthenticated(Why.MALFORMED_SIGNATURE) from error
    return read_hs256(token, source.secrets)


DIALECT = WoltDrive()
