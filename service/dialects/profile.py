"""What a dialect declares about its partner: for `source add`, for the answers, and for the table in docs/dialects.md.

Facts that are known from a partner's own pages stand beside those read out of other people's code; `facts` says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from backbone.store.definitions import Auth
from schemas.errors import (
    BodyTooLarge,
    MalformedEvent,
    MealtrailError,
    NotAuthenticated,
    RateLimited,
    RecordTooLarge,
    Unavailable,
    UnsupportedContentType,
)
from schemas.statuses import Role
from service.dialects.endpoints import POSTED, Endpoint, TokenGrant

Need = Literal["secret", "url", "zone"]
"""Options of `source add` that a dialect cannot do without. `secret`: the partner issues it, none is made."""


class Refusal(StrEnum):
    """Our refusals, as a partner meets them."""

    MALFORMED = "400"
    UNAUTHENTICATED = "401"
    UNSUITABLE = "413, 415"
    """Too large, or of another content type."""
    RATE_LIMITED = "429"
    OUTAGE = "503"
    """The outcome is unknown: only sending again helps."""


@dataclass(frozen=True, slots=True)
class Told:
    """How a refusal is told to this partner, and what that causes on its side."""

    status: int | None
    """None is our own status."""
    causes: str
    """Half a sentence, for the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One partner's format."""

    name: str
    title: str
    """The partner's product, as it calls it."""
    roles: tuple[Role, ...]
    """What such a source may sensibly be; the first one is the default."""
    schemes: tuple[Auth, ...]
    """How it may prove itself; the first one is the default."""
    proof: str
    """The proof in words: header, algorithm, what is signed."""
    needs: frozenset[Need] = frozenset()
    reads_zone: bool = True
    """Whether a source's zone means anything: not so where no time ever comes without an offset, or none comes."""
    token_header: str | None = None
    """The header of the scheme `header`."""
    signs_body: bool = True
    """Whether the signature covers the body's raw bytes; not so where a token inside the body is what is signed."""
    endpoints: tuple[Endpoint, ...] = (POSTED,)
    """What the partner calls; most post to the source's webhook URL itself."""
    token: TokenGrant | None = None
    """For a partner that fetches access tokens from us. Its sources prove themselves by such a token, or by the secret
    that it stands on.
    """
    success_status: int = 200
    success_body: object = None
    """JSON-ready; None is an empty body."""
    refusals: Mapping[Refusal, Told]
    within: str
    """The time within which it wants its answer."""
    resends: str
    order_field: str
    """The field that names the order under the id it was announced with."""
    event_id: str
    """Where the event id comes from."""
    times: str
    """How it writes the time of an event."""
    facts: tuple[str, ...] = field(default=())
    """Where all this is known from, each marked [O] partner's own page or SDK, [I] other people's code, [D] derived."""


def refusal_of(error: MealtrailError) -> Refusal | None:
    """Which of the refusals an error is; None for what is none of them."""
    if isinstance(error, NotAuthenticated):
        return Refusal.UNAUTHENTICATED
    if isinstance(error, BodyTooLarge | RecordTooLarge | UnsupportedContentType):
        return Refusal.UNSUITABLE
    if isinstance(error, RateLimited):
        return Refusal.RATE_LIMITED
    if isinstance(error, MalformedEvent):
        return Refusal.MALFORMED
    return Refusal.OUTAGE if isinstance(error, Unavailable) else None
