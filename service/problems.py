"""RFC 9457: every error answer of the native API is `application/problem+json` of one shape, made here alone.

{"type","title","status","detail","code","errors"?:[{"field","message"}],"request_id"}; `code` is stable and for
machines, `type` is the same code as a URN, `title` is the same for every occurrence.
"""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from service.failures import Failure

CONTENT_TYPE = "application/problem+json"

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


def problem_of(failure: Failure, request_id: str) -> web.Response:
    """The problem answer to a failure."""
    body: dict[str, Any] = {
        "type": f"urn:mealtrail:problem:{failure.code}",
        "title": _TITLES.get(failure.code, "The request was refused"),
        "status": failure.status,
        "detail": failure.detail,
        "code": failure.code,
    }
    if failure.errors:
        body["errors"] = [{"field": field, "message": message} for field, message in failure.errors]
    body["request_id"] = request_id
    answer = web.Response(status=failure.status, body=orjson.dumps(body), headers=failure.headers)
    answer.content_type = CONTENT_TYPE
    return answer
