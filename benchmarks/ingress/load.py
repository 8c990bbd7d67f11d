"""The load: a closed loop of connections that each send the next signed webhook as soon as the last was answered.

A program of its own, so that it never shares an interpreter with what it measures, and as cheap as Python allows: the
requests are bytes made and signed beforehand, and an answer is looked at only for its status and its length.

    python -m benchmarks.ingress.load --port=N [...] < secret
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import cast

import orjson
import uvloop
from standardwebhooks.webhooks import Webhook

PATH = "/v1/webhooks/bench"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END = b"\r\n\r\n"
_STATUSES = ("ACCEPTED_BY_RESTAURANT", "COOKING", "READY", "TAKEN_BY_COURIER", "DELIVERED")


def make_requests(secret: str, *, port: int, count: int) -> list[bytes]:
    """Whole HTTP requests, each a webhook with an id and an order of its own, signed now."""
    webhook, now = Webhook(secret), datetime.now(UTC)
    requests = []
    for number in range(count):
        event_id = f"evt_{number:08d}"
        body = orjson.dumps(
            {
                "order_id": f"ORDER-{number % 997:05d}",
                "status": _STATUSES[number % len(_STATUSES)],
                "occurred_at": now.isoformat(timespec="milliseconds"),
                "comment": "ring twice, the bell is quiet",
                "attributes": ["contactless", "no-cutlery"],
            }
        ).decode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"webhook-id: {event_id}\r\nwebhook-timestamp: {int(now.timestamp())}\r\n"
            f"webhook-signature: {webhook.sign(event_id, now, body)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append((head + body).encode())
    return requests


class Load:
    """What all connections share: the next request, the counts, and whether to go on."""

    def __init__(self, requests: list[bytes]) -> None:
        self.requests: Iterator[bytes] = itertools.cycle(requests)
        self.statuses: Counter[bytes] = Counter()
        self.is_running = True
        self.waiting = 0
        self.lost = 0
        self.all_answered = asyncio.Event()


class Connection(asyncio.Protocol):
    """One kept-alive connection with one request under way."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._begun = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._load.waiting += 1
        self._transport.write(next(self._load.requests))

    def data_received(self, data: bytes) -> None:
        """Counts an answer once it is whole, and sends the next request."""
        if self._begun:
            data = self._begun + data
        end = data.find(_END)
        if end < 0:
            self._begun = data
            return
        length = _LENGTH.search(data, 0, end)
        if length is None or len(data) < end + len(_END) + int(length[1]):
            self._begun = data
            return
        self._begun = b""
        load = self._load
        load.statuses[data[9:12]] += 1
        if load.is_running:
            self._transport.write(next(load.requests))
            return
        load.waiting -= 1
        if load.waiting == 0:
            load.all_answered.set()

    def connection_lost(self, _error: Exception | None) -> None:
        """A connection that ends while the load runs spoils the measurement."""
        if self._load.is_running:
            self._load.lost += 1


async def run(secret: str, options: argparse.Namespace) -> dict[str, object]:
    """Warms up, measures, then lets the last requests be answered."""
    load = Load(make_requests(secret, port=options.port, count=options.requests))
    loop = asyncio.get_running_loop()
    transports = [
        (await loop.create_connection(lambda: Connection(load), "127.0.0.1", options.port))[0]
        for _ in range(options.connections)
    ]
    await asyncio.sleep(options.warm_up)
    before, began = load.statuses.copy(), time.perf_counter()
    await asyncio.sleep(options.seconds)
    counted, seconds = load.statuses - before, time.perf_counter() - began
    load.is_running = False
    async with asyncio.timeout(15):
        await load.all_answered.wait()
    for transport in transports:
        transport.close()
    return {
        "accepted": counted[b"202"],
        "seconds": seconds,
        "accepted_in_all": load.statuses[b"202"],
        "refused": {status.decode(): count for status, count in load.statuses.items() if status != b"202"},
        "lost": load.lost,
        "own_cpu_seconds": time.process_time(),
    }


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--requests", type=int, default=4096)
    options = parser.parse_args()
    secret = sys.stdin.readline().strip()
    print(orjson.dumps(uvloop.run(run(secret, options))).decode())


if __name__ == "__main__":
    main()
