"""Square: what became of an order's fulfilments, several of them in one request.

{"merchant_id","type":"order.fulfillment.updated","event_id","created_at","data":{"object":
{"order_fulfillment_updated":{"order_id","location_id","state","fulfillment_update":[{"fulfillment_uid","old_state",
"new_state"}]}}}}. The signature is base64 HMAC-SHA256 over the notification URL, as configured at Square, and the raw
body: so the URL belongs to the source.

Each update is an event of its own. An order ends as a whole. Where its own `state` says that it ended, that decides:
what ended otherwise is noted. While the state is another (OPEN), a fulfilment that is cancelled or failed is noted, as
the request need not name all there are and a cancellation cannot be taken back; the order is cancelled when its state
says so, here or in an `order.updated`. COMPLETED is taken for the delivery where all that the request names are
completed. That is a limit: of an order with several fulfilments that complete in requests of their own, the first one
delivers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from backbone.store.sources import Source
from schemas.errors import NotAuthenticated
from schemas.events import FactEvent, Identifier, StatusEvent
from schemas.refusals import Why
from schemas.statuses import OrderStatus, Role
from service.bodies.documents import read_object
from service.bodies.validation import read_model
from service.dialects.days import Message, Outgoing, Signing, day_id, hmac_text
from service.dialects.event_ids import derive_fact_id
from service.dialects.hmac_signatures import verify_hmac_header
from service.dialects.optional_ids import OptionalId
from service.dialects.partner import PartnerDialect, report
from service.dialects.port import MOST_EVENTS, AnswerOnly, Inbound, Meaning, Parsed, ParsedEvent
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.times import Claim, claimed_time

SIGNATURE_HEADER = "x-square-hmacsha256-signature"
_UPDATED = "order.fulfillment.updated"
_ABOUT_ORDERS = "order."
_TEST = "webhooks.test_notification"
_STATUSES = MappingProxyType(
    {
        "PROPOSED": OrderStatus.NEW,
        "RESERVED": OrderStatus.ACCEPTED_BY_RESTAURANT,
        "PREPARED": OrderStatus.READY,
        "COMPLETED": OrderStatus.DELIVERED,
        "CANCELED": OrderStatus.CANCELLED,
        "FAILED": OrderStatus.CANCELLED,
    }
)
_ENDED = MappingProxyType({"COMPLETED": OrderStatus.DELIVERED, "CANCELED": OrderStatus.CANCELLED})
"""An order's own states that are final."""
_ENDINGS = frozenset(_ENDED.values())
_ANNOUNCERS = frozenset({Role.MARKETPLACE, Role.PLATFORM})


