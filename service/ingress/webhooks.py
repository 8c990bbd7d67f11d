"""POST /v1/webhooks/{source}: door, dialect, log, 202."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web
from pydantic import ValidationError

from backbone.store.sources import Source
from schemas.errors import MalformedEvent, MealtrailError
from service.dialects.port import Dialect, Inbound, ParsedEvent
from service.dialects.registry import NATIVE
from service.ingress.documents import MOST_EVENTS
from service.ingress.door import Door
from service.ingress.publishing import Publisher
from service.ingress.refusals import Why
from service.ingress.validation import malformed
from service.ingress.verdict_answers import answer_published, render, wait_of
from service.request_notes import notes_of
from service.verdicts.desk import Published, VerdictDesk


class Webhooks:
    """The handler. One per application."""

    def __init__(self, door: Door, publisher: Publisher, desk: VerdictDesk) -> None:
        self._door = door
        self._publisher = publisher
        self._desk = desk

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
        published = await self._publish(request, name)
        if isinstance(published, web.Response):
            return published
        taken = [published.taken]
        return await answer_published(self._desk, published, NATIVE.answer(taken, self._publisher.location(taken[0])))

    async def _publish(self, request: web.Request, name: str) -> Published | web.Response:
        """What was published, where a verdict may be waited for: one event, in the native format. Other partners'
        formats have no words for a verdict; they get the answer that their dialect gives.
        """
        with self._door.room(request, name):
            raw = await self._door.read(request, name)
            source, dialect, inbound = await self._door.authenticate(request, name, raw)
            events = self._accept(request, source, dialect, inbound)
            if dialect is NATIVE and len(events) == 1:
                return await self._desk.publish(request, source, events[0], raw, seconds=wait_of(request))
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
