"""So many webhooks, each of them new: orders announced and moved to their end, a few hundred at a time.

A closed loop of connections that sign as they go, since a million signatures made beforehand would be too old. What it
prints at the end says how many had been answered when, for others to hold their own samples against.

    python -m benchmarks.memory.load --port=N --events=N < secret
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import orjson
import uvloop

PATH = "/v1/webhooks/bench"
_STATUSES = ("NEW", "ACCEPTED_BY_RESTAURANT", "COOKING", "READY", "TAKEN_BY_COURIER", "DELIVERED")
_UNDER_WAY = 300
_TELL_EVERY_S = 0.5


def make_events(count: int) -> Iterator[tuple[str, str]]:
    """So many (order id, status), orders taking turns; each goes its way to the end, then another one begins."""
    orders = [[number, 0] for number in range(_UNDER_WAY)]
    following = _UNDER_WAY
    for number in range(count):
        order = orders[number % _UNDER_WAY]
        yield f"ORDER-{order[0]:08d}", _STATUSES[order[1]]
        order[1] += 1
        if order[1] == len(_STATUSES):
            order[:] = [following, 0]
            following += 1


class Signed:
    """Standard Webhooks requests as bytes."""

    def __init__(self, secret: str, port: int) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._port = port

    def request(self, number: int, order_id: str, status: str) -> bytes:
        """One whole HTTP request, signed now."""
        now = datetime.now(UTC)
        stamp, event_id = int(now.timestamp()), f"evt_{number:09d}"
        body = orjson.dumps(
            {"order_id": order_id, "status": status, "occurred_at": now.isoformat(), "comment": "ring twice"}
        )
        signed = hmac.digest(self._key, f"{event_id}.{stamp}.".encode() + body, hashlib.sha256)
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: application/json\r\n"
            f"webhook-id: {event_id}\r\nwebhook-timestamp: {stamp}\r\n"
            f"webhook-signature: v1,{base64.b64encode(signed).decode()}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Load:
    """What all connections share."""

    def __init__(self, signed: Signed, events: int) -> None:
        self._signed = signed
        self._events = enumerate(make_events(events))
        self.statuses: Counter[str] = Counter()
        self.timeline: list[tuple[float, int]] = []

    async def run(self, port: int, connections: int) -> None:
        """Returns once all events were sent and answered. Raises what a broken connection raises."""
        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(done))
            async with asyncio.TaskGroup() as sending:
                for _ in range(connections):
                    sending.create_task(self._send(port))
            done.set()
            await watching

    async def _send(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number, (order_id, status) in self._events:
            writer.write(self._signed.request(number, order_id, status))
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(head.partition("content-length:")[2].partition("\r\n")[0]))
            self.statuses[head[9:12]] += 1
        writer.close()
        await writer.wait_closed()

    async def _watch(self, done: asyncio.Event) -> None:
        while not done.is_set():
            self.timeline.append((time.time(), self.statuses.total()))
            try:
                async with asyncio.timeout(_TELL_EVERY_S):
                    await done.wait()
            except TimeoutError:
                pass
        self.timeline.append((time.time(), self.statuses.total()))


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    load = Load(Signed(sys.stdin.readline().strip(), options.port), options.events)
    uvloop.run(load.run(options.port, options.connections))
    print(orjson.dumps({"statuses": dict(load.statuses), "timeline": load.timeline}).decode())


if __name__ == "__main__":
    main()
