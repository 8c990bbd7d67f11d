"""POST /v1/orders and PATCH /v1/orders/{order_id}: announcing and amending, through the same door and log.

A bearer token says which source speaks. Whether its role may do so is not decided here but by the lifecycle, like
everything about an order; the receipt tells.
"""

from __future__ import annotations

from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, model_validator

from backbone.store.sources import Source
from schemas.details import OrderDetails
from schemas.errors import MalformedEvent
from schemas.events import PARTY_SLOTS, Comment, Identifier, OrderAmended, OrderPlaced, PartySlot
from schemas.identifiers import normalise_id
from schemas.statuses import Fulfilment, Role
from schemas.times import TimeMark
from service.access import Access
from service.bodies.documents import is_json, read_object
from service.bodies.validation import read_model
from service.dialects.event_ids import derive_event_id, random_event_id
from service.dialects.native import ClaimedTime
from service.dialects.port import Answer, ParsedEvent
from service.dialects.times import NO_TIME
from service.ingress.door import Door
from service.ingress.identity import identify
from service.ingress.publishing import Publisher
from service.ingress.refusals import Why
from service.ingress.verdict_answers import answer_published, wait_of
from service.verdicts.desk import Published, VerdictDesk

_MOST_EXTERNAL_IDS = 50
ExternalIds = Annotated[tuple[Identifier, ...], Field(max_length=_MOST_EXTERNAL_IDS)]


class Announcement(BaseModel):
    """The body of POST /v1/orders. Unknown fields are ignored at the top; `details` must be as documented."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    order_id: Identifier
    restaurant: Identifier
    courier: Identifier | None = None
    marketplace: Identifier | None = None
    fulfilment: Fulfilment | None = None
    placed_at: ClaimedTime | None = None
    external_ids: ExternalIds | None = None
    details: OrderDetails | None = None
    event_id: Identifier | None = None
    comment: Comment | None = None


class Amendment(BaseModel):
    """The body of PATCH /v1/orders/{order_id}, a merge patch (RFC 7396): null takes a party or a detail off."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    restaurant: Identifier | None = None
    courier: Identifier | None = None
    marketplace: Identifier | None = None
    fulfilment: Fulfilment = Fulfilment.DELIVERY
    external_ids: ExternalIds = ()
    details: OrderDetails = Field(default_factory=OrderDetails)
    event_id: Identifier | None = None
    comment: Comment | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Amendment:
        named = self.model_fields_set & {*PARTY_SLOTS, "fulfilment"}
        if not (named or self.external_ids or self.details.model_fields_set):
            raise ValueError("must change something: a party, fulfilment, external_ids or details")
        return self


class Announcements:
    """The two handlers. One per application."""

    def __init__(self, door: Door, access: Access, publisher: Publisher, desk: VerdictDesk) -> None:
        self._door = door
        self._access = access
        self._publisher = publisher
        self._desk = desk

    async def post(self, request: web.Request) -> web.Response:
        """Announces an order. Without an event id of its own, the same content again is a duplicate."""
        return await self._take(request, None)

    async def patch(self, request: web.Request) -> web.Response:
        """Amends an order. Without an event id, every request is an amendment of its own."""
        return await self._take(request, request.match_info["order_id"])

    async def _take(self, request: web.Request, amended: str | None) -> web.Response:
        published = await self._publish(request, amended)
        body = {"event_id": published.taken.event_id, "receipt_id": published.taken.receipt_id}
        location = self._publisher.location(published.taken)
        return await answer_published(self._desk, published, Answer(202, body, {"Location": location}))

    async def _publish(self, request: web.Request, amended: str | None) -> Published:
        with self._door.room(request, None):
            raw = await self._door.read(request, None)
            source = await self._access.speaking_source(request)
            self._door.check_opened(request, source)
            self._door.limit(request, source)
            self._door.check_type(request, source, is_json)
            try:
                parsed = read_announcement(raw, source) if amended is None else read_amendment(raw, amended, source)
                parsed = identify(parsed, source)
            except MalformedEvent:
                self._door.count_refusal(request, source.name, Why.MALFORMED)
                raise
            return await self._desk.publish(request, source, parsed, raw, seconds=wait_of(request))


def read_announcement(raw: bytes, source: Source) -> ParsedEvent:
    """The announcement of a body. Raises MalformedEvent."""
    body = read_model(Announcement, read_object(raw))
    parties: dict[PartySlot, str] = {}
    for slot in PARTY_SLOTS:
        party = getattr(body, slot)
        if party is not None:
            parties[slot] = party
    if source.role is Role.MARKETPLACE:
        parties["marketplace"] = _own_marketplace(source, parties.get("marketplace"))
    occurred_us, mark = body.placed_at or NO_TIME
    event = OrderPlaced(
        parties=parties,
        fulfilment=body.fulfilment,
        external_ids=body.external_ids or (),
        details=_patch(body.details) if body.details is not None else {},
        occurred_us=occurred_us,
        occurred_mark=mark,
        comment=body.comment,
    )
    return ParsedEvent(body.order_id, body.event_id or derive_event_id(body.order_id, event), event)


def read_amendment(raw: bytes, order_id: str, source: Source) -> ParsedEvent:
    """The amendment of a body. Raises MalformedEvent."""
    try:
        order_id = normalise_id(order_id)
    except ValueError as error:
        raise MalformedEvent("The order id cannot be used.", errors=(("order_id", str(error)),)) from error
    body = read_model(Amendment, read_object(raw))
    given = body.model_fields_set
    parties: dict[PartySlot, str | None] = {slot: getattr(body, slot) for slot in PARTY_SLOTS if slot in given}
    if source.role is Role.MARKETPLACE and parties.get("marketplace") is not None:
        _own_marketplace(source, parties["marketplace"])
    event = OrderAmended(
        parties=parties,
        fulfilment=body.fulfilment if "fulfilment" in given else None,
        external_ids=body.external_ids,
        details=_patch(body.details),
        occurred_mark=TimeMark.MISSING,
        comment=body.comment,
    )
    return ParsedEvent(order_id, body.event_id or random_event_id(), event)


def _patch(details: OrderDetails) -> dict[str, Any]:
    """The members that were given, nulls too, as JSON keeps them."""
    return details.model_dump(mode="json", exclude_unset=True)


def _own_marketplace(source: Source, named: str | None) -> str:
    """A marketplace announces its own orders: the one it names, or the only one it is.

    At the door only, for a refusal that names the field. The rule itself is the lifecycle's (`_offered` in
    `consumers/lifecycle/moves.py`; ADR 0008, item 10) and also holds for announcements by status, which do not come
    this way. What passes here is what that rule would choose.
    """
    if named is None:
        if source.parties is None or len(source.parties) != 1:
            raise _not_its_own("must be named: this source does not speak for exactly one marketplace")
        return source.parties[0]
    if source.parties is not None and named not in source.parties:
        raise _not_its_own("must be a marketplace that this source speaks for")
    return named


def _not_its_own(message: str) -> MalformedEvent:
    return MalformedEvent("The marketplace cannot be taken.", errors=(("marketplace", message),))
