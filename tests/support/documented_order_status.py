"""The order-status API as its document has it: JSON Schemas of its answers, and the document's own examples."""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

from tests.support.documented import STRING, Schema, array, closed

STATUSES = [
    "NEW",
    "ACCEPTED_BY_RESTAURANT",
    "COOKING",
    "READY",
    "TAKEN_BY_COURIER",
    "DELIVERED",
    "CANCELLED",
]
STATUS_EXAMPLE: dict[str, Any] = {
    "status": "NEW",
    "comment": "New order",
    "updatedAt": "1937-01-01T12:00:27.870000+00:20",
}
PUT_EXAMPLE: dict[str, Any] = {
    "status": "CANCELLED",
    "attributes": ["paid"],
    "comment": "test",
    "reason": "place.unable_to_call",
    "updatedAt": "1937-01-01T12:00:27.870000+00:20",
}
ERRORS_EXAMPLE: list[dict[str, Any]] = [{"code": 100, "description": "Description of error"}]
UNAUTHORIZED_EXAMPLE: dict[str, Any] = {"reason": "Access token has been expired. You should request a new one"}

MICROSECOND_TIME: Schema = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d$",  # Y-m-d\TH:i:s.uP
}
STATUS: Schema = closed(
    {
        "status": {"enum": STATUSES},
        "comment": {"type": "string", "maxLength": 500},
        "updatedAt": MICROSECOND_TIME,
    },
    optional=("comment", "updatedAt"),
)
ERRORS: Schema = {**array(closed({"code": {"type": "integer"}, "description": STRING})), "minItems": 1}
UNAUTHORIZED: Schema = closed({"reason": STRING})
TOKEN: Schema = closed(
    {
        "access_token": STRING,
        "token_type": {"const": "bearer"},
        "expires_in": {"type": "integer", "minimum": 1},
        "scope": {"const": "read write"},
    }
)


def is_valid(schema: Schema, answer: Any) -> bool:
    """Whether an answer is what the document says."""
    return bool(Draft202012Validator(schema).is_valid(answer))
