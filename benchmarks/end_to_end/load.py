"""The load of a whole deployment: lives of orders, each event once, as a program of its own.

With `--rate` an open loop that also asks for some of the receipts; with `--connections` as many events as there are,
as fast as they are taken. It tells when it began, so that whoever sees the verdicts can count from when each was due.

    python -m benchmarks.end_to_end.load --port=N --run=NAME --count=C (--rate=R | --connections=N) < secret and token
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter

import orjson

from benchmarks.end_to_end.receipts import SAMPLES_PER_S, ReceiptSampler
from benchmarks.ingress.connection import Connection, connect
from benchmarks.ingress.open_load import LEAD_S, connections_for, result, run_precisely
from benchmarks.ingress.open_loop import OpenLoop, Schedule, drive
from benchmarks.ingress.webhooks import story_requests

_RECEIPTS_AT_A_TIME = 64
_LAST_ANSWERS_S = 20.0


async def run_open(secret: str, token: str, options: argparse.Namespace) -> dict[str, object]:
    """All events, each when it is due; returns when the last receipt that was asked for is final."""
    requests = story_requests(secret, port=options.port, run=options.run, count=options.count)
    every = max(1, round(options.rate / SAMPLES_PER_S))
    sampler = ReceiptSampler(port=options.port, token=token, every=every, clock=time.monotonic)
    schedule = Schedule(time.monotonic(), options.rate, options.count)
    loop = OpenLoop(schedule, requests, clock=time.monotonic, on_accepted=sampler.accepted)
    sampler.add(await connect(sampler, options.port, _RECEIPTS_AT_A_TIME))
    loop.add(await connect(loop, options.port, connections_for(options.rate)))
    loop.begin_at(time.monotonic() + LEAD_S)
    await drive(loop, timeout=options.count / options.rate + _LAST_ANSWERS_S)
    await sampler.finish(timeout=_LAST_ANSWERS_S)
    receipts = {str(number): seen for number, seen in sampler.seen.items()}
    return result(loop, skip=0) | {
        "start": loop.schedule.start,
        "receipts": receipts,
        "receipt_failures": sampler.failures,
    }


class Flood:
    """Sends every request once, the next one of a connection when the last was answered."""

    def __init__(self, requests: list[bytes]) -> None:
        self.statuses: Counter[bytes] = Counter()
        self.losses = 0
        self.done = asyncio.Event()
        self._waiting = iter(requests)
        self._left = len(requests)

    def begin(self, connections: list[Connection]) -> None:
        """Sends the first of each connection."""
        for connection in connections:
            self._send_next(connection)

    def answered(self, connection: Connection, status: bytes, _body: bytes) -> None:
        """Counts it and goes on."""
        self.statuses[status] += 1
        self._left -= 1
        if self._left == 0:
            self.done.set()
        self._send_next(connection)

    def lost(self, _connection: Connection) -> None:
        """A connection that ends early spoils the measurement."""
        if not self.done.is_set():
            self.losses += 1
            self.done.set()

    def _send_next(self, connection: Connection) -> None:
        request = next(self._waiting, None)
        if request is not None:
            connection.send(request)


async def run_flood(secret: str, options: argparse.Namespace) -> dict[str, object]:
    """All events as fast as they are taken."""
    flood = Flood(story_requests(secret, port=options.port, run=options.run, count=options.count))
    connections = await connect(flood, options.port, options.connections)
    start = time.monotonic()
    flood.begin(connections)
    async with asyncio.timeout(300):
        await flood.done.wait()
    return {
        "start": start,
        "seconds": time.monotonic() - start,
        "accepted": flood.statuses[b"202"],
        "refused": {status.decode(): count for status, count in flood.statuses.items() if status != b"202"},
        "lost": flood.losses,
    }


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--count", type=int, required=True)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--rate", type=float)
    kind.add_argument("--connections", type=int)
    options = parser.parse_args()
    secret, token = sys.stdin.readline().strip(), sys.stdin.readline().strip()
    work = run_precisely(
        lambda: run_flood(secret, options) if options.rate is None else run_open(secret, token, options)
    )
    print(orjson.dumps(work).decode())


if __name__ == "__main__":
    main()
