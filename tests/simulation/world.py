"""One run, from the start to quiet: the workers, their world, and the plan that is carried out on them.

Everything here belongs to the process `world`, which no fault touches. A run has four parts: the plan's deeds; the
healing, after which nothing fails, every process that is to come back is back and every partition has one owner; the
quiet, when all that was logged is applied and published; and taking the world down, which frees what the dead left.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from dataclasses import dataclass
from random import Random
from typing import Any

from backbone.clocks import Clock
from backbone.eventlog.port import LogRecord
from consumers.runner import Runner
from tests.simulation.chance import undisturbed
from tests.simulation.database import Database
from tests.simulation.deeds import Deeds
from tests.simulation.event_log import SESSION_S, Group, SimulatedLog, SimulatedTopics
from tests.simulation.events import open_dead_letters
from tests.simulation.faults import Faults
from tests.simulation.parts import DEAD_LETTERS_TOPIC, OUTCOMES_TOPIC, RECEIVED_TOPIC, SPECS, Parts
from tests.simulation.plans import Act, Plan
from tests.simulation.poison import poisoning
from tests.simulation.scheduler import CURRENT, Process, SimulationLoop, SimulationStuck
from tests.simulation.story import Story
from tests.support.received import START_MS

QUIET_WITHIN_S = 90.0
"""Longer than anything needs to be over once the world is healed."""
LOOK_EVERY_S = 0.5
MOST_CANCELLATIONS = 10


@dataclass(slots=True, kw_only=True)
class Slot:
    """A place for a worker: its processes come and go, one at a time."""

    number: int
    skew_ms: int
    process: Process | None = None
    runner: Runner | None = None
    task: asyncio.Task[None] | None = None
    incarnations: int = 0


@dataclass(slots=True, kw_only=True)
class Ended:
    """What a run left behind, for the checker."""

    parts: Parts
    partitions: int
    received: list[LogRecord]
    outcomes: list[LogRecord]
    dead_letters: list[LogRecord]
    problem: str | None
    """What went wrong already on the way: no quiet, a stopped partition, a worker that gave up."""
    steps: int
    simulated_s: float


class World:
    """Carries out one plan."""

    def __init__(self, plan: Plan, parts: Parts, story: Story | None = None) -> None:
        self.plan = plan
        self.parts = parts
        self.rng = Random(f"run {plan.seed}")
        self.loop = SimulationLoop(Random(f"turns {plan.seed}"))
        self.faults = Faults(self, plan, Random(f"delays {plan.seed}"))
        self.database = Database(self, parts.files)
        self.topics = SimulatedTopics()
        self.group = Group(self, plan.partitions, Random(f"group {plan.seed}"))
        self.log_down = False
        self.healed = False
        self.over = False
        self.jumped_ms = 0
        self._story = story
        self.slots = [Slot(number=number, skew_ms=plan.skews_ms[number]) for number in range(plan.workers)]
        self._processes: list[Process] = [self.loop.world]
        self.problem: str | None = None

    # --- what the workers' parts ask -------------------------------------------------------------------------------

    def log_ms(self) -> int:
        """The log's clock."""
        return START_MS + self.jumped_ms + int(self.loop.time() * 1000)

    def note(self, who: Process | None, words: str) -> None:
        """Something worth telling, if somebody listens."""
        if self._story is not None:
            self._story.tell(self.loop.time(), "" if who is None else who.name, words)

    def crash(self, process: Process, *, back_s: float) -> None:
        """The process is gone at once. Its sessions end now or when the server notices; the group notices later."""
        if process.dead:
            return
        self.loop.kill(process)
        if self.rng.random() < 0.5:
            self.database.lose(process)
        self.loop.call_later(self.rng.choice((0.5, SESSION_S)), self.group.evict, process, context=self.own)
        if back_s:
            slot = next(slot for slot in self.slots if slot.process is process)
            self.loop.call_later(back_s, self.start, slot, context=self.own)

    def freeze(self, process: Process, for_s: float) -> None:
        """The process takes no step for a while; if that is long, the group goes on without it."""
        if process.frozen or process.dead:
            return
        self.loop.freeze(process)
        self.loop.call_later(for_s, self._thaw, process, context=self.own)
        if for_s > SESSION_S:
            self.loop.call_later(SESSION_S, self._evict_if_frozen, process, context=self.own)

    @property
    def own(self) -> Context:
        """The world's own context: what is done in it belongs to no worker."""
        return self.loop.world.context

    def _thaw(self, process: Process) -> None:
        if process.frozen:
            self.note(process, "goes on")
            self.loop.thaw(process)

    def _evict_if_frozen(self, process: Process) -> None:
        if process.frozen:
            self.group.evict(process)

    # --- the run ---------------------------------------------------------------------------------------------------

    def run(self) -> Ended:
        """The whole run."""
        with undisturbed(self.plan.seed), poisoning(self):
            try:
                self.loop.run_until_complete(self.loop.spawn(self.loop.world, self._live()))
            except SimulationStuck as error:
                self.problem = f"stuck: {error}"
            steps, simulated_s = self.loop.steps, self.loop.time()
            self._take_down()
        if self.loop.crashed is not None and self.problem is None:
            self.problem = f"an exception nobody took: {self.loop.crashed!r}"
        return Ended(
            parts=self.parts,
            partitions=self.plan.partitions,
            received=self.topics.all_records(RECEIVED_TOPIC),
            outcomes=self.topics.all_records(OUTCOMES_TOPIC),
            dead_letters=self.topics.all_records(DEAD_LETTERS_TOPIC),
            problem=self.problem,
            steps=steps,
            simulated_s=simulated_s,
        )

    async def _live(self) -> None:
        CURRENT.set(self.loop.world)
        self.parts.begin(self.database)
        for spec in SPECS[self.plan.partitions]:
            self.topics.make(spec)
        for slot in self.slots:
            self.start(slot)
        deeds = Deeds(self)
        for deed in self.plan.deeds:
            if (wait_s := deed.at - self.loop.time()) > 0:
                await asyncio.sleep(wait_s)
            deeds.do(deed)
        await asyncio.sleep(self.rng.choice((0.0, 0.3, 2.0)))
        self._heal()
        await self._grow_quiet()
        if self.plan.afterwards and self.problem is None:
            for number in range(open_dead_letters(self.parts.files.reader)):
                deeds.do(Act(at=self.loop.time(), act=self.plan.afterwards, number=number))
            await self._grow_quiet()

    def _heal(self) -> None:
        self.note(None, "from here on nothing fails")
        self.healed = True
        self.log_down = self.database.down = False
        for slot in self.slots:
            if slot.process is not None and slot.process.frozen:
                self._thaw(slot.process)
        for slot in self.slots:
            if slot.process is not None and slot.process.dead:
                self.group.evict(slot.process)
        if all(slot.process is None or slot.process.dead for slot in self.slots):
            self.start(self.slots[0])
        self.group.heal()

    async def _grow_quiet(self) -> None:
        since = self.loop.time()
        missing = "nothing was looked at"
        while self.loop.time() - since < QUIET_WITHIN_S:
            await asyncio.sleep(LOOK_EVERY_S)
            self.group.heal()
            for slot in self.slots:
                if slot.task is not None and slot.process is not None and not slot.process.dead and slot.task.done():
                    error = None if slot.task.cancelled() else slot.task.exception()
                    if error is not None:
                        self.problem = f"worker {slot.number} gave up: {error!r}"
                        return
                if slot.runner is not None and slot.process is not None and not slot.process.dead:
                    stopped = slot.runner.status().stopped
                    if stopped:
                        self.problem = f"worker {slot.number} stopped partitions: {stopped}"
                        return
            found = self.parts.missing(self.topics, self.plan.partitions, self.log_ms())
            if found is None:
                self.note(None, "all is applied and published")
                return
            missing = found
        self.problem = f"no quiet within {QUIET_WITHIN_S:g} s: {missing}"

    def _take_down(self) -> None:
        """Frees everything: the dead may move now, but nothing they do has an effect, and all they can do is end."""
        self.over = True
        self.database.lose()
        for process in self._processes:
            self.loop.exhume(process)
        left = [task for task in sorted(asyncio.all_tasks(self.loop), key=hash) if not _gives_back(task)]
        for task in left:
            task.cancel()
        self.loop.steps = 0
        self.loop.run_until_complete(self.loop.spawn(self.loop.world, _ended(self.loop)))
        self.loop.run_until_complete(self.loop.spawn(self.loop.world, self.loop.shutdown_asyncgens()))
        self.loop.close()

    # --- workers ---------------------------------------------------------------------------------------------------

    def start(self, slot: Slot) -> None:
        """A new process in this place, unless one is at work there."""
        if self.over or (slot.process is not None and not slot.process.dead and slot.task and not slot.task.done()):
            return
        slot.incarnations += 1
        name = f"worker {slot.number}" + (f" (start {slot.incarnations})" if slot.incarnations > 1 else "")
        slot.process = process = Process(name)
        self._processes.append(process)
        self.note(process, "starts")
        clock = Clock(now_ms=lambda: START_MS + slot.skew_ms + int(self.loop.time() * 1000), monotonic=self.loop.time)
        slot.runner = self.parts.make_runner(
            slot.number, SimulatedLog(self, process), clock, batch_size=self.plan.batch_size
        )
        slot.task = self.loop.spawn(process, slot.runner.run(), name=name)

    def start_again(self, slot: Slot) -> None:
        """After an orderly stop, once it has ended."""
        if slot.task is not None and not slot.task.done() and slot.process is not None and not slot.process.dead:
            self.loop.call_later(0.5, self.start_again, slot, context=self.own)
        else:
            self.start(slot)

    def end_outage(self, part: str) -> None:
        """Log or store answer again."""
        if part == "log":
            self.log_down = False
        else:
            self.database.down = False


def _gives_back(task: asyncio.Task[Any]) -> bool:
    """Whether the task is SQLAlchemy's own, which gives a connection back and ends by itself."""
    return getattr(task.get_coro(), "__qualname__", "") == "AsyncConnection.close"


async def _ended(loop: SimulationLoop) -> None:
    """Returns when all other tasks have."""
    own = asyncio.current_task()
    left: list[asyncio.Task[Any]] = []
    for _ in range(MOST_CANCELLATIONS):
        left = [task for task in sorted(asyncio.all_tasks(loop), key=hash) if task is not own]
        if not left:
            return
        done, late = await asyncio.wait(left, timeout=60.0)
        for task in done:
            if not task.cancelled():
                task.exception()  # what it ended with does not matter any more
        for task in late:
            task.cancel()
    raise SimulationStuck(f"tasks that cannot be cancelled: {left}")
