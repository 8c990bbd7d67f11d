"""What the oracle remembers of those who wait, and of what is set aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tests.support.oracle_story import Logged


class Wait(NamedTuple):
    """Why an event waits (`foreign`, `ahead` or `parked`), and until when."""

    deadline: int | None
    event: Logged
    why: str


@dataclass
class Letter:
    """A pair that was set aside. `event` is None where it was no event, or could not be read."""

    order_id: str
    parks: str
    event: Logged | None
    state: str = "open"
    is_readable: bool = True
    is_erased_whole: bool = False
    """Whether an erasure takes all of it, being unable to tell what is personal in it."""
    is_gone: bool = False
    erases: bool = False
    """Whether it is a person's erasure, which can be done after all."""

    def keeps(self, event: Logged) -> bool:
        """Whether the event has to wait behind it."""
        if self.state != "open" or self.parks == "nothing" or self.order_id != event.record.order_id:
            return False
        return self.parks == "order" or (
            self.event is not None and self.event.record.source.uid == event.record.source.uid
        )
