"""The points where workers meet their world, and what happens to them there."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.plans import Fault, Plan, Point
from tests.simulation.scheduler import CURRENT, ProcessKilled

if TYPE_CHECKING:
    from tests.simulation.world import World


class Faults:
    """Counts points over the whole run and does to a worker what the plan has for the place it came to."""

    def __init__(self, world: World, plan: Plan, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self._counts: Counter[Point] = Counter()
        self._waiting = {(fault.point, fault.nth): fault for fault in plan.faults}
        self._slowness = rng.choice((0.0, 0.05, 0.3))
        """How often a step of a worker takes noticeable time."""

    async def point(self, point: Point) -> Fault | None:
        """Called by whoever is about to do (or has done) something that others can see. Gives others their turn.

        Returns the fault that is the caller's to carry out (fail, lose_answer, late). Does not return to the dead.
        """
        world, process = self._world, CURRENT.get()
        if world.over:
            return None
        fault = None
        if not world.healed:
            self._counts[point] += 1
            fault = self._waiting.pop((point, self._counts[point]), None)
        if fault is not None:
            world.note(process, f"at its {point}: {describe(fault)}")
            if fault.effect == "crash":
                world.crash(process, back_s=fault.for_s)
            elif fault.effect == "freeze":
                world.freeze(process, fault.for_s)
            elif fault.effect == "slow":
                await asyncio.sleep(fault.for_s)
        if process.dead:
            await never()
        if self._rng.random() < self._slowness:
            await asyncio.sleep(self._rng.choice((0.001, 0.005, 0.02, 0.1)))
        else:
            await asyncio.sleep(0)
        return fault if fault is not None and fault.effect in {"fail", "lose_answer", "late"} else None


async def never() -> None:
    """Does not return: the caller is dead. Cancelled when the world is taken down."""
    if asyncio.current_task() is None:
        raise ProcessKilled
    await asyncio.get_running_loop().create_future()


def describe(fault: Fault) -> str:
    """The fault in words."""
    lasting = f" for {fault.for_s:g} s" if fault.for_s else ""
    match fault.effect:
        case "crash":
            return f"crashes, back after {fault.for_s:g} s" if fault.for_s else "crashes, never to return"
        case "freeze":
            return f"freezes{lasting}"
        case "slow":
            return f"takes {fault.for_s:g} s longer"
        case "fail":
            return "fails, nothing done"
        case "lose_answer":
            return "done, but the answer is lost"
        case "late":
            return f"the answer is lost, and it is done {fault.for_s:g} s later"
