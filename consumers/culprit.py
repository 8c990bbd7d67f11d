"""Which event's rows the store refuses, when it says no more than that it refuses some.

The suspects are all events decided under one record, the last one first. Set aside the first few of them, and the rest
is taken or not; halving finds where that turns. So it costs as many trials as the number of suspects has binary digits,
and several culprits are found one after the other.

The order matters: without an event, those that it released would not be decided either, so asked in another order the
wrong one would seem to be at fault.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

Takes = Callable[[Sequence[int]], Awaitable[bool]]
"""Whether the store takes the record with these events set aside. Changes nothing."""


async def find_culprit(takes: Takes, suspected: Sequence[int]) -> int | None:
    """The event to set aside next; None where nothing helps. With none of them aside the record is known to fail.

    Raises what `takes` raises. May be repeated.
    """
    if not suspected:
        return None
    if not await takes(suspected):
        for event_offset in suspected:  # setting some aside does harm of its own: the last resort
            if await takes([event_offset]):
                return event_offset
        return None
    refused, taken = 0, len(suspected)
    while taken - refused > 1:
        middle = (refused + taken) // 2
        if await takes(suspected[:middle]):
            taken = middle
        else:
            refused = middle
    return suspected[taken - 1]
