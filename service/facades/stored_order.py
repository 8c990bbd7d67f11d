"""What a facade reads of a stored order, whatever is stored.

The door's limits were for what came in. What lies in the store may be more (amendments are merged), or come from
another version; it is shown all the same, and what cannot be understood is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from backbone.store.views import OrderView
from schemas.details import STORED, OrderDetails
from schemas.times import is_plausible

_MOST_PASSES = 8


def read_details(view: OrderView) -> OrderDetails:
    """The order's details. Members that cannot be read count as not given. Never raises."""
    remaining: Any = view.details
    for _ in range(_MOST_PASSES):
        try:
            return OrderDetails.model_validate(remaining, context=STORED)
        except ValidationError as error:
            remaining = deepcopy(remaining)
            # From behind, so that what is taken out of a list moves nothing that is still to go.
            for place in sorted({tuple(map(_sortable, problem["loc"])) for problem in error.errors()}, reverse=True):
                _take_out(remaining, [step for _, _, step in place])
    return OrderDetails()


def believed_placed_us(view: OrderView) -> int:
    """When the order was placed: as its announcer says, or when we logged it where that is missing or implausible."""
    claimed = view.placed_us
    if claimed is not None and is_plausible(claimed, view.announced_ms):
        return claimed
    return view.announced_ms * 1000


def _sortable(step: int | str) -> tuple[bool, int, int | str]:
    return (isinstance(step, str), step if isinstance(step, int) else 0, step)


def _take_out(value: Any, place: Sequence[int | str]) -> None:
    """Removes what lies at the place, or the nearest thing around it that is there."""
    for depth, step in enumerate(place):
        is_there = (isinstance(value, dict) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        )
        if not is_there:
            return
        if depth == len(place) - 1:
            del value[step]
        else:
            value = value[step]
