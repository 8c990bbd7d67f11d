"""POST {webhook URL}{token path}: access tokens for a source whose partner fetches them (OAuth 2 client credentials).

The client id is the source's name, as in the URL, and the client secret its bearer secret. What is issued is told in
`service.facades.order_status_tokens`; the keys are others than those of the order-status API, so neither takes the
other's tokens. Nothing in an answer depends on whether there is such a source, until its secret is proved.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from backbone.store.secrets import hash_token
from backbone.store.sources import Source
from schemas.errors import MalformedEvent, NotAuthenticated
from service.bodies.documents import is_json, read_object
from service.bodies.forms import FORM, read_form
from service.credentials import SourceCache
from service.dialects.endpoints import TokenGrant
from service.dialects.port import Answer, Dialect
from service.dialects.registry import DIALECTS
from service.facades.order_status_tokens import IssuedTokens
from service.failures import Failure, failure_of
from service.ingress.door import Door
from service.ingress.refusals import Why

PURPOSE = "webhook access tokens"
"""What the keys are derived for."""
_REQUIRED = ("grant_type", "client_id", "client_secret")
_NOT_KEPT = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class SourceTokens:
    """Issues tokens, for every dialect that has a grant. One per application."""

    def __init__(self, door: Door, sources: SourceCache, tokens: IssuedTokens) -> None:
        self._door = door
        self._sources = sources
        self._tokens = tokens

    async def post(self, request: web.Request, dialect: Dialect, grant: TokenGrant) -> Answer | Failure:
        """A token of the source in the path, or why there is none. Raises BodyTooLarge, UnsupportedContentType,
        RateLimited, Unavailable.
        """
        name = request.match_info["source"]
        with self._door.room(request, name):
            raw = await self._door.read(request, name)
        content_type = self._door.check_plain(request, name, _takes, f"JSON or a form, sent as {FORM}")
        fields = _read_json(raw) if is_json(content_type) else read_form(raw)
        problem = "the body has no fields that can be read" if fields is None else _problem(fields)
        if fields is None or problem is not None:
            self._door.count_refusal(request, name, Why.MALFORMED)
            return Failure(400, "invalid_request", str(problem))
        token_hash = hash_token(fields["client_secret"])
        source = await self._client(dialect, name, fields["client_id"], token_hash)
        if source is None:
            self._door.count_refusal(request, name, self._door.why_stranger(name))
            headers = failure_of(NotAuthenticated(Why.BAD_TOKEN)).headers
            return Failure(401, "invalid_client", "The client id or the client secret is wrong.", headers=headers)
        self._door.limit(request, source)
        if fields["grant_type"] != "client_credentials":
            return Failure(400, "unsupported_grant_type", "grant_type must be client_credentials")
        if set(fields.get("scope", "").split() or grant.scopes) != set(grant.scopes):
            return Failure(400, "invalid_scope", f"scope must be '{' '.join(grant.scopes)}'")
        body = {
            "access_token": self._tokens.issue(source, token_hash, grant.lifetime_s),
            "token_type": "Bearer",
            "expires_in": grant.lifetime_s,
            "scope": " ".join(grant.scopes),
        }
        return Answer(200, body, _NOT_KEPT)

    async def _client(self, dialect: Dialect, name: str, client_id: str, token_hash: str) -> Source | None:
        """The live source of this name, dialect and secret. A failure is tried once more after an extra load."""
        source = self._prove(dialect, name, client_id, token_hash)
        if source is None:
            await self._sources.refresh_after_miss()
            self._sources.check_loaded()
            source = self._prove(dialect, name, client_id, token_hash)
        return source

    def _prove(self, dialect: Dialect, name: str, client_id: str, token_hash: str) -> Source | None:
        source = self._sources.by_token(token_hash)
        if source is None or source.auth != "bearer" or DIALECTS.get(source.dialect) is not dialect:
            return None
        return source if source.name == client_id == name else None


def _takes(content_type: str) -> bool:
    return content_type == FORM or is_json(content_type)


def _read_json(raw: bytes) -> dict[str, str] | None:
    """The object's texts; None where it is no object, or anything in it that is asked for is no text."""
    try:
        document = read_object(raw)
    except MalformedEvent:
        return None
    asked = {name: document[name] for name in (*_REQUIRED, "scope") if document.get(name) is not None}
    return asked if all(isinstance(value, str) for value in asked.values()) else None


def _problem(fields: Mapping[str, str]) -> str | None:
    for name in _REQUIRED:
        if not fields.get(name):
            return f"{name} is missing"
    return None
