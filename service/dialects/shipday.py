"""Shipday (couriers' dispatch): one event of one delivery a request, with the whole delivery beside it.

{"timestamp": epoch ms,"event":"ORDER_PIKEDUP","order_status","order":{"id","order_number","parent_id",…},…}; the
spelling is the partner's own. Our order is `order.order_number`; `order.id` is Shipday's delivery, and a redrop is a
new one with a `parent_id`. Whoever dispatches may take a step back (…_REMOVED, UNASSIGNED, INCOMPLETE): it is noted
and never moves an order back. `order_status` is not read: it lags, and its READY_TO_DELIVER means on the way. The proof
is a fixed text in the header `token`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backbone.store.sources import Source
from schemas.events import Identifier
from schemas.statuses import OrderStatus, Role
from service.bodies.documents import read_object
from service.bodies.validation import read_model
from service.dialects.days import Message, Outgoing, Signing, token_headers
from service.dialects.event_ids import derive_body_id, derive_fact_id
from service.dialects.optional_ids import OptionalId
from service.dialects.partner import PartnerDialect, report
from service.dialects.port import Inbound, Meaning, Parsed, ParsedEvent
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.times import claimed_time

_INSERTED = "ORDER_INSERTED"
_STATUSES = MappingProxyType(
    {
        _INSERTED: OrderStatus.NEW,
        "ORDER_PIKEDUP": OrderStatus.TAKEN_BY_COURIER,
        "ORDER_ONTHEWAY": OrderStatus.TAKEN_BY_COURIER,
        "ORDER_COMPLETED": OrderStatus.DELIVERED,
        "ORDER_FAILED": OrderStatus.CANCELLED,
        "ORDER_DELETE": OrderStatus.CANCELLED,
    }
)
_ANNOUNCERS = frozenset({Role.MARKETPLACE, Role.PLATFORM})


class _Order(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    order_number: Identifier
    id: OptionalId = None


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    event: str = Field(min_length=1)
    timestamp: Any = None
    order: _Order


class Shipday(PartnerDialect):
    """The Shipday order status webhook."""

    profile = Profile(
        name="shipday",
        title="Shipday",
        roles=(Role.COURIER, Role.MARKETPLACE),
        schemes=("header",),
        proof="`token`: the text that was set in Shipday's dashboard, up to 32 characters",
        token_header="token",  # noqa: S106 - a header's name
        needs=frozenset({"secret"}),
        refusals={
            Refusal.MALFORMED: Told(None, "not stated; take the event for lost"),
            Refusal.UNAUTHENTICATED: Told(None, "not stated; take the event for lost"),
            Refusal.UNSUITABLE: Told(None, "not stated; take the event for lost"),
            Refusal.RATE_LIMITED: Told(503, "not stated; if anything is sent again, it is a 5xx"),
            Refusal.OUTAGE: Told(None, "not stated; take the event for lost and reconcile"),
        },
        within="not stated",
        resends="not stated",
        order_field="`order.order_number`",
        event_id="derived: `order.id`, `event` and `timestamp`; without a timestamp, the whole body",
        times="`timestamp`, epoch milliseconds",
        facts=(
            "[O] docs.shipday.com, order-status-update: body, events, the header token",
            "[I] integrators' code: ORDER_POD_UPLOAD",
            "[D] the event id; steps back are noted",
        ),
    )

    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """One event. A courier's source does not announce, so its ORDER_INSERTED is a fact."""
        body = read_model(_Body, read_object(inbound.raw))
        code = body.event.strip().upper()
        occurred = claimed_time(body.timestamp, "timestamp", source.zone, unreadable="missing")
        announces_in_vain = code == _INSERTED and source.role not in _ANNOUNCERS
        event = report(None if announces_in_vain else _STATUSES.get(code), code, occurred)
        if occurred[0] is None:
            event_id = derive_body_id(self.name, raw=inbound.raw)
        else:
            event_id = derive_fact_id(self.name, body.order.order_number, body.order.id, code, occurred[0])
        return Parsed((ParsedEvent(body.order.order_number, event_id, event),))

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:
        """Inserted to completed: a courier is taken off again, the pick-up is taken back and repeated."""

        def message(minute: int, event: str, says: str) -> Message:
            at = start + timedelta(minutes=minute)
            order = {"id": 100071, "order_number": order_id, "parent_id": 0}
            stamp = int(at.timestamp() * 1000)
            return Message(
                says, {"timestamp": stamp, "event": event, "order": order, "pickup_details": {"name": store}}
            )

        picked_up = message(20, "ORDER_PIKEDUP", "picked up")
        return (
            message(0, "ORDER_INSERTED", "inserted: noted"),
            message(2, "ORDER_ASSIGNED", "a courier is assigned: noted"),
            message(4, "ORDER_UNASSIGNED", "and taken off again: noted"),
            message(5, "ORDER_ASSIGNED", "another one: noted, a new event"),
            message(6, "ORDER_ACCEPTED_AND_STARTED", "who sets out: noted"),
            picked_up,
            picked_up,
            message(21, "ORDER_PIKEDUP_REMOVED", "taken back by mistake: noted, the order stays where it is"),
            message(22, "ORDER_PIKEDUP", "picked up, once more: the same status again"),
            message(23, "ORDER_ONTHEWAY", "on the way: the same status again"),
            message(41, "ORDER_COMPLETED", "completed"),
            message(42, "ORDER_POD_UPLOAD", "a photograph: noted"),
        )

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """The token in its header."""
        return Outgoing(body, token_headers(signing))


DIALECT = Shipday()
