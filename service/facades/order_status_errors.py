"""The errors of the order-status API: an array of `{"code", "description"}`, and `{"reason"}` for 401.

The codes are ours, as the document leaves them open, and stable: `docs/order-status-api.md` lists them, and a test
holds the list to this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

import orjson
import structlog
from aiohttp import web

from schemas.verdicts import Reason
from service.failures import Failure

EXPIRED = "Access token has been expired. You should request a new one"
"""The document's own words, whatever is wrong with the token: strangers learn nothing from it."""
_MOST_DESCRIPTION = 500
_log = structlog.get_logger("mealtrail.facades")


class Code(IntEnum):
    """What went wrong, for machines."""

    MALFORMED = 100
    FIELD = 101
    ILLEGAL_TRANSITION = 110
    ORDER_CLOSED = 111
    ROLE_NOT_PERMITTED = 112
    NOT_YOUR_ORDER = 113
    EVENT_ID_REUSED = 114
    SKIPPED_STATUS = 115
    DISCARDED = 116
    TOO_LARGE = 117
    ORDER_NOT_FOUND = 120
    INVALID_REQUEST = 130
    UNSUPPORTED_GRANT_TYPE = 131
    INVALID_SCOPE = 132
    INVALID_CLIENT = 133
    METHOD_NOT_ALLOWED = 140
    REQUEST_TIMEOUT = 141
    BODY_TOO_LARGE = 142
    UNSUPPORTED_MEDIA_TYPE = 143
    RATE_LIMITED = 144
    INTERNAL_ERROR = 150
    LOG_UNAVAILABLE = 151
    STORE_UNAVAILABLE = 152
    UNAVAILABLE = 153


_OF_FAILURE = {
    "malformed": Code.MALFORMED,
    "not_found": Code.ORDER_NOT_FOUND,
    "method_not_allowed": Code.METHOD_NOT_ALLOWED,
    "request_timeout": Code.REQUEST_TIMEOUT,
    "body_too_large": Code.BODY_TOO_LARGE,
    "unsupported_media_type": Code.UNSUPPORTED_MEDIA_TYPE,
    "rate_limited": Code.RATE_LIMITED,
    "log_unavailable": Code.LOG_UNAVAILABLE,
    "store_unavailable": Code.STORE_UNAVAILABLE,
    "unavailable": Code.UNAVAILABLE,
}

ORDER_NOT_FOUND = "The order was not found."
REJECTIONS: dict[str, tuple[int, Code, str]] = {
    Reason.ORDER_NOT_FOUND: (404, Code.ORDER_NOT_FOUND, ORDER_NOT_FOUND),
    Reason.ILLEGAL_TRANSITION: (400, Code.ILLEGAL_TRANSITION, "The order has moved past this status."),
    Reason.ORDER_CLOSED: (400, Code.ORDER_CLOSED, "The order is cancelled."),
    Reason.ROLE_NOT_PERMITTED: (400, Code.ROLE_NOT_PERMITTED, "This client may not set this status."),
    Reason.NOT_YOUR_ORDER: (400, Code.NOT_YOUR_ORDER, "The order was handed to another party."),
    Reason.EVENT_ID_REUSED: (400, Code.EVENT_ID_REUSED, "The same change was sent before with other content."),
    Reason.SKIPPED_STATUS: (400, Code.SKIPPED_STATUS, "Statuses before this one are missing."),
    Reason.TOO_LARGE: (400, Code.TOO_LARGE, "The order cannot hold more."),
    Reason.DISCARDED: (400, Code.DISCARDED, "The change was discarded by an operator."),
}
"""Status, code and words for each reason of a rejection."""


def error_array(
    status: int, errors: Sequence[tuple[Code, str]], headers: Mapping[str, str] | None = None
) -> web.Response:
    """The documented array of errors."""
    return _json(status, error_items(errors), headers or {})


def error_items(errors: Sequence[tuple[Code, str]]) -> list[dict[str, object]]:
    """Its elements."""
    return [{"code": int(code), "description": text[:_MOST_DESCRIPTION]} for code, text in errors]


def rejection(reason: str | None) -> web.Response:
    """The answer to a change that the lifecycle rejected. A reason that we have no words for is logged."""
    known = REJECTIONS.get(reason or "")
    if known is None:
        _log.warning("rejection_without_words", reason=reason)
        known = (400, Code.ILLEGAL_TRANSITION, "The order cannot take this status.")
    status, code, description = known
    return error_array(status, [(code, description)])


def failure_array(failure: Failure) -> web.Response:
    """A refusal or an outage as an array of errors; one element for each field that is wrong."""
    return error_array(failure.status, errors_of(failure), failure.headers)


def errors_of(failure: Failure) -> list[tuple[Code, str]]:
    """What that array says."""
    if failure.errors:
        return [(Code.FIELD, f"{field}: {message}") for field, message in failure.errors]
    fallback = Code.MALFORMED if failure.status < 500 else Code.INTERNAL_ERROR
    description = ORDER_NOT_FOUND if failure.status == 404 else failure.detail
    return [(_OF_FAILURE.get(failure.code, fallback), description)]


def unauthorized(failure: Failure) -> web.Response:
    """401: exactly one member, `reason`."""
    return _json(401, {"reason": EXPIRED}, failure.headers)


def _json(status: int, body: object, headers: Mapping[str, str]) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/json",
        headers={**headers, "Cache-Control": "no-store"},
    )
