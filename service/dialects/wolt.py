"""Wolt (orders, as its POS integration tells them): a status of one order a request, the order itself to be fetched.

{"id","type":"order.notification","order":{"id","venue_id","status","resource_url"},"created_at"}. `WOLT-SIGNATURE` is
hex HMAC-SHA256 of the raw body. Statuses have spaces and hyphens, and one L in CANCELED; they are read whatever stands
between their words. Wolt Drive, its courier service, speaks another format: `wolt_drive.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict

from backbone.store.sources import Source
from schemas.events import Identifier
from schemas.statuses import OrderStatus, Role
from service.bodies.documents import read_object
from service.bodies.validation import read_model
from service.dialects.days import Message, Outgoing, Signing, day_id, hmac_text
from service.dialects.hmac_signatures import verify_hmac_header
from service.dialects.optional_ids import OptionalId
from service.dialects.partner import PartnerDialect, fact, report
from service.dialects.port import Inbound, Meaning, Parsed, ParsedEvent
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.times import claimed_time

SIGNATURE_HEADER = "WOLT-SIGNATURE"
_NOTIFICATION = "order.notification"
_STATUSES = MappingProxyType(
    {
        "CREATED": OrderStatus.NEW,
        "PRODUCTION": OrderStatus.ACCEPTED_BY_RESTAURANT,
        "READY": OrderStatus.READY,
        "PICK UP COMPLETED": OrderStatus.TAKEN_BY_COURIER,
        "DELIVERED": OrderStatus.DELIVERED,
        "CANCELED": OrderStatus.CANCELLED,
        "CANCELLED": OrderStatus.CANCELLED,
    }
)


class _Order(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Identifier
    venue_id: OptionalId = None
    status: str


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Identifier
    type: str = _NOTIFICATION
    order: _Order
    created_at: Any = None


class Wolt(PartnerDialect):
    """The order notification."""

    profile = Profile(
        name="wolt",
        title="Wolt",
        roles=(Role.MARKETPLACE,),
        schemes=("signature",),
        proof=f"`{SIGNATURE_HEADER}`: hex HMAC-SHA256 of the raw body under the client secret",
        needs=frozenset({"secret"}),
        refusals={
            Refusal.MALFORMED: Told(None, "sent again like any error, and refused each time"),
            Refusal.UNAUTHENTICATED: Told(None, "sent again; after the last attempt the notification is lost"),
            Refusal.UNSUITABLE: Told(None, "sent again like any error, and refused each time"),
            Refusal.RATE_LIMITED: Told(None, "sent again"),
            Refusal.OUTAGE: Told(None, "sent again"),
        },
        within="not stated",
        resends="on errors; how often is not stated",
        order_field="`order.id`",
        event_id="`id`",
        times="`created_at`, RFC 3339 with 6 digits",
        facts=(
            "[O] developer.wolt.com, order integration, webhooks: body, statuses, signature",
            "[D] what its retries do is not written down; a 2xx ends them",
        ),
    )

    def verify_signature(self, inbound: Inbound, source: Source) -> None:
        """Hex, over the raw body."""
        verify_hmac_header(inbound.headers, SIGNATURE_HEADER, (inbound.raw,), source.secrets)

    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """One event. COURIER ARRIVAL, REVIEW and what is new are noted, and so is every other type of message."""
        body = read_model(_Body, read_object(inbound.raw))
        occurred = claimed_time(body.created_at, "created_at", source.zone, unreadable="missing")
        status = _STATUSES.get(re.sub(r"[\s_-]+", " ", body.order.status.strip().upper()))
        notified = body.type == _NOTIFICATION
        event = report(status, body.order.status, occurred) if notified else fact(body.type, occurred)
        return Parsed((ParsedEvent(body.order.id, body.id, event, store=body.order.venue_id),))

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:
        """Created to delivered; the ready notification comes after the courier has left, and one comes twice."""

        def message(minute: int, status: str, says: str) -> Message:
            at = start + timedelta(minutes=minute)
            order = {
                "id": order_id,
                "venue_id": store,
                "status": status,
                "resource_url": f"https://pos-integration-service.wolt.com/orders/{order_id}",
            }
            body = {
                "id": day_id(order_id, minute),
                "type": _NOTIFICATION,
                "order": order,
                "created_at": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            }
            return Message(says, body)

        taken = message(20, "PICK-UP-COMPLETED", "picked up")
        return (
            message(0, "CREATED", "created: announces the order"),
            message(2, "PRODUCTION", "accepted, in production"),
            message(17, "COURIER ARRIVAL", "the courier is at the venue: noted"),
            taken,
            message(18, "READY", "ready, overtaken on its way"),
            taken,
            message(45, "DELIVERED", "delivered"),
            message(90, "REVIEW", "the customer's review: noted"),
        )

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """WOLT-SIGNATURE."""
        return Outgoing(body, {SIGNATURE_HEADER: hmac_text(signing.secret, body)})


DIALECT = Wolt()
