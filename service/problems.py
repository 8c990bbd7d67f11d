"""RFC 9457: every error answer is `application/problem+json` of one shape, made here and nowhere else.

{"type","title","status","detail","code","errors"?:[{"field","message"}],"request_id"}; `code` is stable and for
machines, `type` is the same code as a URN, `title` is the same for every occurrence.
"""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

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

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
"""What a 503 asks for: long enough for a broker's election, short enough for a kitchen."""

UNKNOWN_OUTCOME = (
    "The event log did not confirm in time, so it is unknown whether this was stored. Send it again unchanged: "
    "a repeat is safe and is counted once."
)

_TITLES: dict[str, str] = {
    "malformed": "The request is malformed",
    "unauthenticated": "Authentication failed",
    "forbidden": "Not allowed",
    "not_found": "Not found",
    "method_not_allowed": "Method not allowed",
    "request_timeout": "The request did not arrive in time",
    "body_too_large": "The request body is too large",
    "unsupported_media_type": "Unsupported content type",
    "rate_limited": "Too many requests",
    "log_unavailable": "The event log does not answer",
    "store_unavailable": "The store does not answer",
    "unavailable": "Temporarily unavailable",
    "internal_error": "Internal error",
}
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 408: "request_timeout", 413: "body_too_large"}
_AUTHENTICATE = {"WWW-Authenticate": 'Bearer realm="mealtrail"'}


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    request_id: str,
    errors: tuple[tuple[str, str], ...] = (),
    headers: dict[str, str] | None = None,
) -> web.Response:
    """One problem answer."""
    body: dict[str, Any] = {
        "type": f"urn:mealtrail:problem:{code}",
        "title": _TITLES.get(code, "The request was refused"),
        "status": status,
        "detail": detail,
        "code": code,
    }
    if errors:
        body["errors"] = [{"field": field, "message": message} for field, message in errors]
    body["request_id"] = request_id
    answer = web.Response(status=status, body=orjson.dumps(body), headers=headers)
    answer.content_type = CONTENT_TYPE
    return answer


def problem_of(error: MealtrailError, request_id: str) -> web.Response:
    """The answer to an error of ours. What is not a refusal or an outage is a 500 that says nothing."""
    headers: dict[str, str] = {}
    if isinstance(error, RequestRefused):
        errors = error.errors if isinstance(error, MalformedEvent) else ()
        if isinstance(error, NotAuthenticated):
            headers = _AUTHENTICATE
        elif isinstance(error, RateLimited):
            headers = {"Retry-After": str(error.retry_after)}
        return problem(error.status, error.code, error.detail, request_id=request_id, errors=errors, headers=headers)
    if isinstance(error, RecordTooLarge):
        return problem(413, "body_too_large", "The event is larger than the log takes.", request_id=request_id)
    if isinstance(error, Unavailable):
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        if isinstance(error, LogUnavailable):
            detail = UNKNOWN_OUTCOME
        elif isinstance(error, StoreUnavailable):
            detail = "The store does not answer at the moment. Try again."
        else:
            detail = "A part of the service does not answer at the moment. Try again."
        return problem(503, error.code, detail, request_id=request_id, headers=headers)
    return internal_problem(request_id)


def internal_problem(request_id: str) -> web.Response:
    """A 500 that gives away nothing; the log line of the same request id has the rest."""
    return problem(500, "internal_error", "Something failed on our side; it has been logged.", request_id=request_id)


def problem_of_http(error: web.HTTPException, request_id: str) -> web.Response:
    """The answer to an error that aiohttp itself raised: no such route, a method the route does not take."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    detail = {
        404: "There is no such resource.",
        408: "The request body did not arrive in time.",
        405: f"This resource takes {headers.get('Allow', 'other methods')}.",
    }.get(error.status, "The request cannot be taken.")
    code = _HTTP_CODES.get(error.status, "malformed")
    answer = problem(error.status, code, detail, request_id=request_id, headers=headers)
    if error.status == 408:
        answer.force_close()  # the rest of its body may still come
    return answer
