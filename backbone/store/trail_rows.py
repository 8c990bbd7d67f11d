"""Trail rows as they come from the database, cheap enough to go through millions of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement

from backbone.store.tables import trail
from schemas.outcomes import TrailRow

ROW_NAMES: tuple[str, ...] = TrailRow._fields
ROW_COLUMNS: tuple[ColumnElement[Any], ...] = (trail.c.hash, *(trail.c[name] for name in ROW_NAMES))
"""What to select for `read_row`."""


def read_row(values: Sequence[Any]) -> tuple[TrailRow, bytes]:
    """The row and its stored hash, from a result row of ROW_COLUMNS."""
    return TrailRow._make(values[1:]), values[0]
