"""Order-status (Yandex Eats form): the partner is given a base URL and calls its own paths below it.

PUT {base}/order/{orderId}/status  {"status","comment"?,"reason"?,"attributes"?,"updatedAt"?}
PUT {base}/order/{orderId}/courier {"courier":{"name","type","phone","status"},"location":{"latitude","longitude"},…}
POST {base}/security/oauth/token   an access token, which it fetches first

The platform reports TAKEN_BY_COURIER, DELIVERED and CANCELLED, under the id that the order has with us. There is no
event id: the order, the status and its time identify a report; without a time, the whole body does. What it says about
a courier is noted as `courier_<status>` and, as far as it is a place, kept as the order's latest position. Who the
courier is stays out of the trail, even as a digest: a second one who accepts by the same means is the same fact.

`service.facades.order_status` answers the same calls with their verdict; docs/dialects.md says when to use which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from backbone.store.sources import Source
from schemas.events import Attribute, Comment, StatusEvent
from schemas.statuses import OrderStatus, Role
from service.bodies.documents import read_object
from service.bodies.validation import read_model
from service.dialects.days import Message, Outgoing, Signing, token_headers
from service.dialects.endpoints import Endpoint, TokenGrant
from service.dialects.event_ids import derive_body_id, derive_fact_id
from service.dialects.partner import TOKEN_REFUSALS, PartnerDialect, fact
from service.dialects.port import Answer, Inbound, Meaning, Parsed, ParsedEvent, Position
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.times import NO_TIME, claimed_time
from service.facades.order_status_errors import EXPIRED, Code, error_items, errors_of
from service.failures import Failure

STATUS = Endpoint("PUT", "/order/{orderId}/status")
COURIER = Endpoint("PUT", "/order/{orderId}/courier")
TOKENS = TokenGrant(path="/security/oauth/token", scopes=("read", "write"))
_STATUSES = {status.value: status for status in OrderStatus} | {"CANCELED": OrderStatus.CANCELLED}
_DEGREES = re.compile(r"-?[0-9]{1,3}(\.[0-9]{1,20})?")


class _StatusBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    status: str = Field(min_length=1)
    attributes: Annotated[tuple[Attribute, ...] | None, Field(max_length=100)] = None
    comment: Comment | None = None
    reason: Comment | None = None
    updated_at: Any = Field(default=None, validation_alias="updatedAt")


class _Courier(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    status: str | None = None
    type: str | None = None


class _Location(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    latitude: Any = None
    longitude: Any = None


class _CourierBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    courier: _Courier
    location: _Location | None = None


class OrderStatusDialect(PartnerDialect):
    """The calls that a platform makes to a restaurant's system."""

    profile = Profile(
        name="order-status",
        title="Order-status (Yandex Eats form)",
        roles=(Role.MARKETPLACE, Role.PLATFORM, Role.COURIER),
        schemes=("bearer",),
        proof="`Authorization: Bearer`: an access token from `/security/oauth/token`, or the secret itself",
        endpoints=(STATUS, COURIER),
        token=TOKENS,
        success_status=204,
        refusals={
            Refusal.MALFORMED: Told(None, "not stated; take the report for lost"),
            Refusal.UNAUTHENTICATED: Told(None, "sent again, with a new access token"),
            Refusal.UNSUITABLE: Told(None, "not stated; take the report for lost"),
            Refusal.RATE_LIMITED: Told(None, "not stated; take the report for lost"),
            Refusal.OUTAGE: Told(None, "not stated; take the report for lost and reconcile"),
        },
        within="not stated",
        resends="after 401",
        order_field="the path: `/order/{orderId}/status`",
        event_id="derived: `orderId`, `status` and `updatedAt`; without a time, the whole body",
        times="`updatedAt`, RFC 3339 with 6 digits, odd offsets too",
        facts=(
            "[O] yandex.ru/dev/eda-vendor, order status and courier: paths, bodies, content types, 204, 400, 401",
            "[O] the same, authentication: client credentials as a form, scope `read write`",
            "[O] the same: the platform sends TAKEN_BY_COURIER, DELIVERED and CANCELLED alone; a retry follows a 401",
            "[D] the event id; what is said of a courier is noted",
        ),
    )

    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """One event: of the status's path a status, of the courier's a fact and perhaps a position."""
        order_id = inbound.variables.get("orderId", "")
        document = read_object(inbound.raw)
        if inbound.endpoint == COURIER.path:
            return self._parse_courier(order_id, read_model(_CourierBody, document))
        body = read_model(_StatusBody, document)
        word = body.status.strip().upper()
        occurred_us, mark = claimed_time(body.updated_at, "updatedAt", source.zone, unreadable="missing")
        status = _STATUSES.get(word)
        if status is None:
            event: Any = fact(word, (occurred_us, mark), body.comment)
        else:
            event = StatusEvent(
                status=status,
                reason=(body.reason or None) if status is OrderStatus.CANCELLED else None,
                attributes=body.attributes or (),
                occurred_us=occurred_us,
                occurred_mark=mark,
                comment=body.comment or None,
            )
        if occurred_us is None:
            event_id = derive_body_id(self.name, order_id, word, raw=inbound.raw)
        else:
            event_id = derive_fact_id(self.name, order_id, word, occurred_us)
        return Parsed((ParsedEvent(order_id, event_id, event),))

    def _parse_courier(self, order_id: str, body: _CourierBody) -> Parsed:
        word = (body.courier.status or "accepted").strip().lower()
        event_id = derive_fact_id(self.name, order_id, "courier", word, body.courier.type)
        events = (ParsedEvent(order_id, event_id, fact(f"courier_{word}", NO_TIME)),)
        at = body.location
        place = None if at is None else Position.at(order_id, _degrees(at.latitude), _degrees(at.longitude))
        return Parsed(events, () if place is None else (place,))

    def answer_failure(self, failure: Failure) -> Answer:
        """`{"reason"}` for 401, for all else an array of `{"code", "description"}`."""
        headers = {**failure.headers, "Cache-Control": "no-store"}
        if failure.code in TOKEN_REFUSALS:
            words = [(Code[failure.code.upper()], f"{failure.code}: {failure.detail}")]
        elif failure.status == 401:
            return Answer(401, {"reason": EXPIRED}, headers)
        elif failure.status == 404:
            words = [(Code.MALFORMED, failure.detail)]  # no such path: of orders this format is never told
        else:
            words = errors_of(failure)
        return Answer(failure.status, error_items(words), headers)

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:  # noqa: ARG002 - names no store
        """From a courier who accepts to delivered: positions in between, a repeat, the pick-up in two words."""
        where = {"orderId": order_id}

        def status(minute: int, word: str, says: str) -> Message:
            at = start + timedelta(minutes=minute)
            body = {"status": word, "comment": "", "updatedAt": at.isoformat(timespec="microseconds")}
            headers = {"Content-Type": "application/vnd.eats.order.status.v1+json"}
            return Message(says, body, headers, STATUS, where)

        def courier(word: str, latitude: float, says: str) -> Message:
            body = {
                "courier": {"name": "Courier One", "type": "bicycle", "phone": "+70000000000", "status": word},
                "order": {"orderNr": "190330-12345678"},
                "location": {"latitude": str(latitude), "longitude": "37.58948777728022"},
            }
            return Message(says, body, {}, COURIER, where)

        taken = status(25, "TAKEN_BY_COURIER", "picked up")
        return (
            courier("accepted", 55.681, "a courier accepted: noted"),
            courier("accepted", 55.683, "the same from nearer by: the place alone is new"),
            courier("arrived_to_source", 55.685, "at the restaurant: noted"),
            taken,
            taken,
            courier("taken", 55.685, "the courier has it: noted, the status says so itself"),
            status(50, "DELIVERED", "delivered"),
            courier("finished", 55.69, "the courier is done: noted"),
        )

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """The secret, which stands for an access token."""
        return Outgoing(body, token_headers(signing))


def _degrees(value: object) -> object:
    """Coordinates are texts in this format; anything that is no number stays what it is."""
    return float(value) if isinstance(value, str) and _DEGREES.fullmatch(value.strip()) else value


DIALECT = OrderStatusDialect()
