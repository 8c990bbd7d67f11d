"""One kept-alive HTTP connection with one request under way, as cheap as Python allows.

An answer is looked at only for its status and its length; the body is there for those who want it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Protocol, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END = b"\r\n\r\n"


class Caller(Protocol):
    """Whoever sends over connections. Both are called from the event loop and must not raise."""

    def answered(self, connection: Connection, status: bytes, body: bytes) -> None:
        """The request that was under way has its answer; the connection is free."""

    def lost(self, connection: Connection) -> None:
        """The server closed it, or it broke."""


class Connection(asyncio.Protocol):
    """Connect it with `loop.create_connection`, then `send` whenever it is free."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._begun = b""
        self.number = -1
        """Which request is under way; the caller's own, to know it again."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Is free from now on."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name

    def send(self, request: bytes, number: int = -1) -> None:
        """Sends a whole request. The one before must have been answered."""
        self.number = number
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Tells of an answer once it is whole."""
        if self._begun:
            data = self._begun + data
        end = data.find(_END)
        if end < 0:
            self._begun = data
            return
        length = _LENGTH.search(data, 0, end)
        body = end + len(_END)
        if length is None or len(data) < body + int(length[1]):
            self._begun = data
            return
        self._begun = b""
        self._caller.answered(self, data[9:12], data[body:])

    def connection_lost(self, _error: Exception | None) -> None:
        """Tells of it."""
        self._caller.lost(self)

    def close(self) -> None:
        """Ends it; the caller is told that it was lost."""
        self._transport.close()


async def connect(caller: Caller, port: int, count: int) -> list[Connection]:
    """So many connections to a port of this machine. Raises OSError."""
    loop = asyncio.get_running_loop()
    made: list[Connection] = []
    factory: Callable[[], Connection] = lambda: Connection(caller)  # noqa: E731 - typed, for mypy
    for _ in range(count):
        _, connection = await loop.create_connection(factory, "127.0.0.1", port)
        made.append(connection)
    return made
