"""GrabFood (marketplace): one state of one order a request, without an event id and without a time.

{"merchantID","orderID","state","driverETA"?,"code"?,"message"?}. Grab fetches an access token from us and then calls
PUT {base}/order/state, or the URL that was entered for it. The order and the state identify a report, so its repeat is
a duplicate; of what is only noted the other words count too, as another ETA is news. No time: the lifecycle goes by
when we logged it. Of a takeaway order DELIVERED and CANCELLED alone are told. FAILED is noted: it does not say of what.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backbone.store.sources import Source
from schemas.events import Identifier, StatusEvent
from schemas.statuses import OrderStatus, Role
from service.bodies.documents import read_object
from service.bodies.validation import read_model
from service.dialects.days import Message, Outgoing, Signing, token_headers
from service.dialects.endpoints import POSTED, Endpoint, TokenGrant
from service.dialects.event_ids import derive_fact_id
from service.dialects.optional_ids import OptionalId
from service.dialects.partner import PartnerDialect, fact, words
from service.dialects.port import Inbound, Meaning, Parsed, ParsedEvent
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.times import NO_TIME

ORDER_STATE = Endpoint("PUT", "/order/state")
TOKENS = TokenGrant(path="/oauth/token", scopes=("food.partner_api",))
_STATUSES = MappingProxyType(
    {
        "ACCEPTED": OrderStatus.ACCEPTED_BY_RESTAURANT,
        "COLLECTED": OrderStatus.TAKEN_BY_COURIER,
        "DELIVERED": OrderStatus.DELIVERED,
        "CANCELLED": OrderStatus.CANCELLED,
    }
)


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    order_id: Identifier = Field(validation_alias="orderID")
    merchant_id: OptionalId = Field(default=None, validation_alias="merchantID")
    state: str = Field(min_length=1)
    driver_eta: Any = Field(default=None, validation_alias="driverETA")
    code: Any = None
    message: Any = None


class GrabFood(PartnerDialect):
    """The GrabFood push of an order's state."""

    profile = Profile(
        name="grabfood",
        title="GrabFood",
        roles=(Role.MARKETPLACE,),
        schemes=("bearer",),
        reads_zone=False,
        proof="`Authorization: Bearer`: an access token from `/oauth/token`, or the secret itself",
        endpoints=(ORDER_STATE, POSTED, Endpoint("PUT")),
        token=TOKENS,
        refusals={
            Refusal.MALFORMED: Told(None, "not stated; take the report for lost"),
            Refusal.UNAUTHENTICATED: Told(None, "not stated; take the report for lost"),
            Refusal.UNSUITABLE: Told(None, "not stated; take the report for lost"),
            Refusal.RATE_LIMITED: Told(503, "not stated; if anything is sent again, it is a 5xx"),
            Refusal.OUTAGE: Told(None, "not stated; take the report for lost and reconcile"),
        },
        within="not stated",
        resends="not stated",
        order_field="`orderID`",
        event_id="derived: `orderID` and `state`; of what is noted also `driverETA`, `code` and `message`",
        times="none: marked missing",
        facts=(
            "[O] grab/grabfood-api-sdk-java, api/openapi.yaml: fields and states; the access token that Grab fetches",
            "[I] integrators' code: PUT /order/state and POST /oauth/token below one base URL",
            "[D] the event id; FAILED is noted",
        ),
    )

    def parse(self, inbound: Inbound, source: Source) -> Meaning:  # noqa: ARG002 - part of the port
        """One event."""
        body = read_model(_Body, read_object(inbound.raw))
        state = body.state.strip().upper()
        eta, message = _seconds(body.driver_eta), words(body.message)
        status = _STATUSES.get(state)
        if status is not None:
            event: Any = StatusEvent(status=status, occurred_us=None, occurred_mark=NO_TIME[1], comment=message)
            event_id = derive_fact_id(self.name, body.order_id, state)
        else:
            said = [*([] if eta is None else [f"driver in {eta} s"]), *([] if message is None else [message])]
            event = fact(state, NO_TIME, words("; ".join(said)))
            event_id = derive_fact_id(self.name, body.order_id, state, eta, words(body.code), message)
        return Parsed((ParsedEvent(body.order_id, event_id, event, store=body.merchant_id),))

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:  # noqa: ARG002 - writes no times
        """Accepted to delivered: a driver is replaced, a state comes twice, and one comes too late."""

        def message(state: str, says: str, **more: Any) -> Message:
            body = {"merchantID": store, "orderID": order_id, "state": state, "code": state, "message": "", **more}
            return Message(says, body, {}, ORDER_STATE)

        accepted = message("ACCEPTED", "accepted")
        return (
            message("DRIVER_ALLOCATED", "a driver, before the acceptance is heard of: noted", driverETA=600),
            accepted,
            accepted,
            message("DRIVER_ALLOCATED", "another driver: noted", driverETA=420),
            message("COLLECTED", "collected"),
            message("DRIVER_ARRIVED", "the driver was at the restaurant, overtaken: noted"),
            message("DELIVERED", "delivered"),
        )

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """The secret, which stands for an access token."""
        return Outgoing(body, token_headers(signing))


def _seconds(value: object) -> int | None:
    """A driver's ETA; None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6 else None


DIALECT = GrabFood()
