"""Trail rows as they come from the database, cheap enough to go through millions of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement

from backbone.store.tables import trail
from schemas.outcomes import TrailRow

ROW_NAMES: tuple[str, ...] = tuple(field.name for field in fields(TrailRow))
ROW_COLUMNS: tuple[ColumnElement[Any], ...] = (trail.c.hash, *(trail.c[name] for name in ROW_NAMES))
"""What to select for `read_row`."""

# Has the attributes of a TrailRow. A frozen dataclass of 29 fields takes ten times as long to make.
_RowTuple = NamedTuple("_RowTuple", [(name, Any) for name in ROW_NAMES])  # type: ignore[misc]


def read_row(values: Sequence[Any]) -> tuple[TrailRow, bytes]:
    """The row and its stored hash, from a result row of ROW_COLUMNS."""
    return cast("TrailRow", _RowTuple._make(values[1:])), values[0]
