"""Contender: aiohttp alone. Reads the body, checks nothing, keeps nothing, answers 202: the ceiling.

python -m benchmarks.ingress.bare --port=N
"""

from __future__ import annotations

import argparse
import asyncio

import uvloop
from aiohttp import web


async def post(request: web.Request) -> web.Response:
    """Takes anything."""
    await request.read()
    return web.Response(status=202)


async def serve(port: int) -> None:
    """Serves until it is killed."""
    app = web.Application()
    app.router.add_post("/v1/webhooks/{source}", post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


def main() -> None:
    """Reads the port and serves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
