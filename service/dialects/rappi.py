"""Rappi (Latin America): orders, what becomes of them, couriers' positions and health checks of the stores.

What kind of message it is stands in no field, so the shape tells: "order_detail" is a new order, in full (with an
"action" it is the early notice of a scheduled one, or that notice withdrawn), "event" is a step of a known one, "lat"
and "lng" are a courier's position, and a store's id without an order is a PING (every three minutes; two that fail
close the store) or news about the store or its menu: answered, not logged. Our OK says that we are there to take its
orders; what a kitchen's own line is doing nobody here knows.

`Rappi-Signature: t=123456,sign=<hex>` is HMAC-SHA256 of t, a dot and the raw body under the webhook's secret. `t` has
been seen with 6, 10 and 13 digits, and no window is stated for it, so its age is not looked at. The sandbox's tester
signs another text than it sends (compact JSON in which every bool, number and null became a string): that proves
nothing about the body and is refused, with a reason of its own so that nobody looks for a wrong secret.

Times are local to the store, without an offset: the source's zone says where. A cancellation has no time at all.
There is no event id; the id is derived from order, event, time and courier, of a time that cannot be read from the
whole body. taken_visible_order comes when the store takes the order, and again, with the courier or an ETA, when one is
assigned, which may be long after: that one is noted and moves nothing. Where the first one was lost, the next status
makes it good.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from backbone.store.sources import Source
from schemas.errors import NotAuthenticated
from schemas.events import Identifier, OrderPlaced
from schemas.refusals import Why
from schemas.statuses import Fulfilment, OrderStatus, Role
from service.bodies.documents import read_object
from service.bodies.validation import read_model
from service.dialects.days import Message, Outgoing, Signing, hmac_text
from service.dialects.event_ids import derive_body_id, derive_fact_id
from service.dialects.header_tokens import single_header
from service.dialects.hmac_signatures import read_signature, verify_hmac
from service.dialects.optional_ids import read_optional_id
from service.dialects.partner import PartnerDialect, fact, report, words
from service.dialects.port import AnswerOnly, Inbound, Meaning, Parsed, ParsedEvent, Position
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.rappi_details import below, describe_order
from service.dialects.rappi_sandbox import is_the_testers
from service.dialects.times import Claim, claimed_time

SIGNATURE_HEADER = "Rappi-Signature"
_SIGNATURE = re.compile(r"\s*t=([0-9]{1,19})\s*,\s*sign=([^\s,]*)\s*")
_TAKEN = "taken_visible_order"
_STATUSES = MappingProxyType(
    {
        _TAKEN: OrderStatus.ACCEPTED_BY_RESTAURANT,
        "ready_for_pick_up": OrderStatus.READY,
        "hand_to_domiciliary": OrderStatus.TAKEN_BY_COURIER,
        "close_order": OrderStatus.DELIVERED,
    }
)
_CANCELLED = re.compile(
    r"cancell?ed|cancel(?:l?ed)?_(?:by_user|by_support|by_support_with_charges?|by_application_user|by_sk_with_charges?"
    r"|by_fraud_automation|with_charges?|without_charges?|from_cms|store_closed)"
)
"""Those that are documented, in either spelling, and no others: what is requested, denied or taken back is noted."""
_NOTED = frozenset({"replace_storekeeper", "domiciliary_in_store", "arrive", "timeout"})
_NOTICES = MappingProxyType({"scheduled": "NEW_ORDER_SCHEDULED", "cancelled": "NEW_ORDER_SCHEDULED_CANCELLED"})
_ABOUT_STORES = ("store_id", "external_store_id", "storeId", "batchId")
_FULFILMENTS = MappingProxyType(
    {"delivery": Fulfilment.DELIVERY, "marketplace": Fulfilment.OWN_DELIVERY, "pickup": Fulfilment.PICKUP}
)


class _Step(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    event: str = Field(min_length=1)
    order_id: Identifier
    event_time: Any = None
    additional_information: Any = None


class _Tracking(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    order_id: Identifier
    lat: Any = None
    lng: Any = None
    created_at: Any = None


class _Detail(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    order_id: Identifier
    created_at: Any = None
    place_at: Any = None


class Rappi(PartnerDialect):
    """The restaurants' webhooks."""

    profile = Profile(
        name="rappi",
        title="Rappi",
        roles=(Role.MARKETPLACE,),
        schemes=("signature",),
        proof=f"`{SIGNATURE_HEADER}`: `t=…,sign=` and hex HMAC-SHA256 of t, a dot and the raw body",
        needs=frozenset({"secret", "zone"}),
        success_body={"status": "OK", "description": "received"},
        refusals={
            Refusal.MALFORMED: Told(
                None, "a new order stays unreceived and times out after 6 minutes; else not stated"
            ),
            Refusal.UNAUTHENTICATED: Told(None, "the same; two refused PINGs close the store"),
            Refusal.UNSUITABLE: Told(
                None, "a new order stays unreceived and times out after 6 minutes; else not stated"
            ),
            Refusal.RATE_LIMITED: Told(
                503, "not stated; if anything is sent again, it is a 5xx; a PING counts as missed"
            ),
            Refusal.OUTAGE: Told(
                None, "a new order stays unreceived: fetch it (GET orders) and take it in 6 minutes; else not stated"
            ),
        },
        within="not stated; an order is to be taken within 6 minutes",
        resends="not stated",
        order_field="`order_id`, or `order_detail.order_id`",
        event_id="derived: `order_id`, `event`, `event_time` and the courier's id; of new orders, and with a time that "
        "cannot be read, the whole body",
        times="`event_time`, `created_at`, local without an offset, or dd/MM/yyyy; cancellations have none",
        facts=(
            "[O] dev-portal.rappi.com, webhook-events: shapes, signature, PING and its answer, scheduled orders",
            "[O] the same, managing-user-orders: events, cancellations, what a failed NEW_ORDER causes",
            "[O] the same: taken_visible_order comes again when a courier is assigned; api-reference/orders: fields",
            "[I] integrators: the event timeout; delivery_information.complete_address",
            "[I] the sandbox: t of 13 digits, times with a T, a tester whose signature is not over the body",
            "[D] the kind is read from the shape; the event ids",
            "[D] the restaurant is store.external_id, or store.internal_id where the source's map has it",
        ),
    )

    def verify_signature(self, inbound: Inbound, source: Source) -> None:
        """Hex, over t, a dot and the raw body."""
        match = _SIGNATURE.fullmatch(single_header(inbound.headers, SIGNATURE_HEADER))
        if match is None:
            raise NotAuthenticated(Why.MALFORMED_SIGNATURE)
        signature, moment = read_signature(match[2]), match[1].encode() + b"."
        try:
            verify_hmac(signature, (moment + inbound.raw,), source.secrets)
        except NotAuthenticated:
            if is_the_testers(signature, moment, inbound.raw, source.secrets):
                raise NotAuthenticated(Why.RESERIALISED_BODY) from None
            raise

    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """An announcement, a step, a notice, or a position; what is about a store is answered."""
        document = read_object(inbound.raw)
        if document.get("order_detail") is not None:
            return Parsed((self._order(document, inbound, source),))
        if document.get("order_id") is None:
            if not _is_step(document.get("event")) and any(name in document for name in _ABOUT_STORES):
                return AnswerOnly(self.success())
        elif "lat" in document and document.get("event") is None:
            tracking = read_model(_Tracking, document)
            occurred_us, _ = _time(tracking.created_at, "created_at", source)
            position = Position.at(tracking.order_id, tracking.lat, tracking.lng, occurred_us)
            return AnswerOnly(self.success()) if position is None else Parsed((), (position,))
        return Parsed((self._step(read_model(_Step, document), inbound, source),))

    def _step(self, step: _Step, inbound: Inbound, source: Source) -> ParsedEvent:
        code, occurred = step.event.strip().lower(), _time(step.event_time, "event_time", source)
        courier, assigned = _courier(step.additional_information)
        news = "courier assigned" if code == _TAKEN and assigned else None
        if occurred[0] is None and step.event_time not in (None, ""):
            event_id = derive_body_id(self.name, step.order_id, code, raw=inbound.raw)
        else:
            event_id = derive_fact_id(self.name, step.order_id, code, occurred[0], courier, news)
        status = OrderStatus.CANCELLED if _CANCELLED.fullmatch(code) else _STATUSES.get(code)
        event = report(None if news else status, step.event, occurred, comment=news, reason=code)
        return ParsedEvent(step.order_id, event_id, event)

    def _order(self, document: dict[str, Any], inbound: Inbound, source: Source) -> ParsedEvent:
        held = below(document, "order_detail")
        detail = read_model(_Detail, held)
        occurred = _time(detail.created_at, "created_at", source)
        event_id, action = derive_body_id(self.name, detail.order_id, raw=inbound.raw), document.get("action")
        if action not in (None, ""):
            known = _NOTICES.get(action.strip().lower(), action) if isinstance(action, str) else action
            return ParsedEvent(detail.order_id, event_id, fact(known, occurred, words(detail.place_at)))
        store = below(document, "store")
        placed = OrderPlaced(
            occurred_us=occurred[0],
            occurred_mark=occurred[1],
            fulfilment=_FULFILMENTS.get(words(held.get("delivery_method")) or ""),
            details=describe_order(held, below(document, "customer"), store),
        )
        return ParsedEvent(detail.order_id, event_id, placed, store=_store(store, held, source))

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:
        """Placed to closed: taken_visible_order comes for the store, for the courier, and once more as it was; the
        hand-over overtakes ready, and two health checks lie between.
        """
        local = start.astimezone(ZoneInfo(_DAYS_ZONE))

        def step(minute: int, event: str, says: str, **more: Any) -> Message:
            at = (local + timedelta(minutes=minute)).strftime("%Y-%m-%d %H:%M:%S")
            return Message(says, {"event": event, "order_id": order_id, "store_id": store, "event_time": at, **more})

        detail = {
            "order_id": order_id,
            "created_at": local.strftime("%Y-%m-%d %H:%M:%S"),
            "delivery_method": "delivery",
            "payment_method": "cash",
            "cooking_time": 10,
            "totals": {
                "total_products": 28900,
                "total_order": 28900,
                "total_to_pay": 31900,
                "charges": {"shipping": 3000},
            },
            "items": [{"id": "729970", "sku": "0007", "name": "Producto 8", "quantity": 2, "price": 14450}],
        }
        placed = {"order_detail": detail, "store": {"internal_id": store, "external_id": store, "name": "Tienda"}}
        assigned = step(
            5, _TAKEN, "a courier is assigned: noted",
            additional_information={"courier_data": {"id": 729365, "first_name": "Courier"}, "eta_to_store": 147},
        )  # fmt: skip
        ping = Message("health check", {"store_id": store})
        place = {"lat": 4.65, "lng": -74.05, "eta_in_millis": 330000, "eta_type": "DELIVERY", "courier_id": 729365}
        at = (local + timedelta(minutes=20)).strftime("%d/%m/%Y %H:%M:%S")
        return (
            ping,
            Message("placed: announces the order, with its details", placed),
            step(1, _TAKEN, "the store took it"),
            assigned,
            assigned,
            step(8, "replace_storekeeper", "another courier: noted"),
            step(14, "domiciliary_in_store", "the courier is in the store: noted"),
            step(16, "hand_to_domiciliary", "handed over"),
            step(15, "ready_for_pick_up", "ready, overtaken on its way"),
            ping,
            Message("a position", {**place, "order_id": order_id, "store_id": store, "created_at": at}),
            step(30, "arrive", "at the door: noted"),
            step(33, "close_order", "received"),
        )

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """Rappi-Signature."""
        moment = str(signing.now_ms // 1000)
        return Outgoing(
            body, {SIGNATURE_HEADER: f"t={moment},sign={hmac_text(signing.secret, moment.encode(), b'.', body)}"}
        )


_DAYS_ZONE = "America/Bogota"
"""Where the store of `day` is."""


def _time(value: object, field: str, source: Source) -> Claim:
    """A time that cannot be read is a missing one: nothing says that a refused message comes again."""
    return claimed_time(value, field, source.zone, unreadable="missing")


def _is_step(event: object) -> bool:
    """Whether it is the word for a step of an order."""
    code = event.strip().lower() if isinstance(event, str) else ""
    return code in _STATUSES or code in _NOTED or _CANCELLED.fullmatch(code) is not None


def _courier(information: object) -> tuple[str | None, bool]:
    """The courier's id, and whether one was assigned."""
    held = information if isinstance(information, dict) else {}
    number = below(held, "courier_data").get("id")
    courier = str(number) if isinstance(number, str | int) else None
    return courier, courier is not None or held.get("eta_to_store") is not None


def _store(store: Mapping[str, Any], detail: Mapping[str, Any], source: Source) -> str | None:
    """The one that the source's map has; else the restaurant's own id, which Rappi keeps as the external one."""
    named = (store.get("external_id"), store.get("internal_id"), detail.get("store_id"))
    known = [one for one in map(read_optional_id, named) if one is not None]
    return next((one for one in known if one in source.stores), known[0] if known else None)


DIALECT = Rappi()
