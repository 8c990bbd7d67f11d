"""Pydantic's findings in our words: each field with what is wrong, never with what was sent."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from schemas.errors import MalformedEvent

Model = TypeVar("Model", bound=BaseModel)
_MOST_ERRORS = 20
_LONGEST_FIELD = 100


def read_model(model: type[Model], value: dict[str, Any]) -> Model:
    """The value as the model. Raises MalformedEvent with at most twenty fields."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise malformed(error) from error


def malformed(error: ValidationError) -> MalformedEvent:
    """The refusal that a failed validation means."""
    problems = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False)[:_MOST_ERRORS]:
        field = ".".join(str(part) for part in problem["loc"])[:_LONGEST_FIELD] or "(body)"
        message = problem["msg"].removeprefix("Value error, ")
        problems.append((field, message))
    named = ", ".join(dict.fromkeys(field for field, _ in problems))
    return MalformedEvent(f"The body does not have the expected form: {named}.", errors=tuple(problems))
