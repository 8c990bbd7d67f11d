"""The native format: one status of one order a request, as the order-status specification writes it, plus `order_id`.

{"order_id","status","occurred_at"?,"comment"?<=500,"reason"?,"attributes"?:[],"event_id"?}; `updatedAt` is taken for
`occurred_at`. Fields that we do not know are ignored, so that a partner may send its own bodies as they are.

The event id is the `webhook-id` header, else `event_id`, else derived from the content and its time. With neither id
nor time two equal reports may be two facts, so the id is random and the lifecycle tells them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from multidict import CIMultiDictProxy
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PlainValidator

from backbone.store.sources import Source
from schemas.errors import MalformedEvent, MealtrailError, NotAuthenticated
from schemas.events import Attribute, Comment, Identifier, StatusEvent
from schemas.identifiers import normalise_id
from schemas.refusals import Why
from schemas.statuses import OrderStatus, Role
from schemas.times import TimeMark
from service.bodies.documents import is_json, read_object
from service.bodies.validation import read_model
from service.dialects.bearer import verify_token
from service.dialects.event_ids import derive_event_id, random_event_id
from service.dialects.port import Answer, Inbound, Parsed, ParsedEvent, Taken
from service.dialects.profile import Profile, Refusal, Told
from service.dialects.standard_webhooks import ID_HEADER, verify_signature
from service.dialects.times import NO_TIME, read_time
from service.failures import Failure


def _read_claim(value: object) -> tuple[int, TimeMark | None]:
    if not isinstance(value, str):
        raise ValueError("must be an RFC 3339 date-time")  # noqa: TRY004 - pydantic turns ValueError into a field error
    return read_time(value)


ClaimedTime = Annotated[tuple[int, TimeMark | None], PlainValidator(_read_claim)]
"""An RFC 3339 time in a body; in the model it is microseconds and mark, as `read_time` gives them."""
_MOST_ATTRIBUTES = 100


class NativeBody(BaseModel):
    """The body. Optional fields may be null, which is the same as leaving them out."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    order_id: Identifier
    status: OrderStatus
    occurred_at: ClaimedTime | None = None
    updated_at: ClaimedTime | None = Field(default=None, validation_alias=AliasChoices("updatedAt"))
    comment: Comment | None = None
    reason: Comment | None = None
    attributes: Annotated[tuple[Attribute, ...] | None, Field(max_length=_MOST_ATTRIBUTES)] = None
    event_id: Identifier | None = None


class NativeDialect:
    """The native dialect; also what strangers are measured against."""

    name = "native"
    profile = Profile(
        name="native",
        title="mealtrail's own",
        roles=(Role.RESTAURANT, Role.COURIER, Role.MARKETPLACE, Role.PLATFORM),
        schemes=("standard-webhooks", "bearer"),
        reads_zone=False,
        proof="Standard Webhooks, or a bearer token",
        success_status=202,
        success_body={"event_id": "…", "receipt_id": "…"},
        refusals={
            Refusal.MALFORMED: Told(None, "a mistake to be put right; nothing was stored"),
            Refusal.UNAUTHENTICATED: Told(None, "send again once the credential is right"),
            Refusal.UNSUITABLE: Told(None, "a mistake to be put right; nothing was stored"),
            Refusal.RATE_LIMITED: Told(None, "send again after `Retry-After`"),
            Refusal.OUTAGE: Told(None, "unknown: send again, unchanged, after `Retry-After`"),
        },
        within="as the sender likes; `Prefer: wait=N` asks for the verdict",
        resends="the sender's matter; a repeat is safe",
        order_field="`order_id`",
        event_id="`webhook-id`, else `event_id`, else derived from the content and its time",
        times="`occurred_at` or `updatedAt`, RFC 3339",
    )
    expects = "JSON, sent as application/json"

    def authenticate(self, inbound: Inbound, source: Source) -> None:
        """By the source's scheme: a Standard Webhooks signature or a bearer token."""
        match source.auth:
            case "standard-webhooks":
                verify_signature(inbound.headers, inbound.raw, source.secrets, now_ms=inbound.now_ms)
            case "bearer":
                verify_token(inbound.headers, source.token_hashes)
            case _:  # a source that a newer release made
                raise NotAuthenticated(Why.UNKNOWN_SCHEME)

    def takes(self, content_type: str) -> bool:
        """JSON, under its own name or as the base of another (`+json`)."""
        return is_json(content_type)

    def parse(self, inbound: Inbound, source: Source) -> Parsed:  # noqa: ARG002 - part of the port
        """The one event of the body."""
        header_id = header_event_id(inbound.headers)
        body = read_model(NativeBody, read_object(inbound.raw))
        occurred_us, mark = body.occurred_at or body.updated_at or NO_TIME
        event = StatusEvent(
            status=body.status,
            reason=body.reason,
            attributes=body.attributes or (),
            occurred_us=occurred_us,
            occurred_mark=mark,
            comment=body.comment,
        )
        event_id = header_id or body.event_id
        if event_id is None:
            event_id = random_event_id() if occurred_us is None else derive_event_id(body.order_id, event)
        return Parsed((ParsedEvent(body.order_id, event_id, event),))

    def answer(self, taken: Sequence[Taken], location: str) -> Answer:
        """202 with the receipt's id and address."""
        first = taken[0]
        return Answer(202, {"event_id": first.event_id, "receipt_id": first.receipt_id}, {"Location": location})

    def answer_refusal(self, error: MealtrailError) -> None:  # noqa: ARG002 - part of the port
        """Leaves every refusal to problem+json."""
        return

    def answer_failure(self, failure: Failure) -> None:  # noqa: ARG002 - part of the port
        """Leaves every failure to problem+json."""
        return


def header_event_id(headers: CIMultiDictProxy[str]) -> str | None:
    """The `webhook-id` header as an event id; None without one. Raises MalformedEvent where it cannot be an id."""
    given = headers.getall(ID_HEADER, [])
    if not given:
        return None
    try:
        if len(given) > 1:
            raise ValueError("must be sent once")  # noqa: TRY301 - one place makes the refusal
        return normalise_id(given[0])
    except ValueError as error:
        raise MalformedEvent("The event id cannot be used.", errors=((ID_HEADER, str(error)),)) from error


DIALECT = NativeDialect()
