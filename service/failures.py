"""What went wrong with a request, before anybody shapes it: the one place where errors become a status and words.

The native API renders a `Failure` as problem+json (`service.problems`), a facade in the shape that its own document
lists. None of them holds internals: an unexpected error has nothing to say but that it happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from schemas.errors import (
    LogUnavailable,
    MalformedEvent,
    MealtrailError,
    NotAuthenticated,
    RateLimited,
    RecordTooLarge,
    RequestRefused,
    StoreUnavailable,
    Unavailable,
)

RETRY_AFTER_S = 2
"""What a 503 asks for: long enough for a broker's election, short enough for a kitchen."""

UNKNOWN_OUTCOME = (
    "The event log did not confirm in time, so it is unknown whether this was stored. Send it again unchanged: "
    "a repeat is safe and is counted once."
)

BROKEN_FRAMING = (HttpProcessingError, ClientError, ConnectionError)
"""The body's framing broke, or the caller went away while sending it."""

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 408: "request_timeout", 413: "body_too_large"}
_AUTHENTICATE = {"WWW-Authenticate": 'Bearer realm="mealtrail"'}


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that is not answered with what it asked for. `detail` may be shown to the caller."""

    status: int
    code: str
    detail: str
    errors: tuple[tuple[str, str], ...] = ()
    """Fields with what is wrong with each."""
    headers: Mapping[str, str] = field(default_factory=dict)
    closes: bool = False
    """The rest of the request may still come: the connection cannot be used again."""
    reason: str | None = None
    """The true reason where it differs from the code; for the log, never for the caller."""


INTERNAL = Failure(500, "internal_error", "Something failed on our side; it has been logged.")


def failure_of(error: Exception) -> Failure:
    """The failure that an error of a handler means; what is none of ours, or not meant for callers, is INTERNAL."""
    if isinstance(error, web.HTTPException):
        return _of_http(error)
    if isinstance(error, RequestRefused):
        return _of_refusal(error)
    if isinstance(error, RecordTooLarge):
        return Failure(413, "body_too_large", "The event is larger than the log takes.")
    if isinstance(error, Unavailable):
        return _of_outage(error)
    if isinstance(error, BROKEN_FRAMING) and not isinstance(error, MealtrailError):
        detail = "The request body could not be read."
        return Failure(400, "malformed", detail, closes=True, reason="broken_body")
    return INTERNAL


def _of_refusal(error: RequestRefused) -> Failure:
    if isinstance(error, MalformedEvent):
        return Failure(error.status, error.code, error.detail, error.errors)
    if isinstance(error, NotAuthenticated):
        return Failure(error.status, error.code, error.detail, headers=_AUTHENTICATE, reason=error.reason)
    if isinstance(error, RateLimited):
        return Failure(error.status, error.code, error.detail, headers={"Retry-After": str(error.retry_after)})
    return Failure(error.status, error.code, error.detail)


def _of_outage(error: Unavailable) -> Failure:
    """Callers learn which part is away; why it is, is the operator's."""
    if isinstance(error, LogUnavailable):
        code, detail = LogUnavailable.code, UNKNOWN_OUTCOME
    elif isinstance(error, StoreUnavailable):
        code, detail = StoreUnavailable.code, "The store does not answer at the moment. Try again."
    else:
        code, detail = error.code, "A part of the service does not answer at the moment. Try again."
    own = error.code if error.code != code else None
    return Failure(503, code, detail, headers={"Retry-After": str(RETRY_AFTER_S)}, reason=own)


def _of_http(error: web.HTTPException) -> Failure:
    """An error that aiohttp itself raised: no such route, a method the route does not take."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    detail = {
        404: "There is no such resource.",
        408: "The request body did not arrive in time.",
        405: f"This resource takes {headers.get('Allow', 'other methods')}.",
    }.get(error.status, "The request cannot be taken.")
    code = _HTTP_CODES.get(error.status, "malformed")
    return Failure(error.status, code, detail, headers=headers, closes=error.status == 408)
