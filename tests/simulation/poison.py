"""Events whose decision fails, or ends the process that makes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

from consumers import deciding
from consumers.lifecycle import Decision, Situation, decide
from tests.simulation.events import poison_of
from tests.simulation.scheduler import CURRENT, ProcessKilled

if TYPE_CHECKING:
    from tests.simulation.world import World


class PoisonError(Exception):
    """What deciding a poisoned event raises."""


@contextmanager
def poisoning(world: World) -> Iterator[None]:
    """While it lasts, poison works: always, or as often as the event says."""
    decided: Counter[tuple[str, int | None]] = Counter()

    def decide_or_not(situation: Situation) -> Decision:
        name, times = poison_of(situation.event.occurred_us)
        key = situation.order_id, situation.event.occurred_us
        if name and not world.over:
            decided[key] += 1
            if not times or decided[key] <= times:
                process = CURRENT.get()
                world.note(process, f"deciding the event of offset {situation.offset} {name}")
                if name == "kills":
                    world.crash(process, back_s=world.rng.choice((0.1, 2.0)))
                    raise ProcessKilled
                raise PoisonError
        return decide(situation)

    with patch.object(deciding, "decide", decide_or_not):
        yield
