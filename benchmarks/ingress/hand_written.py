"""Contender: the same job in as few lines as one would write it by hand: aiohttp, HMAC, aiokafka.

It checks signature and age, reads the order id, and answers 202 when Kafka has acknowledged (idempotent, acks=all). It
does without everything else that mealtrail does on the way: source look-up, rate limit, validation, event ids, stamps,
digests and receipts, metrics, request ids, and a log line a request.

Two ways of producing: `send_and_wait`, which is what anybody would write, and with `--open-batches` one open batch a
partition, the fastest way that is known to us (see `open_batches`).

    python -m benchmarks.ingress.hand_written --port=N --kafka=HOST:PORT --topic=NAME [--open-batches] < secret
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import sys
import time
from collections.abc import Awaitable, Callable

import orjson
import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer

from benchmarks.ingress.open_batches import OpenBatches

TOLERANCE_S = 300

Append = Callable[[bytes, bytes, list[tuple[str, bytes]]], Awaitable[object]]
"""Key, value, headers; returns when the record is stored."""


class Handler:
    """One secret, one topic."""

    def __init__(self, secret: str, append: Append) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._append = append

    async def post(self, request: web.Request) -> web.Response:
        """401 for a wrong signature, else 202 once the body lies in Kafka."""
        body = await request.read()
        headers = request.headers
        try:
            event_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
            signed = f"{event_id}.{timestamp}.".encode() + body
            expected = b"v1," + base64.b64encode(hmac.digest(self._key, signed, hashlib.sha256))
            if not any(hmac.compare_digest(expected, s.encode()) for s in headers["webhook-signature"].split(" ")):
                return web.Response(status=401)
            if abs(time.time() - int(timestamp)) > TOLERANCE_S:
                return web.Response(status=401)
        except (KeyError, ValueError):
            return web.Response(status=401)
        event = orjson.loads(body)
        await self._append(event["order_id"].encode(), body, [("webhook-id", event_id.encode())])
        return web.Response(status=202)


async def serve(secret: str, options: argparse.Namespace) -> None:
    """Serves until it is killed."""
    producer = AIOKafkaProducer(bootstrap_servers=options.kafka, acks="all", enable_idempotence=True)
    await producer.start()

    async def send_and_wait(key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        await producer.send_and_wait(options.topic, value, key=key, headers=headers)

    try:
        append: Append = send_and_wait
        if options.open_batches:
            partitions = await producer.partitions_for(options.topic)
            append = OpenBatches(producer, options.topic, len(partitions)).append
        app = web.Application()
        app.router.add_post("/v1/webhooks/{source}", Handler(secret, append).post)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", options.port).start()
        await asyncio.Event().wait()
    finally:
        await producer.stop()


def main() -> None:
    """Reads the options and serves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--open-batches", action="store_true")
    options = parser.parse_args()
    uvloop.run(serve(sys.stdin.readline().strip(), options))


if __name__ == "__main__":
    main()
