"""Reading a request body within bounds: of size, of time, and of all bodies together.

The cap holds for what arrives, whatever Content-Length says or leaves out. A body that trickles in is given up. The
budget bounds the memory of all bodies that are being read or wait for the log, so that a crowd of slow callers or a
stopped broker costs a known amount.
"""

from __future__ import annotations

import asyncio
from typing import Self

from aiohttp import HttpVersion11, web

from schemas.errors import BodyTooLarge, Unavailable

BODY_CAP = 256 * 1024
READ_WITHIN_S = 10.0
BUDGET = 128 * 1024 * 1024


class BodyBudget:
    """Bytes that bodies in hand may take together. Belongs to one event loop."""

    def __init__(self, limit: int = BUDGET) -> None:
        self._limit = limit
        self.used = 0

    def reserve(self, request: web.Request) -> Room:
        """Holds room for this request's body until the room is left (`with`).

        Raises BodyTooLarge by its Content-Length, Unavailable when there is no room.
        """
        length = request.content_length
        if length is not None and length > BODY_CAP:
            raise BodyTooLarge(_TOO_LARGE)
        size = BODY_CAP if length is None and request.body_exists else length or 0
        if self.used + size > self._limit:
            raise Unavailable("too many request bodies in hand")
        self.used += size
        return Room(self, size)


class Room:
    """What one body may take, given back at the end of the `with` block."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: BodyBudget, size: int) -> None:
        self._budget = budget
        self._size = size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._budget.used -= self._size
        self._size = 0


_TOO_LARGE = f"The request body is over {BODY_CAP} bytes."


async def read_body(request: web.Request) -> bytes:
    """The whole body as sent. Raises BodyTooLarge, and HTTP 408 when it does not arrive within ten seconds."""
    content = request.content
    if content.is_eof() and content.total_bytes <= BODY_CAP:
        return content.read_nowait()  # all of it is there, as with nearly every request
    body = bytearray()
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            while chunk := await content.readany():
                body += chunk
                if len(body) > BODY_CAP:
                    raise BodyTooLarge(_TOO_LARGE)
    except TimeoutError as error:
        raise web.HTTPRequestTimeout from error
    return bytes(body)


async def expect_body(request: web.Request) -> None:
    """Answers `Expect: 100-continue`, but not to a body that its Content-Length already refuses; other expectations
    are ignored, as RFC 9110 allows.
    """
    if request.version < HttpVersion11 or request.headers.get("Expect", "").lower() != "100-continue":
        return
    if request.content_length is not None and request.content_length > BODY_CAP:
        return
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # nothing of the answer itself has gone out
