"""Deliveroo: the whole log of an order, or of its riders, with every change of either.

    {"event":"order.status_update","body":{"order":{"id","location_id","status","status_log":[{"at","status"}],…}}}
    {"event":"rider.status_update","body":{"order_id","riders":[{"at","lat","lon","status_log":[…]},…]}}

`status_log` is the truth, says Deliveroo, since messages come late, twice and in any order. So each entry of a log is
an event, with an id made of the order, the word and its `at`: what a later message repeats of the log are duplicates,
and what a lost message said is made good by the next one. The order's own `status` counts only where its log lacks it.

The signature is hex HMAC-SHA256 over the sequence GUID, a space and the raw body; of two retired messages (new_order,
cancel_order) with a newline between two spaces. `x-deliveroo-payload-type` repeats the event's name and is not signed,
so it decides nothing.

Riders: `rider_unassigned` is noted, another one may come. A store sees its rider up to the pick-up, so most deliveries
end in silence, and with a place masked as 0, 0. An order may have several riders: it is delivered when all are done,
where one who was taken off before setting out to the customer has nothing left to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from backbone.store.sources import Source
from schemas.errors import NotAuthenticated
from schemas.events import OrderPlaced, StatusEvent
from schemas.refusals import Why
from schemas.statuses import Fulfilment, OrderStatus, Role
from service.bodies.documents import read_object
from service.bodies.validation import read_model
from service.dialects.days import Message, Outgoing, Signing, day_id, hmac_text
from service.dialects.deliveroo_logs import LAST, Entry, Order, OrderBody, RiderBody
from service.dialects.event_ids import derive_body_id, derive_fact_id
from service.dialects.header_tokens import header_bytes, single_header
from service.dialects.hmac_signatures import verify_hmac_header
from service.dialects.partner import PartnerDialect, fact
from service.dialects.port import MOST_EVENTS, AnswerOnly, Inbound, Meaning, Parsed, ParsedEvent
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.times import NO_TIME, claimed_time

GUID_HEADER = "X-Deliveroo-Sequence-Guid"
SIGNATURE_HEADER = "X-Deliveroo-Hmac-Sha256"
_STATUSES = MappingProxyType(
    {
        "placed": OrderStatus.NEW,
        "accepted": OrderStatus.ACCEPTED_BY_RESTAURANT,
        "confirmed": OrderStatus.COOKING,
        "in_kitchen": OrderStatus.COOKING,
        "ready_for_collection": OrderStatus.READY,
        "collected": OrderStatus.TAKEN_BY_COURIER,
        "rider_in_transit": OrderStatus.TAKEN_BY_COURIER,
        "rider_delivered": OrderStatus.DELIVERED,
        "delivered": OrderStatus.DELIVERED,
        **dict.fromkeys(("rejected", "canceled", "cancelled"), OrderStatus.CANCELLED),
    }
)
_NEW, _UPDATED, _RIDER = "order.new", "order.status_update", "rider.status_update"
_OLD_NEW, _OLD_CANCEL = "new_order", "cancel_order"
_KNOWN = frozenset({_NEW, _UPDATED, _OLD_NEW, _OLD_CANCEL})


class Deliveroo(PartnerDialect):
    """Order events and rider events."""

    profile = Profile(
        name="deliveroo",
        title="Deliveroo",
        roles=(Role.MARKETPLACE, Role.PLATFORM),
        schemes=("signature",),
        proof=f"`{SIGNATURE_HEADER}`: hex HMAC-SHA256 of `{GUID_HEADER}`, a space and the raw body",
        needs=frozenset({"secret"}),
        refusals={
            Refusal.MALFORMED: Told(None, "sent again and refused until given up; trips its circuit breaker"),
            Refusal.UNAUTHENTICATED: Told(None, "sent again until given up; trips its circuit breaker"),
            Refusal.UNSUITABLE: Told(None, "sent again and refused until given up"),
            Refusal.RATE_LIMITED: Told(None, "sent again, ever more slowly while its circuit breaker is open"),
            Refusal.OUTAGE: Told(None, "sent again until given up; the next message's log makes good what was lost"),
        },
        within="not stated",
        resends="all but 2xx, ever more slowly: orders for 30 minutes, riders for 10",
        order_field="`body.order.id`, of riders `body.order_id`",
        event_id="derived: order, status and `at` of the log's entry",
        times="`status_log[].at`, RFC 3339",
        facts=(
            "[O] api-docs.deliveroo.com, order-events-webhook-1, rider-events-webhook-1: statuses, log, resending",
            "[O] the same, securing-webhooks: both signatures; fulfillment-types; picking-api-webhook: circuit breaker",
            "[O] the same, signature-webhooks: delivered; developers.deliveroo.com, webhook/payloads: new_order",
            "[I] integrators' code: payloads, lon, rider_check_in, menu.upload_result; never a rider_delivered so far",
            "[D] preparation stages in a log; several riders; what is about no order is answered only",
        ),
    )

    def verify_signature(self, inbound: Inbound, source: Source) -> None:
        """Hex, over the GUID, what stands between, and the raw body."""
        guid = header_bytes(single_header(inbound.headers, GUID_HEADER))
        if b" " in guid:  # else whoever overhears a message could move the body's beginning into the GUID
            raise NotAuthenticated(Why.MALFORMED_SIGNATURE)
        messages = (guid + b" " + inbound.raw, guid + b" \n " + inbound.raw)
        verify_hmac_header(inbound.headers, SIGNATURE_HEADER, messages, source.secrets)

    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """An event an entry, the latest hundred; what is about no order (a menu, a connection test) is answered."""
        document = read_object(inbound.raw)
        named, held = document.get("event"), document.get("body")
        body = held if isinstance(held, dict) else document  # the retired messages have no envelope
        event = named.strip().lower() if isinstance(named, str) else ""
        if event == _RIDER:
            return self._rode(read_model(RiderBody, body), inbound, source)
        if "order" not in body and event not in _KNOWN and not event.startswith(("order", "rider")):
            return AnswerOnly(self.success())
        return self._ordered(event, read_model(OrderBody, body), inbound, source)

    def _ordered(self, event: str, body: OrderBody, inbound: Inbound, source: Source) -> Parsed:
        order, store = body.order, body.order.location_id or body.location_id
        logged = list(order.status_log or ())

        def add(place: int, status: str, at: Any = None) -> None:
            """What must be so though the log does not say it (yet)."""
            if all(entry.word != status.strip().lower() for entry in logged):
                logged.insert(place, Entry(status=status, at=at, place=-1))

        if event in {_NEW, _OLD_NEW}:
            add(0, "placed")
        if event == _OLD_NEW:  # sent once the store has accepted
            add(1, "accepted", body.restaurant_acknowledged_at)
        elif event == _OLD_CANCEL:
            add(len(logged), "canceled")
        if isinstance(order.status, str) and order.status.strip():
            add(len(logged), order.status)
        events = []
        for entry in logged:
            status = _STATUSES.get(entry.word)
            if entry.word == "collected" and order.fulfilment is Fulfilment.PICKUP:
                status = OrderStatus.DELIVERED  # by the customer, with whom the order ends
            events.append(self._event(order, entry, status, store, source))
        if event not in _KNOWN or not events:
            event_id = derive_body_id(self.name, order.id, event, raw=inbound.raw)
            events.append(ParsedEvent(order.id, event_id, fact(event or "order", NO_TIME), store=store))
        return Parsed(_latest(events))

    def _event(
        self, order: Order, entry: Entry, status: OrderStatus | None, store: str | None, source: Source
    ) -> ParsedEvent:
        """The place in the log stands for a time that is not there."""
        occurred_us, mark = claimed_time(entry.at, "at", source.zone, unreadable="missing")
        parts = [order.id, entry.word, occurred_us, None if occurred_us is not None else entry.place, status]
        event: Any = fact(entry.status, (occurred_us, mark))
        if status is OrderStatus.NEW:
            parts += [order.fulfilment, order.order_number, store]
            event = OrderPlaced(
                occurred_us=occurred_us, occurred_mark=mark, fulfilment=order.fulfilment, external_ids=order.numbers
            )
        elif status is not None:
            event = StatusEvent(status=status, occurred_us=occurred_us, occurred_mark=mark)
        return ParsedEvent(order.id, derive_fact_id(self.name, *parts), event, store=store)

    def _rode(self, body: RiderBody, inbound: Inbound, source: Source) -> Meaning:
        order, riders = Order(id=body.order_id), body.riders or ()
        done = all(rider.is_done for rider in riders)
        events = []
        for rider in riders:
            for entry in rider.status_log or ():
                status = _STATUSES.get(entry.word) if done or entry.word != LAST else None
                events.append(self._event(order, entry, status, None, source))
        positions = tuple(at for rider in riders if (at := rider.position(order.id, source.zone)) is not None)
        if not events and not positions:
            if any(rider.is_placed for rider in riders):
                return AnswerOnly(self.success())
            event_id = derive_body_id(self.name, order.id, _RIDER, raw=inbound.raw)
            events.append(ParsedEvent(order.id, event_id, fact(_RIDER, NO_TIME)))
        return Parsed(_latest(events), positions)

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:
        """Placed to the pick-up, then silence: logs that grow, one message twice, one overtaken, a rider taken off."""

        def at(minute: float) -> str:
            return (start + timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ")

        def order(event: str, says: str, *log: tuple[float, str]) -> Message:
            entries = [{"at": at(minute), "status": status} for minute, status in log]
            head = {"id": order_id, "order_number": day_id(order_id, "number"), "location_id": store, "asap": True}
            held = {"status": entries[-1]["status"], "status_log": entries, "fulfillment_type": "deliveroo"}
            return _message(says, event, {"order": {**head, **held}})

        def rider(says: str, minute: float, lat: float, lon: float, *log: tuple[float, str]) -> Message:
            entries = [{"at": at(when), "status": f"rider_{status}"} for when, status in log]
            riding = {"at": at(minute), "accuracy_in_meters": 50, "lat": lat, "lon": lon, "status_log": entries}
            return _message(says, _RIDER, {"order_id": order_id, "stacked_with": [], "riders": [riding]})

        placed = ((0.0, "pending"), (0.1, "placed"))
        accepted = (*placed, (1.0, "accepted"))
        confirmed = (*accepted, (2.0, "confirmed"))
        dropped = ((3.0, "assigned"), (3.1, "unassigned"))
        arrived = (*dropped, (13.0, "assigned"), (18.0, "arrived"))
        left = (*arrived, (20.0, "confirmed_at_restaurant"), (22.0, "in_transit"))
        confirmation = order(_UPDATED, "confirmed, with the whole log so far", *confirmed)
        return (
            _message("a connection test", "webhook.test", {}),
            order(_NEW, "placed: announces the order", *placed),
            confirmation,
            confirmation,
            order(_UPDATED, "accepted, overtaken: nothing that is not known", *accepted),
            rider("a rider is assigned and taken off again: noted", 4, 50.8503, 4.3517, *dropped),
            rider("another one comes: the log repeats, two entries are new", 18, 50.8466, 4.3528, *arrived),
            rider("on the way to the customer", 23, 50.8470, 4.3600, *left),
            rider("taken off our sight: noted, with a masked place", 24, 0, 0, *left, (24.0, "unassigned")),
        )

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """X-Deliveroo-Hmac-Sha256, with a sequence number as the GUID."""
        guid = str(signing.now_ms)
        signature = hmac_text(signing.secret, guid.encode(), b" ", body)
        return Outgoing(body, {GUID_HEADER: guid, SIGNATURE_HEADER: signature})


def _message(says: str, event: str, body: dict[str, Any]) -> Message:
    headers = {"x-deliveroo-payload-type": f"event/{event}", "x-deliveroo-webhook-version": "1"}
    return Message(says, {"event": event, "body": body}, headers)


def _latest(events: list[ParsedEvent]) -> tuple[ParsedEvent, ...]:
    """Each once, though two riders do the same in one second; the last ones, where too many: the rest came before."""
    return tuple({event.event_id: event for event in events}.values())[-MOST_EVENTS:]


DIALECT = Deliveroo()
