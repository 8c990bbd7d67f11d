"""iFood (Brazil): one code of one order a request, and a keep-alive every so often for as long as the store is online.

{"id","code","fullCode","orderId","merchantId","createdAt",…}; `code` is the short form, `fullCode` (in one of its pages
`fullcode`) the long one; either is enough. The signature is hex HMAC-SHA256 of the raw body under the client secret.
iFood sends badly signed events on purpose while it accepts an integration. What it does not know how to name it adds
later: unknown codes have to be taken. CAR is a customer's *request* to cancel; only CAN is a cancellation.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backbone.store.sources import Source
from schemas.errors import MalformedEvent
from schemas.events import Identifier
from schemas.statuses import OrderStatus, Role
from service.bodies.documents import read_object
from service.bodies.validation import read_model
from service.dialects.days import Message, Outgoing, Signing, day_id, hmac_text
from service.dialects.hmac_signatures import verify_hmac_header
from service.dialects.optional_ids import OptionalId
from service.dialects.partner import PartnerDialect, report
from service.dialects.port import AnswerOnly, Inbound, Meaning, Parsed, ParsedEvent
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.times import claimed_time

SIGNATURE_HEADER = "X-IFood-Signature"
_LONG = MappingProxyType(
    {
        "PLACED": "PLC",
        "CONFIRMED": "CFM",
        "SEPARATION_STARTED": "SPS",
        "PREPARATION_STARTED": "PRS",
        "SEPARATION_ENDED": "SPE",
        "READY_TO_PICKUP": "RTP",
        "DISPATCHED": "DSP",
        "CONCLUDED": "CON",
        "CANCELLED": "CAN",
        "CANCELLATION_REQUESTED": "CAR",
        "KEEPALIVE": "KEEPALIVE",
    }
)
_STATUSES = MappingProxyType(
    {
        "PLC": OrderStatus.NEW,
        "CFM": OrderStatus.ACCEPTED_BY_RESTAURANT,
        "SPS": OrderStatus.COOKING,
        "PRS": OrderStatus.COOKING,
        "SPE": OrderStatus.READY,
        "RTP": OrderStatus.READY,
        "DSP": OrderStatus.TAKEN_BY_COURIER,
        "CON": OrderStatus.DELIVERED,
        "CAN": OrderStatus.CANCELLED,
    }
)
_KEEP_ALIVE = "KEEPALIVE"


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Identifier
    order_id: Identifier = Field(validation_alias="orderId")
    merchant_id: OptionalId = Field(default=None, validation_alias="merchantId")
    created_at: Any = Field(default=None, validation_alias="createdAt")


class IFood(PartnerDialect):
    """The iFood webhook."""

    profile = Profile(
        name="ifood",
        title="iFood",
        roles=(Role.MARKETPLACE,),
        schemes=("signature",),
        proof=f"`{SIGNATURE_HEADER}`: hex HMAC-SHA256 of the raw body under the client secret",
        needs=frozenset({"secret"}),
        success_status=202,
        refusals={
            Refusal.MALFORMED: Told(None, "the event is lost: only 5xx is sent again"),
            Refusal.UNAUTHENTICATED: Told(
                None, "the event is lost; of the badly signed ones that it sends on purpose this is wanted"
            ),
            Refusal.UNSUITABLE: Told(None, "the event is lost"),
            Refusal.RATE_LIMITED: Told(503, "sent again; a 429 would lose the event"),
            Refusal.OUTAGE: Told(None, "sent again"),
        },
        within="5 s",
        resends="5xx and time-outs, for 15 minutes",
        order_field="`orderId`",
        event_id="`id`",
        times="`createdAt`, RFC 3339 with up to 9 digits",
        facts=(
            "[O] developer.ifood.com.br, webhook: signature, test vector, 202 within 5 s, 15 minutes of retries",
            "[O] the same, order events: PLC CFM SPS SPE RTP, KEEPALIVE, unknown codes to be expected",
            "[I] DSP, CON, CAN, CAR, PRS: integrators' code",
        ),
    )

    def verify_signature(self, inbound: Inbound, source: Source) -> None:
        """Hex, over the raw body."""
        verify_hmac_header(inbound.headers, SIGNATURE_HEADER, (inbound.raw,), source.secrets)

    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """One event; a keep-alive names no order and is answered."""
        document = read_object(inbound.raw)
        code = _code(document)
        if code == _KEEP_ALIVE:
            return AnswerOnly(self.success())
        body = read_model(_Body, document)
        occurred = claimed_time(body.created_at, "createdAt", source.zone, unreadable="missing")
        event = report(_STATUSES.get(code), code, occurred)
        return Parsed((ParsedEvent(body.order_id, body.id, event, store=body.merchant_id),))

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:
        """Placed to concluded. The confirmation comes twice, dispatch overtakes ready, and a request to cancel is
        turned down by the store.
        """

        def message(minute: int, code: str, full: str, says: str) -> Message:
            at = start + timedelta(minutes=minute)
            body = {
                "id": day_id(order_id, code),
                "code": code,
                "fullCode": full,
                "orderId": order_id,
                "merchantId": store,
                "createdAt": at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "02Z",
            }
            return Message(says, body)

        keep_alive = Message("keep-alive", {"id": day_id(order_id, "ka"), "code": "KEEPALIVE", "fullCode": "KEEPALIVE"})
        confirmed = message(1, "CFM", "CONFIRMED", "the store confirmed")
        return (
            keep_alive,
            message(0, "PLC", "PLACED", "placed: announces the order"),
            confirmed,
            confirmed,
            message(2, "SPS", "SEPARATION_STARTED", "separation started"),
            message(3, "CAR", "CANCELLATION_REQUESTED", "the customer asks to cancel: noted, no cancellation"),
            message(16, "DSP", "DISPATCHED", "dispatched, before the store is heard of again"),
            message(15, "RTP", "READY_TO_PICKUP", "ready, overtaken on its way"),
            keep_alive,
            message(40, "CON", "CONCLUDED", "concluded"),
        )

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """X-IFood-Signature."""
        return Outgoing(body, {SIGNATURE_HEADER: hmac_text(signing.secret, body)})


def _code(document: dict[str, Any]) -> str:
    """The short code: as given, or from the long one; the long one itself where nobody here knows it."""
    code = document.get("code")
    full = document.get("fullCode") or document.get("fullcode")
    given = full if code is None or code == "" else code
    if not isinstance(given, str) or not given.strip():
        raise MalformedEvent("The body does not have the expected form: code.", errors=(("code", "must be text"),))
    given = given.strip().upper()
    return _LONG.get(given, given)


DIALECT = IFood()
