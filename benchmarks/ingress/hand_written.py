"""Contender: the same job in as few lines as one would write it by hand: aiohttp, HMAC, aiokafka's send_and_wait.

It checks signature and age, reads the order id, and answers 202 when Kafka has acknowledged (idempotent, acks=all). It
does without everything else that mealtrail does on the way: source look-up, rate limit, validation, event ids, stamps,
digests and receipts, metrics, request ids, and a log line a request.

    python -m benchmarks.ingress.hand_written --port=N --kafka=HOST:PORT --topic=NAME < secret
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import sys
import time

import orjson
import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer

TOLERANCE_S = 300


class Handler:
    """One secret, one producer, one topic."""

    def __init__(self, secret: str, producer: AIOKafkaProducer, topic: str) -> None:
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._producer = producer
        self._topic = topic

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
        await self._producer.send_and_wait(
            self._topic, body, key=event["order_id"].encode(), headers=[("webhook-id", event_id.encode())]
        )
        return web.Response(status=202)


async def serve(secret: str, options: argparse.Namespace) -> None:
    """Serves until it is killed."""
    producer = AIOKafkaProducer(bootstrap_servers=options.kafka, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        app = web.Application()
        app.router.add_post("/v1/webhooks/{source}", Handler(secret, producer, options.topic).post)
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
    options = parser.parse_args()
    uvloop.run(serve(sys.stdin.readline().strip(), options))


if __name__ == "__main__":
    main()
