"""The closed loop: connections that each send the next signed webhook as soon as the last was answered.

It saturates a server and so tells its rate; of latency it tells nothing, for a slow answer delays the questions. A
program of its own, so that it never shares an interpreter with what it measures.

    python -m benchmarks.ingress.load --port=N [...] < secret
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Iterator

import orjson
import uvloop

from benchmarks.ingress.connection import Connection, connect
from benchmarks.ingress.webhooks import repeating_requests

CONNECTIONS = 96


class ClosedLoop:
    """What all connections share: the next request, the counts, and whether to go on."""

    def __init__(self, requests: list[bytes]) -> None:
        self.requests: Iterator[bytes] = itertools.cycle(requests)
        self.statuses: Counter[bytes] = Counter()
        self.is_running = True
        self.waiting = 0
        self.losses = 0
        self.all_answered = asyncio.Event()

    def begin(self, connections: list[Connection]) -> None:
        """Sends the first request of each."""
        self.waiting = len(connections)
        for connection in connections:
            connection.send(next(self.requests))

    def answered(self, connection: Connection, status: bytes, _body: bytes) -> None:
        """Counts it and sends the next request, or ends with this one."""
        self.statuses[status] += 1
        if self.is_running:
            connection.send(next(self.requests))
            return
        self.waiting -= 1
        if self.waiting == 0:
            self.all_answered.set()

    def lost(self, _connection: Connection) -> None:
        """A connection that ends while the load runs spoils the measurement."""
        if self.is_running:
            self.losses += 1


async def run(secret: str, options: argparse.Namespace) -> dict[str, object]:
    """Warms up, measures, then lets the last requests be answered."""
    load = ClosedLoop(repeating_requests(secret, port=options.port, count=options.requests))
    connections = await connect(load, options.port, options.connections)
    load.begin(connections)
    await asyncio.sleep(options.warm_up)
    before, began = load.statuses.copy(), time.perf_counter()
    await asyncio.sleep(options.seconds)
    counted, seconds = load.statuses - before, time.perf_counter() - began
    load.is_running = False
    async with asyncio.timeout(15):
        await load.all_answered.wait()
    for connection in connections:
        connection.close()
    return {
        "accepted": counted[b"202"],
        "seconds": seconds,
        "accepted_in_all": load.statuses[b"202"],
        "refused": {status.decode(): count for status, count in load.statuses.items() if status != b"202"},
        "lost": load.losses,
        "own_cpu_seconds": time.process_time(),
    }


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, required=True)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--requests", type=int, default=4096)
    options = parser.parse_args()
    secret = sys.stdin.readline().strip()
    print(orjson.dumps(uvloop.run(run(secret, options))).decode())


if __name__ == "__main__":
    main()
