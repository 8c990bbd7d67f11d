"""POST /v1/webhooks/{source}: door, dialect, log, 202."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from aiohttp import web
from pydantic import ValidationError

from backbone.store.sources import Source
from schemas.errors import MalformedEvent, MealtrailError
from service.dialects.native import is_json
from service.dialects.port import Answer, Dialect, Inbound, ParsedEvent
from service.ingress.documents import MOST_EVENTS
from service.ingress.door import Door
from service.ingress.publishing import Publisher
from service.ingress.refusals import Why
from service.ingress.validation import malformed
from service.request_notes import notes_of


class Webhooks:
    """The handler. One per application."""

    def __init__(self, door: Door, publisher: Publisher) -> None:
        self._door = door
        self._publisher = publisher

    async def post(self, request: web.Request) -> web.Response:
        """Answers only when the events lie in the log.

        Refusals and outages are answered in the words of the source's dialect; what it leaves, and what a stranger
        gets, is raised for the edge to make a problem of.
        """
        name = request.match_info["source"]
        try:
            return await self._take(request, name)
        except MealtrailError as error:
            answer = self._door.dialect_of(name).answer_refusal(error)
            if answer is None:
                raise
            notes = notes_of(request)
            notes.refusal = notes.refusal or error.code
            return render(answer)

    async def _take(self, request: web.Request, name: str) -> web.Response:
        with self._door.room(request, name):
            raw = await self._door.read(request, name)
            source, dialect, inbound = await self._door.authenticate(request, name, raw)
            events = self._accept(request, source, dialect, inbound)
            taken = await self._publisher.publish(request, source, events, raw)
            return render(dialect.answer(taken, self._publisher.location(taken[0])))

    def _accept(
        self, request: web.Request, source: Source, dialect: Dialect, inbound: Inbound
    ) -> Sequence[ParsedEvent]:
        self._door.limit(request, source)
        self._door.check_type(request, source, dialect.takes, dialect.expects)
        try:
            return _counted(_parsed(dialect, inbound, source))
        except MalformedEvent:
            self._door.count_refusal(request, source.name, Why.MALFORMED)
            raise


def _parsed(dialect: Dialect, inbound: Inbound, source: Source) -> Sequence[ParsedEvent]:
    try:
        return dialect.parse(inbound, source)
    except ValidationError as error:
        raise malformed(error) from error


def _counted(events: Sequence[ParsedEvent]) -> Sequence[ParsedEvent]:
    if not 1 <= len(events) <= MOST_EVENTS:
        raise MalformedEvent(f"A request carries 1 to {MOST_EVENTS} events, this one has {len(events)}.")
    return events


def render(answer: Answer) -> web.Response:
    """A dialect's answer as a response."""
    if answer.body is None:
        return web.Response(status=answer.status, headers=answer.headers)
    headers = {**answer.headers, "Content-Type": answer.content_type}
    return web.Response(status=answer.status, body=_written(answer), headers=headers)


def _written(answer: Answer) -> bytes:
    if is_json(answer.content_type.partition(";")[0].strip().lower()):
        return orjson.dumps(answer.body)
    if isinstance(answer.body, str):
        return answer.body.encode()
    if isinstance(answer.body, bytes):
        return answer.body
    raise TypeError(f"an answer of {answer.content_type} must be text or bytes, not {type(answer.body).__name__}")
