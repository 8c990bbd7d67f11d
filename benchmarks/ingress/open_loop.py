"""The open loop: requests leave at a constant rate, whatever the answers do.

Latency is counted from the moment when a request was *due*. So a server that stalls for a while is charged with every
request that should have been sent meanwhile, and a generator that sends late makes the figure worse, never better
(no coordinated omission). What is the generator's own fault is kept apart as *lag*: how long after it was due, and a
connection was free, a request left. A request that finds no free connection waits for one, and its clock runs; one
that could not be sent for a whole second is *dropped*, which spoils the measurement.

Pure but for the clock and the connections that it is given.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks.ingress.connection import Connection

GIVE_UP_S = 1.0
_LOOK_AGAIN_S = 0.001


@dataclass(frozen=True, slots=True)
class Schedule:
    """When each request is due: the first at `start`, then `rate` a second, `count` in all."""

    start: float
    rate: float
    count: int

    def due(self, number: int) -> float:
        """The moment of the n-th, from 0. Not added up, so that errors do not."""
        return self.start + number / self.rate


class OpenLoop:
    """Sends what is due, in order, over whatever connection is free. Call `send_due` at the times it asks for."""

    def __init__(
        self,
        schedule: Schedule,
        requests: Sequence[bytes],
        *,
        clock: Callable[[], float],
        on_accepted: Callable[[int, bytes], None] | None = None,
    ) -> None:
        self.schedule = schedule
        self.latency_s = array("d", [-1.0]) * schedule.count
        """From due to answered; negative where there was no 202."""
        self.lag_s = array("d", [-1.0]) * schedule.count
        """From due, and a connection free, to sent; negative for what was dropped."""
        self.statuses: Counter[bytes] = Counter()
        self.dropped = 0
        self.losses = 0
        self.done = asyncio.Event()
        self._requests = requests
        self._clock = clock
        self._on_accepted = on_accepted
        self._free: list[Connection] = []
        self._free_since = schedule.start
        self._next = 0
        self._ended = 0

    def add(self, connections: Sequence[Connection]) -> None:
        """Makes connections available."""
        self._free += connections

    def begin_at(self, start: float) -> None:
        """Moves the schedule, before anything of it was sent: all preparation lies behind us."""
        self.schedule = replace(self.schedule, start=start)
        self._free_since = start

    def send_due(self) -> float | None:
        """Sends everything that is due by now. Returns when the next is, None when it waits for a connection or all
        were sent.
        """
        schedule = self.schedule
        while self._next < schedule.count:
            now, due = self._clock(), schedule.due(self._next)
            if due > now:
                return due
            if now - due > GIVE_UP_S:
                self.dropped += 1
                self._end_one()
            elif self._free:
                connection = self._free.pop()
                self.lag_s[self._next] = now - max(due, self._free_since)
                connection.send(self._requests[self._next % len(self._requests)], self._next)
            else:
                return None
            self._next += 1
        return None

    def answered(self, connection: Connection, status: bytes, body: bytes) -> None:
        """Takes the time, and sends what waited for a connection."""
        now, number = self._clock(), connection.number
        self.statuses[status] += 1
        if status == b"202":
            self.latency_s[number] = now - self.schedule.due(number)
            if self._on_accepted is not None:
                self._on_accepted(number, body)
        starved = not self._free
        self._free.append(connection)
        self._end_one()
        if starved:
            self._free_since = now
            self.send_due()

    def lost(self, connection: Connection) -> None:
        """A connection that ends with a request under way spoils the measurement. A server may close an idle one."""
        if connection in self._free:
            self._free.remove(connection)
        elif not self.done.is_set():
            self.losses += 1
            self.done.set()

    def _end_one(self) -> None:
        self._ended += 1
        if self._ended == self.schedule.count:
            self.done.set()


async def drive(loop: OpenLoop, *, timeout: float) -> None:
    """Sends all of the schedule on time and returns when all was answered. Raises TimeoutError."""
    running = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def send() -> None:
        nonlocal timer
        due = loop.send_due()
        if due is None:
            # What waits for a connection is sent by the next answer; look again soon, not to be late for what follows.
            due = running.time() + _LOOK_AGAIN_S
        timer = running.call_at(due, send)

    try:
        send()
        async with asyncio.timeout(timeout):
            await loop.done.wait()
    finally:
        if timer is not None:
            timer.cancel()
