"""What may enter the log: only what the store can keep and every reader can read.

PostgreSQL refuses NUL and lone surrogates, JSON beyond 64 bits is read differently by every parser, and one such value
in a batch stops its partition. So the rule stands here, at the records' own types, whatever door a value came through;
the JSON reader (`service.bodies.documents`) applies the same to whole bodies, so that a partner learns the field.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo

DEEPEST = 32
_LIMIT = 1 << 63
_CONTAINERS = (dict, list, tuple)
_NUMBERS = (int, float)


def text_problem(text: str) -> str | None:
    """What keeps a text out of the store, in words for its sender; None where nothing does."""
    if "\0" in text:
        return "must not contain NUL"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "must not contain lone surrogates"
    return None


def value_problem(root: Any) -> tuple[str, str] | None:
    """The first part of a JSON value that cannot be kept: the outermost field it lies in (empty at the root) and what
    is wrong; None where nothing is.

    Beside texts: numbers beyond 64 bits, NaN and Infinity, nesting over 32, anything that is no JSON. One pass without
    recursion.
    """
    stack: list[tuple[Any, int, str]] = [(root, 1, "")]
    while stack:
        value, depth, path = stack.pop()
        if isinstance(value, _CONTAINERS):
            if depth > DEEPEST:
                return path, f"is nested more than {DEEPEST} deep"
            if isinstance(value, dict):
                problem = _name_problem(value)
                if problem is not None:
                    return path, problem
                for name, item in value.items():
                    if not _is_plain(item):
                        stack.append((item, depth + 1, name if depth == 1 else path))
            else:
                stack.extend((item, depth + 1, path) for item in value if not _is_plain(item))
        else:
            problem = _scalar_problem(value)
            if problem is not None:
                return path, problem
    return None


def _name_problem(fields: dict[Any, Any]) -> str | None:
    for name in fields:
        if type(name) is str and _is_plain(name):
            continue
        problem = text_problem(name) if isinstance(name, str) else "must be text"
        if problem is not None:
            return f"{problem} in a name"
    return None


def _scalar_problem(value: Any) -> str | None:
    if isinstance(value, str):
        return text_problem(value)
    if isinstance(value, _NUMBERS):
        return None if _fits(value) else "must be a number within 64 bits"
    return None if value is None else "must be JSON"


def _is_plain(value: Any) -> bool:
    """Nearly every value: an ASCII text without NUL, null, true or false. Nothing can be wrong with it."""
    if type(value) is str:
        return value.isascii() and "\0" not in value
    return value is None or type(value) is bool


def _fits(number: float) -> bool:
    # A whole number beyond 64 bits comes out of the parser as a float, so floats stay strictly inside.
    return -_LIMIT < number < _LIMIT or (number == -_LIMIT and isinstance(number, int))


def _check_object(value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    # What is read back from the log passed here when it was made, and workers read records by the thousand.
    found = value_problem(value) if info.mode == "python" else None
    if found is not None:
        field, problem = found
        raise ValueError(f"{field[:64]}: {problem}" if field else problem)
    return value


StorableText = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""Text without NUL, checked by the validator's own engine: it costs a record next to nothing. Matching a pattern also
means reading the text as UTF-8, so lone surrogates are refused with it.
"""
StorableObject = Annotated[dict[str, Any], AfterValidator(_check_object)]
"""A JSON object as `value_problem` allows it, checked where an event is made."""
