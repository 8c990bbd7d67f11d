"""The other view of a verdict: a partner that asks for the receipt of a callback until it is final.

Asking is work for the server that is measured, and must not become the load. So only a few events a second are asked
for, each over a connection of its own: first when the verdict is about due, by how long the latest ones took, then
again a few milliseconds after each answer, and as it grows older, more rarely. A time is known to 5 ms or a tenth,
whichever is more. A verdict that comes much sooner than the others is seen too late, never one that comes later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from statistics import median

import orjson

from benchmarks.ingress.connection import Connection

SAMPLES_PER_S = 5
_AGAIN_AFTER_S = 0.005
_OR_OF_AGE = 0.1
_FIRST_AT = 0.8
"""Of the middle one of the latest times."""
_LATEST = 15
_FINAL = b'"state":"final"'


class ReceiptSampler:
    """Asks for receipts. Hand it every answer; it picks."""

    def __init__(self, *, port: int, token: str, every: int, clock: Callable[[], float]) -> None:
        self.seen: dict[int, float] = {}
        """When the receipt of an event was final, by its number."""
        self.failures: list[str] = []
        self._head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
        self._every = every
        self._clock = clock
        self._free: list[Connection] = []
        self._asking: dict[int, tuple[bytes, float]] = {}
        """The request for each receipt that is open, and when its event was accepted."""
        self._latest_s: deque[float] = deque(maxlen=_LATEST)
        self._done = asyncio.Event()
        self._done.set()

    def add(self, connections: Sequence[Connection]) -> None:
        """Makes connections available: the most receipts that can be waited for at a time."""
        self._free += connections

    def accepted(self, number: int, body: bytes) -> None:
        """The 202 of an event came; asks for its receipt if it is one of those picked."""
        if number % self._every:
            return
        if not self._free:
            self.failures.append("more receipts were open than can be waited for")
            return
        receipt_id = orjson.loads(body)["receipt_id"]
        request = f"GET /v1/receipts/{receipt_id} HTTP/1.1\r\n{self._head}".encode()
        self._asking[number] = request, self._clock()
        self._done.clear()
        first_s = median(self._latest_s) * _FIRST_AT if self._latest_s else 0.0
        self._ask(self._free.pop(), number, first_s)

    def answered(self, connection: Connection, status: bytes, body: bytes) -> None:
        """Takes the time if the receipt is final, else asks again soon."""
        number = connection.number
        if status == b"200" and _FINAL not in body:
            self._ask(connection, number, max(_AGAIN_AFTER_S, self._age_s(number) * _OR_OF_AGE))
            return
        if status == b"200":
            self.seen[number] = self._clock()
            self._latest_s.append(self._age_s(number))
        else:
            self.failures.append(f"a receipt was answered {status.decode()}: {body.decode(errors='replace')}")
        self._free.append(connection)
        del self._asking[number]
        if not self._asking:
            self._done.set()

    def _ask(self, connection: Connection, number: int, after_s: float) -> None:
        connection.number = number
        request, _ = self._asking[number]
        asyncio.get_running_loop().call_later(after_s, connection.send, request, number)

    def _age_s(self, number: int) -> float:
        return self._clock() - self._asking[number][1]

    def lost(self, connection: Connection) -> None:
        """A connection that ends while it asks spoils the measurement; an idle one may."""
        if connection in self._free:
            self._free.remove(connection)
        elif self._asking.pop(connection.number, None) is not None:
            self.failures.append("a connection was lost")
            if not self._asking:
                self._done.set()

    async def finish(self, *, timeout: float) -> None:
        """Returns when nothing is asked for any more. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            await self._done.wait()
