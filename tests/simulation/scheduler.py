"""Time, and who runs next: an event loop for many simulated processes, driven by a seed.

Each simulated process has what a real one has: a queue of callbacks that asyncio promises to run in order. Which
process takes the next step is drawn at random, so everything that can interleave between processes does, and nothing
happens that asyncio rules out within one. Time stands still while anybody can run and then jumps to the next timer.
No selector, no threads, no clock: the same seed takes the same steps.

A process can be *frozen* (it keeps its callbacks and takes no step) or *dead* (it takes none ever again: no `finally`,
no rollback, as after a power cut). Who a callback belongs to is its context, which tasks hand down by themselves.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from itertools import count
from random import Random
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
MOST_STEPS = 200_000
"""More steps than any run needs: beyond them somebody is running in a circle."""


class ProcessKilled(BaseException):
    """Unwinds the step in which a process is killed. What its `finally` blocks still try has no effect."""


class SimulationStuck(Exception):
    """Nobody can run and no timer is set, or they run in a circle."""


class Process:
    """A simulated process: its name, its queue, and whether it takes steps."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: deque[events.Handle] = deque()
        self.frozen = False
        self.dead = False
        self.context: Context = copy_context()
        self.context.run(CURRENT.set, self)

    def __repr__(self) -> str:
        return self.name


CURRENT: ContextVar[Process] = ContextVar("CURRENT")
"""The process whose step is being taken."""


class _Task(asyncio.Task[T]):
    """A task whose place in a set does not depend on where it lies in memory."""

    def __init__(self, *arguments: Any, number: int, **named: Any) -> None:
        self._number = number  # before the base class, which puts the task into a set
        super().__init__(*arguments, **named)

    def __hash__(self) -> int:
        return self._number


class SimulationLoop(asyncio.BaseEventLoop):
    """Runs the simulated processes. Use: `run_until_complete` from a plain thread, then `close`."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng
        self._now = 0.0
        self._timers: list[tuple[float, int, events.TimerHandle]] = []
        self._numbers = count(1)
        self._runnable: list[Process] = []
        self.steps = 0
        self.world = Process("world")
        self.crashed: BaseException | None = None
        self.set_task_factory(self._make_task)
        self.set_exception_handler(self._remember)

    def time(self) -> float:
        """Simulated seconds since the start."""
        return self._now

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Any, context: Context | None = None, **named: Any
    ) -> _Task[Any]:
        return _Task(coro, number=next(self._numbers), loop=loop, context=context, **named)

    def _remember(self, _loop: asyncio.AbstractEventLoop, found: dict[str, Any]) -> None:
        """An exception that nobody took: the run has failed, whatever else it did."""
        error = found.get("exception")
        if not isinstance(error, ProcessKilled):
            self.crashed = self.crashed or error or SimulationStuck(str(found.get("message")))

    # What BaseEventLoop asks of a loop.

    def _call_soon(self, callback: Any, args: Any, context: Context | None) -> events.Handle:
        handle = events.Handle(callback, args, self, context)
        self._enqueue(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> events.TimerHandle:
        """As the base class, with ties in the order of setting."""
        handle = events.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        """Cancelled timers are skipped when their time comes."""

    def _write_to_self(self) -> None:
        """Nobody else's thread has to be woken."""

    def _enqueue(self, handle: events.Handle) -> None:
        process: Process = handle._context.get(CURRENT, self.world)  # type: ignore[attr-defined]
        queue = process.queue
        queue.append(handle)
        if len(queue) == 1 and not process.frozen and not process.dead:
            self._runnable.append(process)

    def _run_once(self) -> None:
        runnable = self._runnable
        while not runnable:
            self._pass_time()
        place = int(self._rng.random() * len(runnable)) if len(runnable) > 1 else 0
        process = runnable[place]
        handle = process.queue.popleft()
        if not process.queue:
            runnable[place] = runnable[-1]
            runnable.pop()
        if handle._cancelled:
            return
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise SimulationStuck(f"{MOST_STEPS} steps and no end at {self._now:.1f} s")
        handle._run()

    def _pass_time(self) -> None:
        """On to the next timer, and to all that are due then."""
        if not self._timers:
            raise SimulationStuck(f"nobody can run and no timer is set at {self._now:.1f} s")
        while self._timers and self._timers[0][2]._cancelled:
            heapq.heappop(self._timers)
        if self._timers:
            self._now = max(self._now, self._timers[0][0])
        while self._timers and self._timers[0][0] <= self._now:
            handle = heapq.heappop(self._timers)[2]
            if not handle._cancelled:
                self._enqueue(handle)

    # What the world does to processes.

    def spawn(self, process: Process, work: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Starts a task of the process."""
        return self.create_task(work, name=name, context=process.context)

    def tell(self, process: Process, act: Callable[..., object], *arguments: Any) -> None:
        """Lets the process call something in its next steps."""
        self.call_soon(act, *arguments, context=process.context)

    def freeze(self, process: Process) -> None:
        """No more steps until `thaw`. Timers that are due meanwhile wait in the queue."""
        process.frozen = True
        self._bench(process)

    def thaw(self, process: Process) -> None:
        """Steps again."""
        if process.frozen:
            process.frozen = False
            if process.queue and not process.dead:
                self._runnable.append(process)

    def kill(self, process: Process) -> None:
        """No more steps, ever (until the world is taken down)."""
        process.dead = True
        self._bench(process)

    def exhume(self, process: Process) -> None:
        """Lets a dead or frozen process run again so that its tasks can be cancelled and freed, after the run."""
        waited = process.dead or process.frozen
        process.dead = process.frozen = False
        if waited and process.queue:
            self._runnable.append(process)

    def _bench(self, process: Process) -> None:
        if process in self._runnable:
            self._runnable.remove(process)
