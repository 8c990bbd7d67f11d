"""Deliverect (the middleman between ordering channels, tills and couriers): a number for one order a request.

Three forms, told apart by their shape:

    {"orderId","channelOrderId","status","timeStamp","reason","location",…}                  what a till (POS) says
    {"orderId","channelOrderId","status","courierName","coordinates":{"coordinates":[lon,lat]},…}  what a courier does
    {"received","orderId","rawDriverUpdate","updatedOrigin","courier":{"status",…},…}        the same, as a report

The shape matters because 90 is two things: a till's FINALIZED ends the till's part and "doesn't necessarily mean an
order was delivered", a courier's is the delivery. What has a `timeStamp`, or nothing of a courier's (times of pick-up
and delivery are no sign of one), is a till's; and a source of role restaurant is one: its 90 delivers nothing in any
form. 100 is a request to cancel; 115 a delivery that was cancelled while the order lives on.

Everything is sent once, whatever the answer. So what can be understood is not refused: a time that cannot be read
counts as missing (Deliverect's own examples are masked).

The order is `channelOrderId`, under which a channel has announced it; where that is missing (reports about couriers),
it is Deliverect's `orderId`. An order that Deliverect announces to us has its `orderId` among the external ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backbone.store.sources import Source
from schemas.errors import MalformedEvent
from schemas.events import FactEvent, OrderPlaced, StatusEvent
from schemas.statuses import OrderStatus, Role
from service.bodies.documents import read_object
from service.bodies.validation import read_model
from service.dialects.days import Message, Outgoing, Signing, day_id, hmac_text
from service.dialects.event_ids import derive_body_id, derive_fact_id
from service.dialects.hmac_signatures import verify_hmac_header
from service.dialects.optional_ids import FilledId, OptionalId, read_optional_id
from service.dialects.partner import PartnerDialect, fact, report, words
from service.dialects.port import Inbound, Meaning, Parsed, ParsedEvent, Position
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.times import NO_TIME, Claim, claimed_time

SIGNATURE_HEADER = "x-server-authorization-hmac-sha256"
_TILL = MappingProxyType(
    {
        10: OrderStatus.NEW,
        20: OrderStatus.ACCEPTED_BY_RESTAURANT,
        40: OrderStatus.ACCEPTED_BY_RESTAURANT,
        50: OrderStatus.COOKING,
        60: OrderStatus.READY,
        70: OrderStatus.READY,
        87: OrderStatus.TAKEN_BY_COURIER,
        35: OrderStatus.CANCELLED,
        110: OrderStatus.CANCELLED,
        120: OrderStatus.CANCELLED,
    }
)
_COURIER = MappingProxyType({87: OrderStatus.TAKEN_BY_COURIER, 90: OrderStatus.DELIVERED})
_NAMES = MappingProxyType(
    {
        1: "PARSED", 2: "RECEIVED_BY_POS", 3: "SENT_TO_DMA", 4: "BEFORE_PARSED", 5: "RECEIPT_NOT_FOUND",
        6: "RECEIVED_BY_DMA", 7: "PRINTED_BY_DMA", 10: "NEW", 20: "ACCEPTED", 25: "SCHEDULED", 30: "DUPLICATE",
        35: "DENIED", 40: "PRINTED", 50: "PREPARING", 60: "PREPARED", 70: "PICKUP_READY", 80: "IN_DELIVERY",
        81: "DELIVERY_CREATED", 83: "EN_ROUTE_TO_PICKUP", 84: "ALMOST_AT_PICKUP", 85: "ARRIVED_AT_PICKUP",
        87: "EN_ROUTE_TO_DROPOFF", 88: "ALMOST_AT_DROPOFF", 89: "ARRIVED_AT_DROPOFF", 90: "FINALIZED",
        95: "AUTO_FINALIZED", 100: "CANCEL", 110: "CANCELED", 115: "DELIVERY_CANCELED", 120: "FAILED",
        121: "POS_RECEIVED_FAILED", 124: "PARSE_FAILED",
    }
)  # fmt: skip
"""For the trail: a number alone tells a reader nothing."""
_OF_COURIERS = frozenset({"courierName", "courierId", "coordinates", "dispatchPartner", "multipleDrivers"})
"""What tills do not say; a `pickupTime` or `deliveryTime` they may."""
_ANNOUNCERS = frozenset({Role.MARKETPLACE, Role.PLATFORM})


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    deliverect_id: OptionalId = Field(default=None, validation_alias="orderId")
    channel_id: FilledId = Field(default=None, validation_alias="channelOrderId")
    location: OptionalId = None
    status: Any = None
    time_stamp: Any = Field(default=None, validation_alias="timeStamp")
    reason: Any = None
    ignored: Any = Field(default=None, validation_alias="isIgnoredPOSStatus")
    received: Any = None
    courier: Any = None
    coordinates: Any = None


class Deliverect(PartnerDialect):
    """Order and courier status webhooks, and their reporting forms."""

    profile = Profile(
        name="deliverect",
        title="Deliverect",
        roles=(Role.MARKETPLACE, Role.PLATFORM, Role.RESTAURANT, Role.COURIER),
        schemes=("signature",),
        proof=f"`{SIGNATURE_HEADER}`: hex HMAC-SHA256 of the raw body under the secret that Deliverect issues for "
        "production; before that (staging) under the channelLinkId",
        needs=frozenset({"secret"}),
        refusals={
            Refusal.MALFORMED: Told(None, "the event is lost: nothing is sent again"),
            Refusal.UNAUTHENTICATED: Told(None, "the event is lost"),
            Refusal.UNSUITABLE: Told(None, "the event is lost"),
            Refusal.RATE_LIMITED: Told(None, "the event is lost: keep `--rate` far above what it sends"),
            Refusal.OUTAGE: Told(None, "the event is lost: reconcile with Deliverect after an outage"),
        },
        within="20 s",
        resends="never: one attempt, whatever the answer",
        order_field="`channelOrderId`, else `orderId`",
        event_id="derived: order, form, status and time; of a courier without a time, who the courier is instead; of a "
        "till's message without a readable time, the whole body",
        times="`timeStamp`, of reports about couriers `received`, RFC 3339 with 6 digits; couriers otherwise none",
        facts=(
            "[O] developers.deliverect.com, channel_order_status, store-api_order_status_event: body, one attempt",
            "[O] the same, courier-update-webhook, store-api_courier_update_event: couriers; again with each move",
            "[O] the same, page/order-status, post-order-status-update: the codes; FINALIZED is no delivery",
            "[O] the same, webhooks, how-do-i-validate-requests: HMAC; in staging the key is the channelLinkId",
            "[D] which form is whose; a restaurant's source delivers nothing; the event id",
            "[D] 121 and 124 are noted: a till that got no order may get it yet",
        ),
    )

    def verify_signature(self, inbound: Inbound, source: Source) -> None:
        """Hex, over the raw body."""
        verify_hmac_header(inbound.headers, SIGNATURE_HEADER, (inbound.raw,), source.secrets)

    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """One event, of a courier perhaps with a position."""
        document = read_object(inbound.raw)
        body = read_model(_Body, document)
        order_id = body.channel_id or body.deliverect_id
        if order_id is None:
            raise MalformedEvent("The body names no order.", errors=(("channelOrderId", "or orderId must be there"),))
        if "timeStamp" not in document and isinstance(body.courier, dict) and "status" in body.courier:
            return Parsed((self._reported(order_id, body, inbound, source),))
        if "timeStamp" not in document and not _OF_COURIERS.isdisjoint(document):
            return self._carried(order_id, body, document, source)
        return Parsed((self._rung_up(order_id, body, inbound, source),))

    def _rung_up(self, order_id: str, body: _Body, inbound: Inbound, source: Source) -> ParsedEvent:
        """What a till says. What Deliverect itself did not apply (`isIgnoredPOSStatus`) moves nothing here either."""
        code, reason = _read_code(body.status), words(body.reason)
        occurred = claimed_time(body.time_stamp, "timeStamp", source.zone, unreadable="missing")
        status = None if body.ignored is True else _TILL.get(code)
        event: Any
        if status is OrderStatus.NEW and source.role in _ANNOUNCERS:
            known_as = (body.deliverect_id,) if body.deliverect_id not in {None, order_id} else ()
            event = OrderPlaced.model_validate(
                {"external_ids": known_as, "occurred_us": occurred[0], "occurred_mark": occurred[1]}
            )
        elif status is None or status is OrderStatus.NEW:
            event = fact(_name(code) + (" (ignored)" if body.ignored is True else ""), occurred, reason)
        else:
            event = StatusEvent(status=status, occurred_us=occurred[0], occurred_mark=occurred[1], reason=reason)
        if occurred[0] is None:
            event_id = derive_body_id(self.name, order_id, raw=inbound.raw)
        else:
            event_id = derive_fact_id(
                self.name, order_id, "till", code, occurred[0], reason, str(body.ignored is True), body.deliverect_id
            )
        return ParsedEvent(order_id, event_id, event, store=body.location)

    def _carried(self, order_id: str, body: _Body, document: dict[str, Any], source: Source) -> Parsed:
        """What a courier does: sent again whenever the courier moves, so that the place is new and the fact is not."""
        code = _read_code(body.status)
        who = [read_optional_id(document.get(name)) for name in ("courierId", "courierName", "dispatchPartner")]
        event_id = derive_fact_id(self.name, order_id, "courier", code, *who)
        place = body.coordinates.get("coordinates") if isinstance(body.coordinates, dict) else None
        position = Position.at(order_id, place[1], place[0]) if isinstance(place, list) and len(place) == 2 else None
        event = ParsedEvent(order_id, event_id, _courier_event(code, NO_TIME, source))
        return Parsed((event,), () if position is None else (position,))

    def _reported(self, order_id: str, body: _Body, inbound: Inbound, source: Source) -> ParsedEvent:
        """The same as a report, with a time of its own and no place."""
        code = _read_code(body.courier["status"])
        occurred = claimed_time(body.received, "received", source.zone, unreadable="missing")
        if occurred[0] is None:
            event_id = derive_body_id(self.name, order_id, raw=inbound.raw)
        else:
            event_id = derive_fact_id(self.name, order_id, "report", code, occurred[0])
        return ParsedEvent(order_id, event_id, _courier_event(code, occurred, source), store=body.location)

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:
        """New to delivered: the till repeats and finalizes early, one courier gives up, the next one is seen moving."""

        def till(minute: int, status: int | str, says: str, reason: str = "") -> Message:
            at = start + timedelta(minutes=minute)
            body = {
                "orderId": day_id(order_id, "deliverect"),
                "status": status,
                "timeStamp": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "receiptId": "",
                "reason": reason,
                "channelOrderId": order_id,
                "location": store,
                "channelLink": "link",
            }
            return Message(says, body)

        def courier(status: int, name: str, says: str, *place: float) -> Message:
            body: dict[str, Any] = {
                "orderId": day_id(order_id, "deliverect"),
                "channelOrderId": order_id,
                "status": status,
                "courierName": name,
                "dispatchPartner": "COURIERAPP",
            }
            return Message(says, {**body, "coordinates": {"coordinates": place}} if place else body)

        accepted = till(1, 20, "accepted")
        return (
            till(0, 10, "in the till: announces the order"),
            accepted,
            accepted,
            till(1, 40, "the ticket is printed: the same status again"),
            courier(81, "First", "a delivery is created: noted"),
            till(4, "50", "in preparation; the status as text"),
            courier(83, "First", "a courier is on the way", -4.2942, 55.7887),
            courier(83, "First", "and moves: the same fact, a new place", -4.2901, 55.7899),
            courier(115, "First", "who gives up: noted, the order lives on"),
            till(8, 100, "the channel asks to cancel: noted, no cancellation", "customer asks"),
            courier(83, "Second", "another courier is on the way: noted, a new fact", -4.2800, 55.7801),
            till(15, 70, "ready for pick-up"),
            till(16, 90, "the till is done: noted, nothing was delivered yet"),
            courier(87, "Second", "on the way to the customer", -4.2850, 55.7850),
            courier(87, "Second", "and moves: the same fact, a new place", -4.2860, 55.7860),
            courier(89, "Second", "at the door: noted"),
            courier(90, "Second", "delivered, says the courier"),
        )

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """x-server-authorization-hmac-sha256."""
        return Outgoing(body, {SIGNATURE_HEADER: hmac_text(signing.secret, body)})


def _read_code(value: Any) -> Any:
    """The number, written as one or as text; other text is taken as a word. Raises MalformedEvent."""
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text
    if isinstance(value, bool) or not isinstance(value, int):
        raise MalformedEvent(
            "The body does not have the expected form: status.", errors=(("status", "must be a number"),)
        )
    return value


def _name(code: Any) -> str:
    return f"{code} {_NAMES[code]}" if code in _NAMES else str(code)


def _courier_event(code: Any, occurred: Claim, source: Source) -> StatusEvent | FactEvent:
    """What a courier did; a restaurant's source is no courier, and delivers nothing."""
    status = _COURIER.get(code)
    if status is OrderStatus.DELIVERED and source.role is Role.RESTAURANT:
        status = None
    return report(status, _name(code), occurred)


DIALECT = Deliverect()
