"""The plan's deeds, done to the world."""

from __future__ import annotations

from functools import singledispatchmethod
from typing import TYPE_CHECKING

from backbone.eventlog.port import NewRecord
from backbone.eventlog.received import tick_to_log
from schemas.records import TickRecord
from tests.simulation.event_log import SimulatedMember
from tests.simulation.events import describe_act, garbage, make_act, make_record
from tests.simulation.parts import RECEIVED_TOPIC
from tests.simulation.plans import Act, Deed, Garbage, Jump, Move, Outage, Post, Tick, Trouble
from tests.simulation.story import describe_event
from tests.support.received import new_record

if TYPE_CHECKING:
    from tests.simulation.world import Slot, World


class Deeds:
    """Does what a plan has, one deed after the other. Each is done at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._acts = 0

    @singledispatchmethod
    def do(self, deed: Deed) -> None:
        """One deed, whatever it is."""
        raise NotImplementedError(type(deed).__name__)

    @do.register
    def _post(self, deed: Post) -> None:
        new = new_record(make_record(deed.event), partitions=self._world.plan.partitions)
        self._append(new, describe_event(deed.event))

    def _append(self, new: NewRecord, words: str) -> None:
        position = self._world.topics.append(RECEIVED_TOPIC, [new], self._world.log_ms())[0]
        self._world.note(None, f"log {position.partition}, offset {position.offset}: {words}")

    @do.register
    def _tick(self, deed: Tick) -> None:
        self._append(tick_to_log(TickRecord(event_id=f"tick-{deed.name}"), deed.partition), "a tick")

    @do.register
    def _garbage(self, deed: Garbage) -> None:
        self._append(
            garbage(deed, self._world.plan.partitions), f"bytes that nobody can read, under the key of {deed.order}"
        )

    @do.register
    def _act(self, deed: Act) -> None:
        self._acts += 1
        new = make_act(deed, f"act-{self._acts}", self._world.parts.files.reader, self._world.plan.partitions)
        if new is not None:
            self._append(new, describe_act(deed, new))

    @do.register
    def _move(self, deed: Move) -> None:
        member = self._member(self._world.slots[deed.worker])
        if member is not None and not member.process.dead:
            how = f"; who had it believes so for {deed.believes_s:g} s" if deed.believes_s else ""
            self._world.note(None, f"the group gives partition {deed.partition} to {member.process.name}{how}")
            self._world.group.move(deed.partition, member, believes_s=deed.believes_s)

    @do.register
    def _trouble(self, deed: Trouble) -> None:
        slot = self._world.slots[deed.worker]
        process = slot.process
        if process is None or process.dead or slot.runner is None:
            return
        self._world.note(process, f"{deed.effect}, for {deed.for_s:g} s")
        if deed.effect == "crash":
            self._world.crash(process, back_s=deed.for_s)
        elif deed.effect == "freeze":
            self._world.freeze(process, deed.for_s)
        else:
            self._world.loop.tell(process, slot.runner.stop)
            self._world.loop.call_later(deed.for_s, self._world.start_again, slot, context=self._world.own)

    @do.register
    def _outage(self, deed: Outage) -> None:
        self._world.note(None, f"the {deed.part} is away for {deed.for_s:g} s")
        if deed.part == "log":
            self._world.log_down = True
            self._world.topics.wake()
        else:
            self._world.database.down = True
            self._world.database.lose()
        self._world.loop.call_later(deed.for_s, self._world.end_outage, deed.part, context=self._world.own)

    @do.register
    def _jump(self, deed: Jump) -> None:
        self._world.note(None, f"the log's clock is set by {deed.by_ms:+d} ms")
        self._world.jumped_ms += deed.by_ms

    def _member(self, slot: Slot) -> SimulatedMember | None:
        return next((member for member in self._world.group.members if member.process is slot.process), None)
