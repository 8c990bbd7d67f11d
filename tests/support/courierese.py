"""An example dialect, as a partner with habits of its own would need it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from backbone.store.sources import Source
from schemas.errors import LogUnavailable, MalformedEvent, MealtrailError, NotAuthenticated, RequestRefused
from schemas.events import FactEvent, StatusEvent
from schemas.statuses import OrderStatus
from service.bodies.documents import read_document
from service.dialects.bearer import verify_token
from service.dialects.native import DIALECT as NATIVE
from service.dialects.port import Answer, Inbound, Parsed, ParsedEvent, Taken
from service.failures import Failure


class Courierese:
    """A partner that sends lists of orders, wants 200, understands refusals as {"reason"} and outages as plain text.

    The first event of a list is an ETA, the others are deliveries; an object in the list has a remark.
    """

    name = "courierese"
    profile = replace(NATIVE.profile, name="courierese")
    expects = "a courier's list, sent as text/x-courier"

    def authenticate(self, inbound: Inbound, source: Source) -> None:
        """By bearer token."""
        verify_token(inbound.headers, source.token_hashes)

    def takes(self, content_type: str) -> bool:
        """Its own type."""
        return content_type == "text/x-courier"

    def parse(self, inbound: Inbound, source: Source) -> Parsed:  # noqa: ARG002 - part of the port
        """One event a list item."""
        items = read_document(inbound.raw)
        if not isinstance(items, list):
            raise MalformedEvent("a list, please")
        events: list[ParsedEvent] = []
        order_id: Any
        for number, item in enumerate(items):
            order_id, remark = (item.get("id"), item.get("remark")) if isinstance(item, dict) else (item, None)
            event = StatusEvent(status=OrderStatus.DELIVERED, comment=remark) if number else FactEvent(code="eta")
            events.append(ParsedEvent(order_id, f"e{number}", event))
        return Parsed(tuple(events))

    def answer(self, taken: Sequence[Taken], location: str) -> Answer:  # noqa: ARG002 - part of the port
        """All receipts at once."""
        return Answer(200, {"ok": [one.receipt_id for one in taken]})

    def answer_refusal(self, error: MealtrailError) -> Answer | None:
        """In its own shape; too fast is left to the house."""
        if isinstance(error, NotAuthenticated):
            return Answer(401, {"reason": "token"})
        if isinstance(error, LogUnavailable):
            return Answer(500, "again", {"Retry-After": "1"}, content_type="text/plain; charset=utf-8")
        return Answer(error.status, {"reason": error.detail}) if isinstance(error, RequestRefused) else None

    def answer_failure(self, failure: Failure) -> Answer:
        """In its own shape."""
        return Answer(failure.status, {"reason": failure.detail}, failure.headers)
