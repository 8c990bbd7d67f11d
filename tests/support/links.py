"""TCP relays in front of a server: for networks that hang, crawl, break off and come back.

`StallingLink` only hangs. `Relay` does everything that `tests.support.toxics` promises, in this process and on its
loop: what arrives waits in a queue until its delay is over and until the link passes anything on at all, so a stalled
link keeps what it was given, in order, as a network does.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass

_CHUNK = 16 * 1024
_MOST_WAITING = 64
"""Chunks of one direction that wait in the relay; beyond them the sender is held back, as by a full network."""


class StallingLink:
    """A TCP relay to the server that can stop passing anything on, with all connections left open."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self) -> int:
        """Listen on a free port of 127.0.0.1 and return it."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        assert isinstance(port, int)
        return port

    def stall(self) -> None:
        """Pass nothing on from now; what comes is kept."""
        self._flows.clear()

    def resume(self) -> None:
        """Pass on what was kept and what comes."""
        self._flows.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(*self._target)
        self._writers += [writer, downstream]
        await asyncio.gather(self._pass(reader, downstream), self._pass(upstream, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def close(self) -> None:
        """Break all connections off and stop listening."""
        self._server.close()
        self.resume()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()


@dataclass
class Weather:
    """What a relay does to all that passes through it. Delays are seconds, `rate` is bytes a second."""

    delay: float = 0.0
    jitter: float = 0.0
    rate: float | None = None


class Relay:
    """A TCP relay from a port of 127.0.0.1 to a server. Belongs to one event loop."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._flows = asyncio.Event()
        self._flows.set()
        self._weather = Weather()
        self._resets = False
        self._server: asyncio.Server | None = None
        self._streams: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self, port: int = 0) -> int:
        """Listens on the port (0 takes any) and returns it."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port or self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    def stall(self) -> None:
        """Passes nothing on; connections stay open, and new ones are taken."""
        self._flows.clear()

    def change(self, weather: Weather) -> None:
        """Slow or narrow from now on."""
        self._weather = weather

    def reset(self) -> None:
        """Resets every connection now, and each new one as it comes."""
        self._resets = True
        self._break_off()

    async def cut(self) -> None:
        """Breaks every connection off and refuses new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._break_off()

    async def heal(self) -> None:
        """As if nothing had been; connections that were broken stay broken."""
        self._resets, self._weather = False, Weather()
        self._flows.set()
        if self._server is None:
            await self.open()

    async def close(self) -> None:
        """Breaks all off and stops listening. May be repeated."""
        await self.cut()
        while self._tasks:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*list(self._tasks), return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports are let go in the loop's next round

    def _break_off(self) -> None:
        for writer in list(self._streams):
            connection = writer.get_extra_info("socket")
            if connection is not None:
                # Lingering for no time is what makes a close a reset.
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._streams.add(writer)
        if self._resets:
            self._break_off()
        try:
            upstream, downstream = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            self._streams.discard(writer)
            return
        self._streams.add(downstream)
        ways = [asyncio.create_task(self._pass(reader, downstream)), asyncio.create_task(self._pass(upstream, writer))]
        own = asyncio.current_task()
        self._tasks.update(task for task in (own, *ways) if task is not None)
        try:
            await asyncio.gather(*ways)
        finally:
            self._tasks.difference_update(task for task in (own, *ways) if task is not None)
            self._streams.difference_update((writer, downstream))
            writer.transport.abort()
            downstream.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One direction: read into a queue, write from it when each chunk's time has come."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_WAITING)
        writing = asyncio.create_task(self._write(queue, writer))
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(_CHUNK):
                delay = self._weather.delay + random.uniform(0, self._weather.jitter)
                await queue.put((loop.time() + delay, data))
        except OSError:
            pass
        except asyncio.CancelledError:
            writing.cancel()
            raise
        finally:
            if not writing.cancelling():
                await queue.put((0.0, b""))
            await asyncio.wait([writing])

    async def _write(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._flows.wait()
                if not data:
                    writer.close()
                    return
                writer.write(data)
                await writer.drain()
                if self._weather.rate is not None:
                    await asyncio.sleep(len(data) / self._weather.rate)
        except OSError:
            writer.transport.abort()
            while True:  # whoever reads for us must not wait for room in the queue
                if not (await queue.get())[1]:
                    return
