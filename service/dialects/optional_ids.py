"""Ids that a message can do without: of stores, couriers and deliveries, beside the order's own.

Whoever never sends a refused message again must not lose what it says over one of these: blank, too long or of another
type, such an id counts as not there.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from schemas.events import Identifier
from schemas.identifiers import normalise_id


def read_optional_id(value: object) -> str | None:
    """The id, normalised; None for what cannot be one."""
    try:
        return normalise_id(value)
    except ValueError:
        return None


def blank_as_none(value: object) -> object:
    """None for a text without letters; everything else as it is."""
    return None if isinstance(value, str) and not value.strip() else value


OptionalId = Annotated[str | None, BeforeValidator(read_optional_id)]
"""What cannot be an id is None."""
FilledId = Annotated[Identifier | None, BeforeValidator(blank_as_none)]
"""None where it is blank; refused where it cannot be an id: for what names the order, where another field may too."""
