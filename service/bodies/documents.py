"""JSON from strangers: parsed by orjson, then held to what the store can keep (`schemas.storable`).

Refused: what is no JSON, invalid UTF-8, NaN and Infinity, lone surrogates (all by orjson), NUL in any string, numbers
beyond 64 bits, nesting over 32. Of duplicate keys the last one counts, as RFC 8259 leaves open: only one parser ever
reads a body, so nobody can be shown two readings.
"""

from __future__ import annotations

from typing import Any

import orjson

from schemas.errors import MalformedEvent
from schemas.storable import value_problem


def is_json(content_type: str) -> bool:
    """Whether a content type (lower case, without parameters) is JSON, under its own name or as the base of another
    (`+json`).
    """
    kind, _, form = content_type.partition("/")
    return kind == "application" and (form == "json" or form.endswith("+json"))


def read_document(raw: bytes) -> Any:
    """The JSON value of a body. Raises MalformedEvent, with the field where there is one."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise MalformedEvent(f"The body is not JSON: {error.msg} at character {error.pos}.") from error
    found = value_problem(value)
    if found is not None:
        path, problem = found
        raise MalformedEvent("The body holds what cannot be kept.", errors=((path[:64] or "(body)", problem),))
    return value


def read_object(raw: bytes) -> dict[str, Any]:
    """The same, where the body must be an object."""
    value = read_document(raw)
    if not isinstance(value, dict):
        raise MalformedEvent("The body must be a JSON object.")
    return value