class _Update(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    uid: Identifier = Field(validation_alias="fulfillment_uid")
    new_state: str


class _Order(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    order_id: Identifier
    location_id: OptionalId = None
    state: Any = None
    updates: Annotated[tuple[_Update, ...], Field(max_length=MOST_EVENTS)] = Field(
        default=(), validation_alias="fulfillment_update"
    )

    @property
    def word(self) -> str:
        """Its own state, as it is looked up; empty where it has none."""
        return self.state.strip().upper() if isinstance(self.state, str) else ""


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    event_id: Identifier
    type: str
    merchant_id: OptionalId = None
    created_at: Any = None
    data: dict[str, Any]


class Square(PartnerDialect):
    """The fulfilment webhook."""

    profile = Profile(
        name="square",
        title="Square",
        roles=(Role.MARKETPLACE, Role.PLATFORM, Role.RESTAURANT),
        schemes=("signature",),
        proof=f"`{SIGNATURE_HEADER}`: base64 HMAC-SHA256 of the notification URL and the raw body",
        needs=frozenset({"secret", "url"}),
        refusals={
            Refusal.MALFORMED: Told(None, "sent again for 72 h, and refused each time"),
            Refusal.UNAUTHENTICATED: Told(None, "sent again for 72 h: a wrong key or URL can be put right until then"),
            Refusal.UNSUITABLE: Told(None, "sent again for 72 h, and refused each time"),
            Refusal.RATE_LIMITED: Told(None, "sent again"),
            Refusal.OUTAGE: Told(None, "sent again"),
        },
        within="10 s",
        resends="all but 2xx: after 1, 2, 4 … 32 minutes, then hourly to 72 h; off after three weeks of failures",
        order_field="`data.object.order_fulfillment_updated.order_id`",
        event_id="`event_id`; of several updates in one request derived from it, the fulfilment and its state",
        times="`created_at`, RFC 3339",
        facts=(
            "[O] developer.squareup.com, order.fulfillment.updated; webhooks: retries, signature with a test vector",
            "[O] the same, order.updated, Orders API: an order's states OPEN, COMPLETED, CANCELED",
            "[D] while an order is OPEN no fulfilment cancels it; its state CANCELED does, in order.updated too",
            "[D] it is delivered when all fulfilments that one request names are COMPLETED, though others may be open",
            "[D] a message that names no order (a customer, a catalogue, an authorisation) is answered only",
        ),
    )

    def verify_signature(self, inbound: Inbound, source: Source) -> None:
        """Base64, over the source's URL and the raw body."""
        if source.url is None:  # a source made by hand; nothing could be a signature of it
            raise NotAuthenticated(Why.BAD_SIGNATURE)
        message = source.url.encode() + inbound.raw
        verify_hmac_header(inbound.headers, SIGNATURE_HEADER, (message,), source.secrets, encoding="base64")

    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """An event an update; other types of message about an order are noted, what is about none is answered."""
        document = read_object(inbound.raw)
        if _is_no_order(document):
            return AnswerOnly(self.success())
        body = read_model(_Body, document)
        occurred = claimed_time(body.created_at, "created_at", source.zone, unreadable="missing")
        order = read_model(_Order, _part(body.data) or {"order_id": body.data.get("id")})
        store = order.location_id or body.merchant_id
        if body.type != _UPDATED or not order.updates:
            about_order = body.type.startswith(_ABOUT_ORDERS)
            cancelled = about_order and _ENDED.get(order.word) is OrderStatus.CANCELLED
            event = report(OrderStatus.CANCELLED if cancelled else None, body.type, occurred)
            return Parsed((ParsedEvent(order.order_id, body.event_id, event, store=store),))
        events = []
        for update in order.updates:
            event_id = body.event_id
            if len(order.updates) > 1:
                event_id = derive_fact_id(self.name, body.event_id, update.uid, update.new_state)
            event = _event(update, order, occurred, source)
            events.append(ParsedEvent(order.order_id, event_id, event, store=store))
        return Parsed(tuple(events))

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:
        """Proposed to completed: two fulfilments that go on side by side, and a message that comes again."""

        def message(minute: int, says: str, *states: tuple[str, str, str], state: str = "OPEN") -> Message:
            at = (start + timedelta(minutes=minute)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            order = {
                "created_at": at,
                "fulfillment_update": [
                    {"fulfillment_uid": uid, "new_state": new, "old_state": old} for uid, old, new in states
                ],
                "location_id": store,
                "order_id": order_id,
                "state": state,
                "updated_at": at,
                "version": minute + 1,
            }
            data = {"type": "order", "id": order_id, "object": {"order_fulfillment_updated": order}}
            head = {"merchant_id": "6SSW7HV8K2ST5", "type": _UPDATED, "event_id": day_id(order_id, minute)}
            return Message(says, {**head, "created_at": at, "data": data})

        accepted = message(
            1, "both fulfilments accepted: the second says nothing new", ("a", "PROPOSED", "RESERVED"),
            ("b", "PROPOSED", "RESERVED"),
        )  # fmt: skip
        return (
            message(0, "proposed: announces the order", ("a", "PROPOSED", "PROPOSED")),
            accepted,
            accepted,
            message(15, "one is prepared", ("a", "RESERVED", "PREPARED")),
            message(
                25, "one is completed, the other prepared: the order is not delivered yet",
                ("a", "PREPARED", "COMPLETED"), ("b", "RESERVED", "PREPARED"),
            ),
            message(30, "all are completed", ("b", "PREPARED", "COMPLETED"), state="COMPLETED"),
        )  # fmt: skip

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """x-square-hmacsha256-signature."""
        signature = hmac_text(signing.secret, signing.url.encode(), body, encoding="base64")
        return Outgoing(body, {SIGNATURE_HEADER: signature})


def _is_no_order(document: dict[str, Any]) -> bool:
    """Whether it is a test, or of a type about something else that names no order."""
    kind, data = document.get("type"), document.get("data")
    if kind == _TEST:
        return True
    about_order = not isinstance(kind, str) or kind.startswith(_ABOUT_ORDERS)
    return not about_order and (not isinstance(data, dict) or _part(data) is None)


def _part(data: dict[str, Any]) -> dict[str, Any] | None:
    """The part that names the order: under `object`, whatever its type is called."""
    held = data.get("object")
    parts = held.values() if isinstance(held, dict) else ()
    return next((part for part in parts if isinstance(part, dict) and part.get("order_id") is not None), None)


def _event(update: _Update, order: _Order, occurred: Claim, source: Source) -> StatusEvent | FactEvent:
    status = _STATUSES.get(update.new_state.strip().upper())
    if status in _ENDINGS and not _ends_order(status, order):
        status = None
    if status is OrderStatus.NEW and source.role not in _ANNOUNCERS:
        status = None
    return report(status, update.new_state, occurred)


def _ends_order(status: OrderStatus, order: _Order) -> bool:
    """By its own state where that is final; else only by what can be no part of an order that goes on."""
    if order.word in _ENDED:
        return _ENDED[order.word] is status
    if order.word and status is OrderStatus.CANCELLED:
        return False
    return all(_STATUSES.get(update.new_state.strip().upper()) is status for update in order.updates)


DIALECT = Square()
