"""Uber Eats: thin notifications, which say that something happened to an order; the order itself is to be fetched.

{"event_type":"orders.notification","event_id","event_time","meta":{"resource_id","user_id","status":"pos"},
"resource_href"}. `event_type` alone decides; `meta.status` is "pos" whatever happened. `event_time` is seconds or
milliseconds since 1970. `X-Uber-Signature` is lowercase hex HMAC-SHA256 of the raw body under the client secret.

An app has one URL for everything, so what is about stores, menus and reports comes here too: it is answered and not
logged. A scheduled order is announced when it is released to the store (orders.notification); the notice before that,
which may come days ahead, waits like anything about an unknown order. Uber Direct, the couriers, speaks other formats:
`uber_direct.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from backbone.store.sources import Source
from schemas.events import Identifier
from schemas.statuses import OrderStatus, Role
from service.bodies.documents import read_object
from service.bodies.validation import read_model
from service.dialects.days import Message, Outgoing, Signing, day_id, hmac_text
from service.dialects.hmac_signatures import verify_hmac_header
from service.dialects.optional_ids import OptionalId
from service.dialects.partner import PartnerDialect, report, words
from service.dialects.port import AnswerOnly, Inbound, Meaning, Parsed, ParsedEvent
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.times import claimed_time

SIGNATURE_HEADER = "X-Uber-Signature"
_STATUSES = MappingProxyType(
    {
        "orders.notification": OrderStatus.NEW,
        "orders.cancel": OrderStatus.CANCELLED,
        "orders.failure": OrderStatus.CANCELLED,
    }
)
_NOT_ABOUT_ORDERS = frozenset({"store", "eats"})
"""First words of the types about stores and menus (store.provisioned, …) and reports (eats.report.success)."""
_TEST = "test"
_NO_STATE = "pos"


class _Meta(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    order_id: Identifier = Field(validation_alias=AliasChoices("resource_id", "order_id"))
    store: OptionalId = Field(default=None, validation_alias="user_id")
    status: Any = None


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    event_id: Identifier
    event_type: str = Field(min_length=1)
    event_time: Any = None
    meta: _Meta


class UberEats(PartnerDialect):
    """The marketplace's webhook."""

    profile = Profile(
        name="uber-eats",
        title="Uber Eats",
        roles=(Role.MARKETPLACE,),
        schemes=("signature",),
        proof=f"`{SIGNATURE_HEADER}`: hex HMAC-SHA256 of the raw body under the client secret",
        needs=frozenset({"secret"}),
        refusals={
            Refusal.MALFORMED: Told(None, "sent again within the minute, and refused each time"),
            Refusal.UNAUTHENTICATED: Told(None, "sent again within the minute, then lost"),
            Refusal.UNSUITABLE: Told(None, "sent again within the minute, and refused each time"),
            Refusal.RATE_LIMITED: Told(None, "sent again; lost if a minute is not enough"),
            Refusal.OUTAGE: Told(None, "sent again; lost if the outage outlasts a minute"),
        },
        within="not stated; the order is to be accepted or denied within 11.5 minutes",
        resends="all but 200: after 1, 2, 4 … 32 s, 7 sends in about a minute",
        order_field="`meta.resource_id`",
        event_id="`event_id`",
        times="`event_time`, epoch seconds or milliseconds, by magnitude",
        facts=(
            "[O] developer.uber.com, eats webhooks.orders-notification: body, signature, 200 and no body, 7 sends",
            "[O] the same, eats/guides/webhooks: the types, and one URL for all of them",
            "[O] the same: orders.failure and orders.cancel both mean cancelled, by the version of the store's API",
            "[O] deliveries/direct/api/webhook-dapi-statuschanged: a time of 13 digits",
            "[I] integrators' code: delivery.state_changed with meta.order_id",
            "[D] what is about stores and reports is answered only, and so is a test: {}, or a type with the word test",
        ),
    )

    def verify_signature(self, inbound: Inbound, source: Source) -> None:
        """Hex, over the raw body."""
        verify_hmac_header(inbound.headers, SIGNATURE_HEADER, (inbound.raw,), source.secrets)

    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """One event. Scheduled and released orders, courier states and what is new are noted."""
        document = read_object(inbound.raw)
        if not document or _is_no_order(document.get("event_type")):
            return AnswerOnly(self.success())
        body = read_model(_Body, document)
        occurred = claimed_time(body.event_time, "event_time", source.zone, unreadable="missing")
        status = _STATUSES.get(body.event_type.strip().lower())
        state = None if body.meta.status == _NO_STATE else words(body.meta.status)
        event = report(status, body.event_type, occurred, comment=state, reason=body.event_type)
        return Parsed((ParsedEvent(body.meta.order_id, body.event_id, event, store=body.meta.store),))

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:
        """A scheduled order is announced when it is released to the store; notified twice, and cancelled in the end,
        which is as far as this format goes: what the kitchen and the couriers do, others report.
        """

        def message(minute: int, kind: str, says: str, status: str = "pos") -> Message:
            at = start + timedelta(minutes=minute)
            body = {
                "event_type": kind,
                "event_id": day_id(order_id, kind),
                "event_time": int(at.timestamp()),
                "meta": {"resource_id": order_id, "status": status, "user_id": store},
                "resource_href": f"https://api.uber.com/v2/eats/order/{order_id}",
            }
            return Message(says, body)

        notified = message(5, "orders.notification", "placed: announces the order")
        provisioned = {"event_type": "store.provisioned", "event_id": day_id(order_id, "store"), "store_id": store}
        return (
            Message("about the store: answered only", provisioned),
            message(0, "orders.scheduled.notification", "scheduled: waits until the order is announced, then noted"),
            notified,
            notified,
            message(15, "orders.release", "the courier is near, to be released to the kitchen: noted"),
            message(20, "orders.cancel", "cancelled"),
        )

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """X-Uber-Signature."""
        return Outgoing(body, {SIGNATURE_HEADER: hmac_text(signing.secret, body)})


def _is_no_order(kind: object) -> bool:
    parts = kind.strip().lower().split(".") if isinstance(kind, str) else [""]
    return parts[0] in _NOT_ABOUT_ORDERS or _TEST in parts


DIALECT = UberEats()
