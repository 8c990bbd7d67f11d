"""The open loop as a program of its own: webhooks at a constant rate, latency from the moment when each was due.

It runs on plain asyncio over select(2), whose timers keep microseconds; epoll's, and with it uvloop's, keep whole
milliseconds, which is as much as some of the latencies.

    python -m benchmarks.ingress.open_load --port=N --rate=R --seconds=S < secret
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import selectors
import sys
import time
from collections.abc import Callable, Coroutine
from typing import TypeVar

import orjson

from benchmarks.ingress.connection import connect
from benchmarks.ingress.open_loop import OpenLoop, Schedule, drive
from benchmarks.ingress.webhooks import repeating_requests

LEAD_S = 0.1
"""Between the last preparation and the first request."""
T = TypeVar("T")


def connections_for(rate: float) -> int:
    """Enough for a stall of a tenth of a second; select(2) sets the limit."""
    return max(32, min(512, round(rate / 10)))


def run_precisely(work: Callable[[], Coroutine[None, None, T]]) -> T:
    """Runs it on a loop with exact timers and without garbage collection, which would be a stall of our own."""
    gc.disable()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        return runner.run(work())


async def run(secret: str, options: argparse.Namespace) -> dict[str, object]:
    """Warms up at the same rate, measures, and waits for the last answer."""
    requests = repeating_requests(secret, port=options.port, count=4096)
    warm_up = round(options.rate * options.warm_up)
    count = warm_up + max(1, round(options.rate * options.seconds))
    loop = OpenLoop(Schedule(time.monotonic(), options.rate, count), requests, clock=time.monotonic)
    loop.add(await connect(loop, options.port, connections_for(options.rate)))
    loop.begin_at(time.monotonic() + LEAD_S)
    await drive(loop, timeout=count / options.rate + 15)
    return result(loop, skip=warm_up) | {"own_cpu_seconds": time.process_time()}


def result(loop: OpenLoop, *, skip: int) -> dict[str, object]:
    """What a measurement is judged by; the first `skip` requests were warming up."""
    return {
        "latency_us": [round(s * 1e6) for s in loop.latency_s[skip:] if s >= 0],
        "lag_us": [round(s * 1e6) for s in loop.lag_s[skip:] if s >= 0],
        "accepted_in_all": loop.statuses[b"202"],
        "refused": {status.decode(): count for status, count in loop.statuses.items() if status != b"202"},
        "dropped": loop.dropped,
        "lost": loop.losses,
    }


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warm-up", type=float, default=0.5)
    options = parser.parse_args()
    secret = sys.stdin.readline().strip()
    print(orjson.dumps(run_precisely(lambda: run(secret, options))).decode())


if __name__ == "__main__":
    main()
