"""Events whose decision fails, or ends the process that makes it; and such as end it while they are parsed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn
from unittest.mock import patch

from consumers import deciding, logged_event
from consumers.lifecycle import Decision, Situation, decide
from schemas.records import AnyRecord, EventRecord, OperatorRecord, load_record
from tests.simulation.events import poison_of
from tests.simulation.plans import Poison
from tests.simulation.scheduler import CURRENT, ProcessKilled

if TYPE_CHECKING:
    from tests.simulation.world import World


class PoisonError(Exception):
    """What deciding a poisoned event raises."""


@contextmanager
def poisoning(world: World) -> Iterator[None]:
    """While it lasts, poison works: always, or as often as the event says."""
    met: Counter[tuple[str, int | None]] = Counter()

    def works(order_id: str, occurred_us: int | None, *, reading: bool) -> Poison:
        """Whether it works on whoever decides that event, or reads it, now; nobody is poisoned outside a worker."""
        name, times = poison_of(occurred_us)
        if world.over or not name or (name == "kills_reader") is not reading or CURRENT.get() is world.loop.world:
            return ""
        met[order_id, occurred_us] += 1
        return name if not times or met[order_id, occurred_us] <= times else ""

    def kill(words: str) -> NoReturn:
        process = CURRENT.get()
        world.note(process, words)
        world.crash(process, back_s=world.rng.choice((0.1, 2.0)))
        raise ProcessKilled

    def decide_or_not(situation: Situation) -> Decision:
        name = works(situation.order_id, situation.event.occurred_us, reading=False)
        if name == "kills":
            kill(f"deciding the event of offset {situation.offset} kills")
        if name:
            world.note(CURRENT.get(), f"deciding the event of offset {situation.offset} fails")
            raise PoisonError
        return decide(situation)

    def load_or_die(value: bytes) -> AnyRecord:
        record = load_record(value)
        if isinstance(record, EventRecord | OperatorRecord) and works(
            record.order_id, record.event.occurred_us, reading=True
        ):
            kill(f"parsing {record.event_id} of {record.order_id} kills")
        return record

    with patch.object(deciding, "decide", decide_or_not), patch.object(logged_event, "load_record", load_or_die):
        yield
