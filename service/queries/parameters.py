"""Query parameters of reads, checked like bodies: a wrong one is a 400 that names it."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from multidict import MultiMapping

from schemas.errors import MalformedEvent
from schemas.identifiers import normalise_id

Choice = TypeVar("Choice", bound=StrEnum)


def refused(field: str, message: str) -> MalformedEvent:
    """The refusal of one parameter."""
    return MalformedEvent("A query parameter cannot be used.", errors=((field, message),))


def whole_number(query: MultiMapping[str], name: str, *, default: int, least: int, most: int) -> int:
    """A whole number within bounds. Raises MalformedEvent."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise refused(name, f"must be a whole number from {least} to {most}")
    return int(text)


def identifier(query: MultiMapping[str], name: str) -> str | None:
    """An id, or None where it is not given. Raises MalformedEvent."""
    text = query.get(name)
    if text is None:
        return None
    try:
        return normalise_id(text)
    except ValueError as error:
        raise refused(name, str(error)) from error


def choice(query: MultiMapping[str], name: str, among: type[Choice]) -> Choice | None:
    """One of a closed set, or None where it is not given. Raises MalformedEvent."""
    text = query.get(name)
    if text is None:
        return None
    try:
        return among(text)
    except ValueError as error:
        raise refused(name, f"must be one of {', '.join(among)}") from error
