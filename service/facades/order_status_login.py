"""POST /security/oauth/token: OAuth 2 client credentials (RFC 6749, section 4.4) for the order-status API.

The client id is a source's name, the client secret its bearer secret. What is issued is told in `order_status_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
from aiohttp import web

from backbone.store.secrets import hash_token
from backbone.store.sources import Source
from schemas.errors import NotAuthenticated
from service.bodies.forms import FORM, read_form
from service.credentials import SourceCache
from service.facades.mounting import Route
from service.facades.order_status_errors import Code, error_array, failure_array
from service.facades.order_status_tokens import LIFETIME_S, IssuedTokens
from service.failures import Failure
from service.ingress.door import Door
from service.ingress.refusals import Why

TOKEN_PATH = "/security/oauth/token"  # noqa: S105 - a path
SCOPES = ("read", "write")


class TokenEndpoint:
    """The facade. One per application; mounted beside `OrderStatusApi`."""

    name = "order-status-tokens"

    def __init__(self, door: Door, sources: SourceCache, tokens: IssuedTokens) -> None:
        self._door = door
        self._sources = sources
        self._tokens = tokens

    def routes(self) -> Sequence[Route]:
        """Its one endpoint."""
        return (Route("POST", TOKEN_PATH, self.post_token),)

    def fail(self, failure: Failure, request_id: str) -> web.Response:
        """Everything is an array here, a wrong client too."""
        del request_id
        if failure.status == 401:
            errors = [(Code.INVALID_CLIENT, "invalid_client: the client id or the client secret is wrong")]
            return error_array(401, errors, failure.headers)
        return failure_array(failure)

    async def post_token(self, request: web.Request) -> web.Response:
        """A new access token. Raises NotAuthenticated, RateLimited, BodyTooLarge, StoreUnavailable."""
        with self._door.room(request, None):
            raw = await self._door.read(request, None)
        declared = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if declared != FORM or encoding != "identity":
            self._door.count_refusal(request, None, Why.UNSUPPORTED_CONTENT_TYPE)
            text = f"The body must be a form, sent as {FORM} and not compressed."
            return error_array(415, [(Code.UNSUPPORTED_MEDIA_TYPE, text)])
        form = read_form(raw)
        problem = "the body is no form" if form is None else _form_problem(form)
        if form is None or problem is not None:
            self._door.count_refusal(request, None, Why.MALFORMED)
            return error_array(400, [(Code.INVALID_REQUEST, f"invalid_request: {problem}")])
        source, token_hash = await self._client(request, form["client_id"], form["client_secret"])
        self._door.limit(request, source)
        if form["grant_type"] != "client_credentials":
            text = "unsupported_grant_type: grant_type must be client_credentials"
            return error_array(400, [(Code.UNSUPPORTED_GRANT_TYPE, text)])
        if set(form.get("scope", "").split() or SCOPES) != set(SCOPES):
            return error_array(400, [(Code.INVALID_SCOPE, "invalid_scope: scope must be 'read write'")])
        body = {
            "access_token": self._tokens.issue(source, token_hash),
            "token_type": "bearer",
            "expires_in": LIFETIME_S,
            "scope": " ".join(SCOPES),
        }
        return web.Response(
            body=orjson.dumps(body),
            content_type="application/json",
            headers={"Cache-Control": "no-store", "Pragma": "no-cache"},
        )

    async def _client(self, request: web.Request, client_id: str, client_secret: str) -> tuple[Source, str]:
        """The source and the credential that prove the client. A failure is tried once more after an extra load."""
        token_hash = hash_token(client_secret)
        source = self._prove(client_id, token_hash)
        if source is None:
            await self._sources.refresh_after_miss()
            self._sources.check_loaded()
            source = self._prove(client_id, token_hash)
        if source is None:
            self._door.count_refusal(request, client_id, self._door.why_stranger(client_id))
            raise NotAuthenticated(Why.BAD_TOKEN)
        return source, token_hash

    def _prove(self, client_id: str, token_hash: str) -> Source | None:
        source = self._sources.by_token(token_hash)
        return source if source is not None and source.name == client_id else None


def _form_problem(form: Mapping[str, str]) -> str | None:
    for name in ("grant_type", "client_id", "client_secret"):
        if not form.get(name):
            return f"{name} is missing"
    return None
