"""What every request that posts passes first, always in this order: size, who, how fast, what type.

Size comes first because a signature cannot be checked without the body, and because nobody unknown may make us hold
more than the cap. Authentication comes before the rate, so that a stranger cannot use up a source's room. Parsing is
last: only a known source's mistakes are explained.

A stranger is measured against a dummy source, with the same work, and gets the same answer in the same words; the
true reason goes to the refusals alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from aiohttp import web

from backbone.clocks import Clock
from backbone.metrics import Metrics
from backbone.store.definitions import AUTH_SCHEMES, BEARER, KEPT_AS_HASH, STANDARD_WEBHOOKS, Auth
from backbone.store.sources import Source
from schemas.errors import BodyTooLarge, NotAuthenticated, RateLimited, Unavailable, UnsupportedContentType
from schemas.statuses import Policy, Role
from service.credentials import SourceCache
from service.dialects.bearer import bearer_token
from service.dialects.port import Dialect, Inbound
from service.dialects.registry import DIALECTS, NATIVE
from service.ingress.body import BodyBudget, Room, read_body
from service.ingress.rate_limit import RateLimiter
from service.ingress.refusals import UNKNOWN_SOURCE, RefusalRecorder, Why
from service.ingress.unknown_names import UnknownNames
from service.request_notes import notes_of

_DOTS_OF_A_JWT = 2


@dataclass(frozen=True, slots=True)
class Called:
    """What a request calls below the webhook URL: a path as it is declared, with what stands for its variables."""

    path: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


class Door:
    """The checks, and what they share. `issued` finds the source behind an access token that partners fetch here."""

    def __init__(
        self,
        sources: SourceCache,
        *,
        limiter: RateLimiter,
        refusals: RefusalRecorder,
        budget: BodyBudget,
        clock: Clock,
        metrics: Metrics,
        issued: Callable[[str], Source | None] = lambda _token: None,
    ) -> None:
        self._sources = sources
        self._limiter = limiter
        self._refusals = refusals
        self._budget = budget
        self._clock = clock
        self._metrics = metrics
        self._issued = issued
        self._unknown = UnknownNames(clock.monotonic)
        self._dummies = {auth: _dummy(auth) for auth in AUTH_SCHEMES}

    def room(self, request: web.Request, source_name: str | None) -> Room:
        """Room for the body, to be held (`with`) until the request is answered. Raises BodyTooLarge, Unavailable."""
        try:
            return self._budget.reserve(request)
        except BodyTooLarge:
            self.count_refusal(request, source_name, Why.BODY_TOO_LARGE)
            raise

    async def read(self, request: web.Request, source_name: str | None) -> bytes:
        """The body as sent. Raises BodyTooLarge."""
        try:
            raw = await read_body(request)
        except BodyTooLarge:
            self.count_refusal(request, source_name, Why.BODY_TOO_LARGE)
            raise
        notes_of(request).bytes = len(raw)
        return raw

    async def authenticate(
        self, request: web.Request, name: str, raw: bytes, called: Called
    ) -> tuple[Source, Dialect, Inbound]:
        """The source that this webhook proves to come from. Raises NotAuthenticated; StoreUnavailable while no source
        was ever loaded, as nobody can be told from a stranger then; Unavailable where its secrets do not open.

        A failure is tried once more after an extra load of the credentials, for known and unknown names alike.
        """
        inbound = self._inbound(request, raw, called)
        try:
            source, dialect = self._prove(name, inbound)
        except NotAuthenticated as failure:
            looked_again = await self._sources.refresh_after_miss()
            self._sources.check_loaded()
            if not looked_again:
                self._refuse_stranger(request, name, failure)
            inbound = self._inbound(request, raw, called)
            try:
                source, dialect = self._prove(name, inbound)
            except NotAuthenticated as again:
                self._refuse_stranger(request, name, again)
        notes_of(request).source = source.name
        self.check_opened(request, source)
        return source, dialect, inbound

    def _inbound(self, request: web.Request, raw: bytes, called: Called) -> Inbound:
        token = bearer_token(request.headers)
        # No secret of ours looks like this, so looking costs those who sign nothing, and tells strangers nothing.
        issued = self._issued(token) if token is not None and token.count(".") == _DOTS_OF_A_JWT else None
        return Inbound(
            request.headers,
            raw,
            request.raw_path,
            self._clock.now_ms(),
            method=request.method,
            endpoint=called.path,
            variables=called.variables,
            issued_to=None if issued is None else issued.uid,
        )

    def check_opened(self, request: web.Request, source: Source) -> None:
        """Raises Unavailable where the source's receipt key does not open: its receipts would be another source's."""
        if not source.receipt_key:
            self.count_refusal(request, source.name, Why.KEY_MISSING)
            raise Unavailable(f"{', '.join(source.sealed)} for source {source.name}")

    def _refuse_stranger(self, request: web.Request, name: str, failure: NotAuthenticated) -> NoReturn:
        source = self._sources.by_name(name)
        if source is not None and source.disabled_at is None and source.sealed and source.auth not in KEPT_AS_HASH:
            # The signature may be a good one of a secret that we cannot read: a 401 would end the partner's attempts.
            self.count_refusal(request, name, Why.KEY_MISSING)
            raise Unavailable(f"{', '.join(source.sealed)} for source {name}") from failure
        self.count_refusal(request, name, failure.reason)
        raise failure

    def why_stranger(self, name: str) -> Why:
        """Why nobody of this name can be proved by the secret that came: for the operator alone."""
        source = self._sources.by_name(name)
        if source is None:
            return Why.UNKNOWN_SOURCE
        return Why.BAD_TOKEN if source.disabled_at is None else Why.SOURCE_DISABLED

    def dialect_of(self, name: str) -> Dialect:
        """Whose words a refusal is answered in: the live source's own, the native ones for everybody else."""
        source = self._sources.by_name(name)
        if source is None or source.disabled_at is not None:
            return NATIVE
        return DIALECTS.get(source.dialect, NATIVE)

    def _prove(self, name: str, inbound: Inbound) -> tuple[Source, Dialect]:
        source = self._sources.by_name(name)
        dialect = None if source is None else DIALECTS.get(source.dialect)
        if source is None or source.disabled_at is not None or dialect is None:
            bearer = "Authorization" in inbound.headers
            try:
                NATIVE.authenticate(inbound, self._dummies[BEARER if bearer else STANDARD_WEBHOOKS])
            except NotAuthenticated as failure:
                why = Why.UNKNOWN_SOURCE if source is None else Why.SOURCE_DISABLED
                raise NotAuthenticated(why) from failure
            raise NotAuthenticated(Why.UNKNOWN_SOURCE)
        dialect.authenticate(inbound, source)
        return source, dialect

    def limit(self, request: web.Request, source: Source) -> None:
        """Takes one request of the source's rate. Raises RateLimited."""
        try:
            self._limiter.take(source.uid, source.rate)
        except RateLimited:
            self._metrics.rate_limited.labels(source.name).inc()
            self.count_refusal(request, source.name, Why.RATE_LIMITED)
            raise

    def check_type(
        self, request: web.Request, source: Source, takes: Callable[[str], bool], expects: str = NATIVE.expects
    ) -> None:
        """The content type, and that the body is not compressed. Raises UnsupportedContentType, which tells what is
        expected instead.
        """
        self.check_plain(request, source.name, takes, expects)

    def check_plain(self, request: web.Request, name: str, takes: Callable[[str], bool], expects: str) -> str:
        """The same for whoever claims this name; returns the content type."""
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        declared = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if encoding == "identity" and takes(declared):
            return declared
        self.count_refusal(request, name, Why.UNSUPPORTED_CONTENT_TYPE)
        if encoding != "identity":
            raise UnsupportedContentType("Compressed bodies are not taken: a signature covers the body as it is sent.")
        raise UnsupportedContentType(f"The body must be {expects}.")

    def count_refusal(self, request: web.Request, name: str | None, why: Why) -> None:
        """Counts a refusal under the source's name, or `?` where there is no such source."""
        notes = notes_of(request)
        known = name is not None and self._sources.by_name(name) is not None
        notes.refusal = why.value
        if known:
            notes.source = name
        elif name is not None and why is Why.UNKNOWN_SOURCE:
            self._unknown.tell(name)
        self._refusals.record(name if known and name is not None else UNKNOWN_SOURCE, why, notes.remote)


def _dummy(auth: Auth) -> Source:
    """A source that nobody is, to measure strangers against."""
    return Source(
        workspace="",
        uid="",
        name="",
        dialect=NATIVE.name,
        role=Role.COURIER,
        parties=(),
        policy=Policy.FORWARD,
        hold_ms=0,
        skew_ms=0,
        rate=0,
        auth=auth,
        url=None,
        receipt_key=b"",
        secrets=(secrets.token_bytes(32),),
        token_hashes=(secrets.token_hex(32),),
        created_at=0,
        disabled_at=None,
    )
