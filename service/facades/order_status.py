"""The order-status API: GET and PUT /order/{orderId}/status, as its document has them.

A PUT is a webhook in other words. It goes through the same door into the same log and is judged by the same state
machine, with a hold of 0: an order that is unknown, or not the caller's, is a 404 at once. The caller waits for the
verdict a moment: 204 when the order is (or was) in that status, 400 with the reason when the move is rejected, and 202
when the verdict is not there in time. The format has no event id. With `updatedAt` it is derived from the content, so
a call that is sent again is the same event and gets the same answer; without, the lifecycle finds the repeat.

Tokens come from `order_status_tokens`; a source's own bearer token works as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from backbone.store.readings import LastStep, Readings, ReceiptView
from schemas.errors import MalformedEvent, NotFound, StoreUnavailable
from schemas.events import StatusEvent
from schemas.statuses import OrderStatus
from schemas.times import rfc3339_micros
from schemas.verdicts import Reason, ReceiptState, Verdict
from service.access import Access
from service.bodies.documents import read_object
from service.bodies.validation import read_model
from service.dialects.event_ids import derive_event_id, random_event_id
from service.dialects.native import ClaimedTime
from service.dialects.port import ParsedEvent
from service.dialects.times import NO_TIME
from service.facades.lookup import NO_SUCH_ORDER, OrderLookup, path_id
from service.facades.mounting import Route
from service.facades.order_status_errors import failure_array, rejection, unauthorized
from service.facades.order_status_tokens import IssuedTokens
from service.failures import Failure
from service.ingress.door import Door
from service.ingress.refusals import Why
from service.queries.reads import json_answer
from service.verdicts.desk import Published, VerdictDesk

STATUS_PATH = "/order/{orderId:[^/]*}/status"
CONTENT_TYPES = frozenset({"application/json", "application/vnd.eats.order.status.v1+json"})
LONGEST_COMMENT = 500
_MOVED_ON = frozenset({Reason.ILLEGAL_TRANSITION, Reason.ORDER_CLOSED})
_ANSWERED = frozenset({ReceiptState.FINAL, ReceiptState.HELD})
"""Held: either the same fact waits for its order since the native API took it, and to this one that order is not there;
or the order is the caller's and the change waits for something else, which may take longer than anybody calls.
"""


class PutStatus(StrEnum):
    """What a PUT may set; the other statuses are the restaurant's."""

    CANCELLED = "CANCELLED"
    TAKEN_BY_COURIER = "TAKEN_BY_COURIER"
    DELIVERED = "DELIVERED"


