"""POST /v1/webhooks/{source}, and what partners call below it: door, dialect, log, 202."""

from __future__ import annotations

from aiohttp import web
from pydantic import ValidationError

from backbone.store.sources import Source
from schemas.errors import MalformedEvent, MealtrailError
from service.bodies.validation import malformed
from service.dialects.port import MOST_EVENTS, AnswerOnly, Dialect, Inbound, Meaning, Parsed
from service.dialects.registry import NATIVE
from service.failures import failure_of
from service.ingress.door import Called, Door
from service.ingress.identity import identify, identify_position
from service.ingress.positions import PositionRecorder
from service.ingress.publishing import Publisher
from service.ingress.refusals import Why
from service.ingress.verdict_answers import answer_published, render, wait_of
from service.request_notes import notes_of
from service.verdicts.desk import Published, VerdictDesk


class Webhooks:
    """The handler. One per application."""

    def __init__(self, door: Door, publisher: Publisher, desk: VerdictDesk, positions: PositionRecorder) -> None:
        self._door = door
        self._publisher = publisher
        self._desk = desk
        self._positions = positions

    async def take(self, request: web.Request) -> web.Response:
        """A request on the webhook URL itself. Answers only when the events lie in the log.

        Refusals and outages are answered in the words of the source's dialect; what it leaves, and what a stranger
        gets, is raised for the edge to make a problem of.
        """
        name = request.match_info["source"]
        try:
            return await self._take(request, name, Called())
        except MealtrailError as error:
            answer = self._door.dialect_of(name).answer_refusal(error)
            if answer is None:
                raise
            notes = notes_of(request)
            notes.refusal = notes.refusal or error.code
            return render(answer)

    async def take_at(self, request: web.Request, path: str) -> web.Response:
        """A request on a path that some dialect declares below the webhook URL. Raises what the door and the log raise,
        HTTPNotFound for a source of another dialect, HTTPMethodNotAllowed.
        """
        variables = {name: text for name, text in request.match_info.items() if name != "source"}
        return await self._take(request, request.match_info["source"], Called(path, variables))

    async def nowhere(self, request: web.Request) -> web.Response:
        """A request below the webhook URL on a path that nobody declares: the constant 401 for a stranger, as
        everywhere, and a 404 in its own words for a source.
        """
        name = request.match_info["source"]
        with self._door.room(request, name):
            raw = await self._door.read(request, name)
            source, dialect, _ = await self._door.authenticate(request, name, raw, Called())
        self._door.limit(request, source)
        return _answer_http(request, dialect, web.HTTPNotFound())

    async def _take(self, request: web.Request, name: str, called: Called) -> web.Response:
        published = await self._publish(request, name, called)
        if not isinstance(published, Published):
            return published
        taken = [published.taken]
        return await answer_published(self._desk, published, NATIVE.answer(taken, self._publisher.location(taken[0])))

    async def _publish(self, request: web.Request, name: str, called: Called) -> Published | web.Response:
        """What was published, where a verdict may be waited for: one event, in the native format. Other partners'
        formats have no words for a verdict; they get the answer that their dialect gives.
        """
        with self._door.room(request, name):
            raw = await self._door.read(request, name)
            source, dialect, inbound = await self._door.authenticate(request, name, raw, called)
            self._door.limit(request, source)
            unserved = _unserved(request, dialect, called)
            if unserved is not None and called.path:
                raise unserved  # told in the words that go with the path
            if unserved is not None:
                return _answer_http(request, dialect, unserved)
            said = self._accept(request, source, dialect, inbound)
            if isinstance(said, AnswerOnly):
                return render(said.answer)
            if dialect is NATIVE and len(said.events) == 1:
                return await self._desk.publish(request, source, said.events[0], raw, seconds=wait_of(request))
            taken = await self._publisher.publish(request, source, said.events, raw) if said.events else []
            self._positions.record(source, said.positions)
            return render(dialect.answer(taken, self._publisher.location(taken[0]) if taken else ""))

    def _accept(self, request: web.Request, source: Source, dialect: Dialect, inbound: Inbound) -> Meaning:
        self._door.check_type(request, source, dialect.takes, dialect.expects)
        try:
            return _read(dialect, inbound, source)
        except MalformedEvent:
            self._door.count_refusal(request, source.name, Why.MALFORMED)
            raise


def _unserved(request: web.Request, dialect: Dialect, called: Called) -> web.HTTPException | None:
    """Why the proved source's dialect does not take this call; None where it does."""
    methods = [one.method for one in dialect.profile.endpoints if one.path == called.path]
    if not methods:
        return web.HTTPNotFound()
    return None if request.method in methods else web.HTTPMethodNotAllowed(request.method, methods)


def _answer_http(request: web.Request, dialect: Dialect, error: web.HTTPException) -> web.Response:
    """What the edge would answer, in the words of a dialect that it cannot know; raised for it where there are none."""
    failure = failure_of(error)
    answer = dialect.answer_failure(failure)
    if answer is None:
        raise error
    notes = notes_of(request)
    notes.refusal = notes.refusal or failure.code
    return render(answer)


def _read(dialect: Dialect, inbound: Inbound, source: Source) -> Meaning:
    """What the request says, in our own ids. Raises MalformedEvent."""
    try:
        said = dialect.parse(inbound, source)
        if isinstance(said, AnswerOnly):
            return said
        said = Parsed(
            tuple([identify(event, source) for event in said.events]),
            tuple([identify_position(position, source) for position in said.positions]),
        )
    except ValidationError as error:
        raise malformed(error) from error
    return _counted(said)


def _counted(said: Parsed) -> Parsed:
    if len(said.events) > MOST_EVENTS or not (said.events or said.positions):
        raise MalformedEvent(f"A request carries 1 to {MOST_EVENTS} events, this one has {len(said.events)}.")
    return said
