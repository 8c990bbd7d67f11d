"""JSON from strangers: parsed by orjson, then held to what the store can keep.

Refused: what is no JSON, invalid UTF-8, NaN and Infinity, lone surrogates (all by orjson), NUL in any string, numbers
beyond 64 bits, nesting over 32. Of duplicate keys the last one counts, as RFC 8259 leaves open: only one parser ever
reads a body, so nobody can be shown two readings.
"""

from __future__ import annotations

from typing import Any

import orjson

from schemas.errors import MalformedEvent

DEEPEST = 32
MOST_EVENTS = 100
_LIMIT = 1 << 63


def read_document(raw: bytes) -> Any:
    """The JSON value of a body. Raises MalformedEvent, with the field where there is one."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise MalformedEvent(f"The body is not JSON: {error.msg} at character {error.pos}.") from error
    _check(value)
    return value


def read_object(raw: bytes) -> dict[str, Any]:
    """The same, where the body must be an object."""
    value = read_document(raw)
    if not isinstance(value, dict):
        raise MalformedEvent("The body must be a JSON object.")
    return value


def _check(root: Any) -> None:
    """One pass without recursion; the path to a value is kept only as its parent's, to name the field."""
    stack: list[tuple[Any, int, str]] = [(root, 1, "")]
    while stack:
        value, depth, path = stack.pop()
        if isinstance(value, str):
            if "\0" in value:
                raise _refused(path, "must not contain NUL")
        elif isinstance(value, dict | list):
            if depth > DEEPEST:
                raise _refused(path, f"is nested more than {DEEPEST} deep")
            if isinstance(value, dict):
                for name, item in value.items():
                    if "\0" in name:
                        raise _refused(path, "must not have NUL in a name")
                    stack.append((item, depth + 1, name if depth == 1 else path))
            else:
                stack.extend((item, depth + 1, path) for item in value)
        elif isinstance(value, int | float) and not _fits(value):
            raise _refused(path, "must be a number within 64 bits")


def _fits(number: float) -> bool:
    # A whole number beyond 64 bits comes out of the parser as a float, so floats stay strictly inside.
    return -_LIMIT < number < _LIMIT or (number == -_LIMIT and isinstance(number, int))


def _refused(path: str, message: str) -> MalformedEvent:
    field = path[:64] or "(body)"
    return MalformedEvent("The body holds what cannot be kept.", errors=((field, message),))