class OrderStatusPut(BaseModel):
    """The body of a PUT. Unknown fields are ignored; null is the same as leaving an optional field out."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    status: PutStatus
    attributes: Annotated[tuple[Annotated[str, Field(max_length=200)], ...] | None, Field(max_length=100)] = None
    comment: Annotated[str, Field(max_length=LONGEST_COMMENT)] | None = None
    reason: Annotated[str, Field(max_length=500)] | None = None
    updated_at: ClaimedTime | None = Field(default=None, alias="updatedAt")

    @field_validator("reason")
    @classmethod
    def _reason_is_of_a_cancellation(cls, reason: str | None, info: ValidationInfo) -> str | None:
        # A status that is wrong itself is not in the data, and is told alone.
        if reason and info.data.get("status", PutStatus.CANCELLED) is not PutStatus.CANCELLED:
            raise ValueError("is sent with the status CANCELLED only")
        return reason


class OrderStatusApi:
    """The facade. One per application. `wait_s` is how long a PUT waits for its verdict."""

    name = "order-status"

    def __init__(
        self,
        *,
        access: Access,
        door: Door,
        desk: VerdictDesk,
        lookup: OrderLookup,
        readings: Readings,
        tokens: IssuedTokens,
        wait_s: float,
    ) -> None:
        self._access = access
        self._door = door
        self._desk = desk
        self._lookup = lookup
        self._readings = readings
        self._tokens = tokens
        self._wait_s = wait_s

    def routes(self) -> Sequence[Route]:
        """Reading and setting a status."""
        return (Route("GET", STATUS_PATH, self.get_status), Route("PUT", STATUS_PATH, self.put_status))

    def fail(self, failure: Failure, request_id: str) -> web.Response:
        """401 (an access token, which speaks for no source, too) has a shape of its own, the rest is an array."""
        del request_id
        return unauthorized(failure) if failure.status in (401, 403) else failure_array(failure)

    async def get_status(self, request: web.Request) -> web.Response:
        """The order's status. Raises NotAuthenticated, NotFound, RateLimited, StoreUnavailable."""
        sight = await self._access.sight(request, self._tokens.source_of)
        view = await self._lookup.seen(request, sight, request.match_info["orderId"])
        step = await self._readings.last_step(view.order_id)
        if step is None:
            raise NotFound(NO_SUCH_ORDER)
        return json_answer(status_document(step))

    async def put_status(self, request: web.Request) -> web.Response:
        """Sets a status. Raises what the door and the log raise; nothing once the event is stored."""
        published, event = await self._publish(request)
        view = await self._desk.verdict(published, until=_ANSWERED)
        if view is None or (view.state == ReceiptState.HELD and not view.foreign):
            return web.Response(status=202)
        try:
            sent_again = await self._is_sent_again(published, event, view)
        except StoreUnavailable:
            return web.Response(status=202)
        return web.Response(status=204) if sent_again else _answer_of(view)

    async def _is_sent_again(self, published: Published, event: StatusEvent, view: ReceiptView) -> bool:
        """Whether a refused call without a time may be one whose answer was lost: this source has reported the status
        before, and was taken then. The order moved on meanwhile, so the lifecycle refuses the second report; the caller
        is told what it would have been told the first time. Raises StoreUnavailable.
        """
        if view.reason not in _MOVED_ON or event.occurred_us is not None:
            return False
        taken = published.taken
        return await self._readings.has_reported(taken.order_id, event.status, published.source.uid)

    async def _publish(self, request: web.Request) -> tuple[Published, StatusEvent]:
        with self._door.room(request, None):
            raw = await self._door.read(request, None)
            source = await self._access.speaking_source(request, self._tokens.source_of)
            self._door.check_opened(request, source)
            self._door.limit(request, source)
            self._door.check_type(request, source, CONTENT_TYPES.__contains__)
            order_id = path_id(request.match_info["orderId"])
            try:
                parsed, event = read_put(raw, order_id)
            except MalformedEvent:
                self._door.count_refusal(request, source.name, Why.MALFORMED)
                raise
            at_once = replace(source, hold_ms=0, ahead_hold_ms=0)
            published = await self._desk.publish(request, at_once, parsed, raw, seconds=self._wait_s)
            return published, event


def read_put(raw: bytes, order_id: str) -> tuple[ParsedEvent, StatusEvent]:
    """The event of a PUT's body, with its id and without. Raises MalformedEvent."""
    body = read_model(OrderStatusPut, read_object(raw))
    occurred_us, mark = body.updated_at or NO_TIME
    event = StatusEvent(
        status=OrderStatus(body.status.value),
        reason=body.reason or None,
        attributes=body.attributes or (),
        occurred_us=occurred_us,
        occurred_mark=mark,
        comment=body.comment,
    )
    event_id = random_event_id() if occurred_us is None else derive_event_id(order_id, event)
    return ParsedEvent(order_id, event_id, event), event


def status_document(step: LastStep) -> dict[str, Any]:
    """The body of a GET. Without a comment the member is left out: the document has no null there."""
    moment = step.received_ms * 1000 if step.occurred_us is None else step.occurred_us
    document = {"status": step.status, "updatedAt": f"{rfc3339_micros(moment).removesuffix('Z')}+00:00"}
    if step.comment is not None:
        document["comment"] = step.comment[:LONGEST_COMMENT]
    return document


def _answer_of(view: ReceiptView) -> web.Response:
    """204 for all that leaves the order in (or past) that status; only a rejection is an error."""
    if view.state == ReceiptState.HELD:
        return rejection(Reason.ORDER_NOT_FOUND)
    return rejection(view.reason) if view.verdict == Verdict.REJECTED else web.Response(status=204)
