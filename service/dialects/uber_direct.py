"""Uber Direct (couriers): what became of one delivery, in either of two generations of its webhook.

Now: {"kind":"event.delivery_status","id":"evt_…","status","created","delivery_id","data":{"external_id",
"manifest":{"reference"},"courier":{"location"},…}}; kind event.courier_update carries a position every 20 seconds.
Before: {"event_type":"dapi.status_changed","event_id","event_time","meta":{"external_order_id","status",
"is_returning"}}. Both are hex HMAC-SHA256 of the raw body under the webhook's own signing key, in `X-Uber-Signature` or
in the older `X-Postmates-Signature`.

Our order is the external id that was given when the delivery was made. A delivery that is cancelled or fails leaves the
order to another courier. A return is a delivery of its own, under the same external id: what it reaches, the restaurant
gets and not the customer, so all of it is noted, its `delivered` too (as `return.delivered`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from backbone.store.sources import Source
from schemas.errors import MalformedEvent
from schemas.events import FactEvent, StatusEvent
from schemas.statuses import OrderStatus, Role
from service.bodies.documents import read_object
from service.dialects.days import Message, Outgoing, Signing, day_id, hmac_text
from service.dialects.event_ids import derive_body_id
from service.dialects.hmac_signatures import verify_hmac_header
from service.dialects.optional_ids import read_optional_id
from service.dialects.partner import PartnerDialect, fact, report, words
from service.dialects.port import AnswerOnly, Inbound, Meaning, Parsed, ParsedEvent, Position
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.times import Claim, claimed_time

SIGNATURE_HEADER = "X-Uber-Signature"
OLDER_SIGNATURE_HEADER = "X-Postmates-Signature"
_STATUS_KIND = "event.delivery_status"
_COURIER_KIND = "event.courier_update"
_STATUSES = MappingProxyType(
    {
        "pickup_complete": OrderStatus.TAKEN_BY_COURIER,
        "dropoff": OrderStatus.TAKEN_BY_COURIER,
        "delivered": OrderStatus.DELIVERED,
    }
)
_OLDER_KIND = "dapi.status_changed"
_OLDER_STATUSES = MappingProxyType(
    {"en_route_to_dropoff": OrderStatus.TAKEN_BY_COURIER, "completed": OrderStatus.DELIVERED}
)


class UberDirect(PartnerDialect):
    """The deliveries' webhook."""

    profile = Profile(
        name="uber-direct",
        title="Uber Direct",
        roles=(Role.COURIER,),
        schemes=("signature",),
        proof=(
            f"`{SIGNATURE_HEADER}`, else `{OLDER_SIGNATURE_HEADER}`: hex HMAC-SHA256 of the raw body under the "
            "webhook's signing key"
        ),
        needs=frozenset({"secret"}),
        refusals={
            Refusal.MALFORMED: Told(None, "the event is lost: only 5xx is sent again"),
            Refusal.UNAUTHENTICATED: Told(None, "the event is lost"),
            Refusal.UNSUITABLE: Told(None, "the event is lost"),
            Refusal.RATE_LIMITED: Told(503, "sent again; a 429 would lose the event"),
            Refusal.OUTAGE: Told(None, "sent again; lost after three attempts, in less than a minute"),
        },
        within="not stated",
        resends="5xx and time-outs: after 10 s, then 30 s; three attempts in all",
        order_field="`data.external_id`, else `data.manifest.reference`; `meta.external_order_id` (dapi)",
        event_id="`id` (evt_…); `event_id` (dapi); without one, the whole body",
        times="`created`, RFC 3339 with 3 digits; `event_time`, epoch milliseconds or seconds (dapi)",
        facts=(
            "[O] developer.uber.com, deliveries/guides/webhooks: both headers, the webhook's own key, a test vector",
            "[O] daas/api/webhook-event-courierupdate: every 20 s from pickup on",
            "[O] deliveries/direct/api/webhook-dapi-statuschanged: fields, statuses, is_returning",
            "[O] a return is a new delivery ret_… beside del_…, with the first one as related delivery",
            "[I] chunyenHuang/uber-nodejs-sdk README: whole payloads; notes of others: 5xx sent again, three attempts",
            "[I] integrators' code: the other kinds; event.refund_request has external_id on top",
            "[D] everything of a return is noted; so is a delivery that was cancelled, returned or failed",
        ),
    )

    def verify_signature(self, inbound: Inbound, source: Source) -> None:
        """Hex, over the raw body, in the newer header where it is there."""
        older = SIGNATURE_HEADER not in inbound.headers and OLDER_SIGNATURE_HEADER in inbound.headers
        name = OLDER_SIGNATURE_HEADER if older else SIGNATURE_HEADER
        verify_hmac_header(inbound.headers, name, (inbound.raw,), source.secrets)

    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """One event with perhaps a position; of a courier's update the position alone."""
        document = read_object(inbound.raw)
        if "kind" in document:
            return self._parse_current(document, inbound, source)
        return self._parse_older(document, inbound, source)

    def _parse_current(self, document: dict[str, Any], inbound: Inbound, source: Source) -> Meaning:
        kind, data = _text(document, "kind"), _below(document, "data")
        order_id = _order_id(
            "data.external_id",
            data.get("external_id"),
            document.get("external_id"),
            _below(data, "manifest").get("reference"),
        )
        occurred = claimed_time(document.get("created"), "created", source.zone, unreadable="missing")
        if kind == _COURIER_KIND:
            position = _position(order_id, document, occurred)
            return AnswerOnly(self.success()) if position is None else Parsed((), (position,))
        event_id = self._event_id(document.get("id"), inbound)
        if kind != _STATUS_KIND:
            return Parsed((ParsedEvent(order_id, event_id, fact(kind, occurred)),))
        word = _text(document if document.get("status") else data, "status")
        why = words(data.get("undeliverable_reason"))
        event = _event(word, _STATUSES, occurred, returning=_is_return(document, data), why=why)
        position = _position(order_id, _below(data, "courier"), occurred)
        return Parsed((ParsedEvent(order_id, event_id, event),), () if position is None else (position,))

    def _parse_older(self, document: dict[str, Any], inbound: Inbound, source: Source) -> Meaning:
        kind, meta = _text(document, "event_type"), _below(document, "meta")
        order_id = _order_id("meta.external_order_id", meta.get("external_order_id"))
        occurred = claimed_time(document.get("event_time"), "event_time", source.zone, unreadable="missing")
        if kind == _OLDER_KIND:
            returning = meta.get("is_returning") not in (None, False)
            event = _event(_text(meta, "status"), _OLDER_STATUSES, occurred, returning=returning)
        else:
            event = fact(kind, occurred)
        return Parsed((ParsedEvent(order_id, self._event_id(document.get("event_id"), inbound), event),))

    def _event_id(self, given: object, inbound: Inbound) -> str:
        return read_optional_id(given) or derive_body_id(self.name, raw=inbound.raw)

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:
        """The first courier's delivery is cancelled, a second one delivers: repeats, positions, and a refund asked for
        at the end.
        """

        def message(minute: int, delivery: str, kind: str, says: str, status: str = "", **more: Any) -> Message:
            created = (start + timedelta(minutes=minute)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            data = {
                "id": delivery,
                "status": status,
                "kind": "delivery",
                "external_id": order_id,
                "manifest": {"reference": order_id},
                "pickup": {"name": store},
                "related_deliveries": [],
            }
            head = {"kind": kind, "id": day_id("evt", order_id, minute), "created": created, "delivery_id": delivery}
            return Message(
                says, {**head, "live_mode": True, "data": data, **({"status": status} if status else {}), **more}
            )

        def moved(minute: int, lat: float, lng: float) -> Message:
            return message(minute, "del_2", _COURIER_KIND, "a position", location={"lat": lat, "lng": lng})

        def reached(minute: int, delivery: str, status: str, says: str) -> Message:
            return message(minute, delivery, _STATUS_KIND, says, status)

        taken = reached(20, "del_2", "pickup_complete", "picked up")
        return (
            reached(0, "del_1", "pending", "the delivery waits for a courier: noted"),
            reached(4, "del_1", "canceled", "and is cancelled: noted, the order lives on"),
            reached(5, "del_2", "pending", "another delivery: noted"),
            reached(8, "del_2", "pickup", "a courier is on the way to the store: noted"),
            reached(14, "del_2", "pickup", "and is near: noted, a new event"),
            moved(15, 45.51, -122.67),
            taken,
            taken,
            reached(24, "del_2", "dropoff", "on the way: the same status again"),
            moved(25, 45.52, -122.66),
            reached(38, "del_2", "dropoff", "near the customer: the same status again"),
            reached(40, "del_2", "delivered", "delivered"),
            message(90, "del_2", "event.refund_request", "a refund is asked for: noted"),
        )

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """X-Uber-Signature."""
        return Outgoing(body, {SIGNATURE_HEADER: hmac_text(signing.secret, body)})


def _event(
    word: str, statuses: Mapping[str, OrderStatus], occurred: Claim, *, returning: bool, why: str | None = None
) -> StatusEvent | FactEvent:
    status = statuses.get(word.strip().lower())
    if returning:
        return fact(f"return.{word}", occurred, why)
    return report(status, word, occurred, comment=why)


def _is_return(document: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """By the delivery's id, or by the first delivery that it names as its original."""
    ids = (document.get("delivery_id"), data.get("id"))
    if any(isinstance(one, str) and one.strip().lower().startswith("ret_") for one in ids):
        return True
    related = data.get("related_deliveries")
    held = related if isinstance(related, list) else [related]
    return any(isinstance(one, dict) and one.get("relationship") == "original" for one in held)


def _position(order_id: str, holder: Mapping[str, Any], occurred: Claim) -> Position | None:
    place = _below(holder, "location")
    return Position.at(order_id, place.get("lat"), place.get("lng"), occurred[0])


def _below(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    below = holder.get(name)
    return below if isinstance(below, dict) else {}


def _text(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    if not isinstance(value, str) or not value.strip():
        raise MalformedEvent(f"The body does not have the expected form: {name}.", errors=((name, "must be text"),))
    return value.strip()


def _identifier(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


def _order_id(field: str, *values: object) -> str:
    for value in values:
        found = _identifier(value)
        if found is not None:
            return found
    raise MalformedEvent(
        f"The body does not have the expected form: {field}.", errors=((field, "must name the order"),)
    )


DIALECT = UberDirect()
