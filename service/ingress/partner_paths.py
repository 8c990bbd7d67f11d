"""The paths that dialects declare below a source's webhook URL, mounted under /v1/webhooks/{source}.

The path alone says whose it is: `PUT …/order/1/status` is answered in the words of the dialect that declares it, to
everybody and for every name, so that no answer tells a stranger whether there is such a source or what it speaks. Only
a proved source learns more: that its own dialect has no such path (404), or another method there (405).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiohttp import web

from schemas.errors import MealtrailError
from service.dialects.endpoints import Endpoint, TokenGrant, overlap
from service.dialects.port import Answer, Dialect
from service.dialects.registry import DIALECTS
from service.facades.mounting import Handler, Route, mount
from service.failures import Failure
from service.ingress.body import expect_body
from service.ingress.token_endpoint import SourceTokens
from service.ingress.verdict_answers import render
from service.ingress.webhooks import Webhooks
from service.problems import problem_of
from service.request_notes import notes_of

BASE: Final = "/v1/webhooks/{source}"


def mount_webhooks(app: web.Application, webhooks: Webhooks, tokens: SourceTokens) -> None:
    """Routes the webhook URL itself, every dialect's paths below it, and whatever else is tried there.

    Raises RuntimeError where two dialects declare paths that one request could fit.
    """
    # The URL itself comes first: a request is held against the paths in their order, and nearly all are for this one.
    for method in sorted({"POST"} | {one.method for dialect in DIALECTS.values() for one in _at_the_url(dialect)}):
        app.router.add_route(method, BASE, webhooks.take, expect_handler=expect_body)
    taken: list[tuple[str, str]] = []
    for dialect in DIALECTS.values():
        paths = PartnerPaths(dialect, webhooks, tokens)
        for path in paths.declared:
            for other, whose in taken:
                if overlap(path, other):
                    raise RuntimeError(f"{dialect.name} and {whose} both declare {path}")
            taken.append((path, dialect.name))
        if paths.declared:
            mount(app, paths, BASE)
    app.router.add_route("*", BASE + "/{below:.+}", webhooks.nowhere, expect_handler=expect_body)


def _at_the_url(dialect: Dialect) -> list[Endpoint]:
    return [endpoint for endpoint in dialect.profile.endpoints if not endpoint.path]


class PartnerPaths:
    """One dialect's paths, as a facade."""

    def __init__(self, dialect: Dialect, webhooks: Webhooks, tokens: SourceTokens) -> None:
        self._dialect = dialect
        self._webhooks = webhooks
        self._tokens = tokens
        self._grant = dialect.profile.token
        self.name = dialect.name

    @property
    def declared(self) -> tuple[str, ...]:
        """Its paths below the webhook URL, each once."""
        grant = () if self._grant is None else (self._grant.path,)
        return tuple(dict.fromkeys([*(one.path for one in self._dialect.profile.endpoints if one.path), *grant]))

    def routes(self) -> Sequence[Route]:
        """Each path takes any method at first: who asks comes before what is asked."""
        return [Route("*", path.replace("}", ":[^/]*}"), self._handler(path)) for path in self.declared]

    def fail(self, failure: Failure, request_id: str) -> web.Response:
        """In the dialect's words."""
        answer = self._dialect.answer_failure(failure)
        return problem_of(failure, request_id) if answer is None else render(answer)

    def _handler(self, path: str) -> Handler:
        grant = self._grant
        if grant is not None and path == grant.path:

            async def issue(request: web.Request) -> web.Response:
                return await self._issue(request, grant)

            return issue

        async def take(request: web.Request) -> web.Response:
            try:
                return await self._webhooks.take_at(request, path)
            except MealtrailError as error:
                return self._told(request, error)

        return take

    async def _issue(self, request: web.Request, grant: TokenGrant) -> web.Response:
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        try:
            issued = await self._tokens.post(request, self._dialect, grant)
        except MealtrailError as error:
            return self._told(request, error)
        if isinstance(issued, Answer):
            return render(issued)
        notes = notes_of(request)
        notes.refusal = notes.refusal or issued.code
        return self.fail(issued, notes.request_id)

    def _told(self, request: web.Request, error: MealtrailError) -> web.Response:
        """A refusal with the status that the partner needs; raised again, for the edge, where that is our own."""
        answer = self._dialect.answer_refusal(error)
        if answer is None:
            raise error
        notes = notes_of(request)
        notes.refusal = notes.refusal or error.code
        return render(answer)
