"""Asks one question after the other over one connection, and tells how long each answer took.

A program of its own, so that it never shares an interpreter with what it measures. One request at a time: these are
latencies of a server at rest, which a growing store must not make longer.

    python -m benchmarks.growth.reader --port=N --seconds=S < "token, a line; JSON of {kind: [path, …]}"
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections.abc import Mapping, Sequence

import orjson
import uvloop

_LEAST = 5
"""Answers to wait for even where they take longer than the time given."""


class Connection:
    """One kept-alive HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"

    async def get(self, path: str) -> tuple[int, int]:
        """Status and length of the answer. Raises ConnectionError, IncompleteReadError."""
        self._writer.write(f"GET {path} HTTP/1.1\r\n{self._head}".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        await self._reader.readexactly(length)
        return int(head[9:12]), length

    async def close(self) -> None:
        """Ends it."""
        self._writer.close()
        await self._writer.wait_closed()


async def ask(
    connection: Connection, paths: Sequence[str], *, seconds: float, most: int
) -> dict[str, list[float] | int]:
    """Latencies in milliseconds, in the order asked, and how many answers were not 200. The first is not counted."""
    await connection.get(paths[0])
    took: list[float] = []
    refused = 0
    end = time.perf_counter() + seconds
    for path in itertools.islice(itertools.cycle(paths), most):
        began = time.perf_counter()
        status, _ = await connection.get(path)
        done = time.perf_counter()
        took.append((done - began) * 1000)
        refused += status != 200
        if done > end and len(took) >= _LEAST:
            break
    return {"took_ms": took, "refused": refused}


async def ask_all(
    port: int, token: str, kinds: Mapping[str, Sequence[str]], *, seconds: float, most: int
) -> dict[str, dict[str, list[float] | int]]:
    """Every kind of question, one kind after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = Connection(reader, writer, token)
    try:
        return {kind: await ask(connection, paths, seconds=seconds, most=most) for kind, paths in kinds.items()}
    finally:
        await connection.close()


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--most", type=int, default=5000)
    options = parser.parse_args()
    token = sys.stdin.readline().strip()
    kinds = orjson.loads(sys.stdin.read())
    print(
        orjson.dumps(
            uvloop.run(ask_all(options.port, token, kinds, seconds=options.seconds, most=options.most))
        ).decode()
    )


if __name__ == "__main__":
    main()
