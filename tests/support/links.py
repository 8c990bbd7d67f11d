"""A TCP relay in front of a server, for a network that hangs without breaking."""

import asyncio


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
