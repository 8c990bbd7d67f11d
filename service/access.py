"""Bearer tokens: who reads, and how much they see.

An access token (`mealtrail token add`) sees everything; every scope may read. A source's own token sees the orders that
name its parties. Tokens are looked up by their SHA-256, so comparing takes the same time whatever was sent, and every
failure is the same 401.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from backbone.store.readings import SEES_ALL, Sight
from backbone.store.secrets import hash_token
from backbone.store.sources import Source
from backbone.store.tokens import AccessToken
from schemas.errors import NotAllowed, NotAuthenticated
from schemas.statuses import Role
from service.credentials import AccessTokenCache, SourceCache
from service.dialects.bearer import bearer_token
from service.ingress.rate_limit import RateLimiter
from service.ingress.refusals import UNKNOWN_SOURCE, RefusalRecorder, Why
from service.request_notes import notes_of

Issued = Callable[[str], Source | None]
"""Finds the source behind a token that one of our own APIs has issued; None for every other text."""

_SEES_ALL_ROLES = frozenset({Role.PLATFORM, Role.OPERATOR})


def sight_of(source: Source) -> Sight:
    """What a source may read: everything for platform and operator, else orders that name its parties."""
    if source.role in _SEES_ALL_ROLES:
        return SEES_ALL
    return Sight(source.role, source.parties, source.uid)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who stands behind a bearer token; exactly one of the two is set."""

    source: Source | None
    token: AccessToken | None


class Access:
    """Turns the bearer token of a request into a caller."""

    def __init__(
        self,
        sources: SourceCache,
        tokens: AccessTokenCache,
        *,
        limiter: RateLimiter,
        refusals: RefusalRecorder,
    ) -> None:
        self._sources = sources
        self._tokens = tokens
        self._limiter = limiter
        self._refusals = refusals

    async def caller(self, request: web.Request, issued: Issued | None = None) -> Caller:
        """The caller of this request, by a kept token or one that `issued` knows.

        Raises NotAuthenticated, always with the same public text.
        """
        token = bearer_token(request.headers)
        notes = notes_of(request)
        caller = self._find(token, issued)
        if caller is None:
            await asyncio.gather(self._sources.refresh_after_miss(), self._tokens.refresh_after_miss())
            self._sources.check_loaded()
            self._tokens.check_loaded()
            caller = self._find(token, issued)
        if caller is None:
            why = Why.MISSING_TOKEN if token is None else Why.BAD_TOKEN
            self._refusals.record(UNKNOWN_SOURCE, why, notes.remote)
            raise NotAuthenticated(why)
        if caller.source is not None:
            notes.source = caller.source.name
        return caller

    def count_refusal(self, request: web.Request, why: Why) -> None:
        """Counts a refusal of someone whose credential is right, under the source's name where it has one."""
        notes = notes_of(request)
        self._refusals.record(notes.source or UNKNOWN_SOURCE, why, notes.remote)

    def _find(self, token: str | None, issued: Issued | None) -> Caller | None:
        token_hash = hash_token(token or "")
        source = self._sources.by_token(token_hash)
        if source is None and issued is not None and token is not None:
            source = issued(token)
        if source is not None:
            return Caller(source, None)
        kept = self._tokens.by_hash(token_hash)
        return None if kept is None else Caller(None, kept)

    async def sight(self, request: web.Request, issued: Issued | None = None) -> Sight:
        """What the caller may read. Raises NotAuthenticated, RateLimited.

        A source's reads have a bucket of their own, so that polling never takes the room of its webhooks.
        """
        caller = await self.caller(request, issued)
        if caller.source is None:
            return SEES_ALL
        self._limiter.take(f"read:{caller.source.uid}", caller.source.rate)
        return sight_of(caller.source)

    async def speaking_source(self, request: web.Request, issued: Issued | None = None) -> Source:
        """The source that a bearer token speaks for. Raises NotAuthenticated, NotAllowed for an access token."""
        caller = await self.caller(request, issued)
        if caller.source is None:
            raise NotAllowed("An access token does not speak for a source; send a source's own token.")
        return caller.source
