"""Every network that can be made bad keeps the promises of `tests.support.toxics.Network`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.support.sources import UnavailableError, in_ci
from tests.support.toxics import AsyncioNetwork, Network
from tests.support.toxiproxy import Toxiproxy
from tests.support.waiting import wait_until

_LINK = "there"
_LONG_S, _SHORT_S = 5.0, 0.4


@pytest.fixture(params=["asyncio", "toxiproxy"])
async def network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    """Each of the networks; Toxiproxy where it can be built."""
    made: Network
    if request.param == "asyncio":
        made = AsyncioNetwork()
    else:
        try:
            made = await Toxiproxy.start()
        except UnavailableError as reason:
            if in_ci():
                pytest.fail(f"no Toxiproxy: {reason}", pytrace=False)
            pytest.skip(f"no Toxiproxy: {reason}")
    yield made
    await made.close()


class Echo:
    """A server that sends back what it gets."""

    def __init__(self) -> None:
        self._talks: set[asyncio.StreamWriter] = set()

    async def open(self, port: int = 0) -> tuple[str, int]:
        """Where it listens."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return "127.0.0.1", self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._talks.add(writer)
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
        self._talks.discard(writer)

    async def close(self) -> None:
        """Stops listening; whoever still talks is cut off."""
        self._server.close()
        for writer in list(self._talks):
            writer.transport.abort()
        await wait_until(lambda: not self._talks, what="the last talk to end")
        await self._server.wait_closed()
        await asyncio.sleep(0)  # closed transports are let go in the loop's next round


@pytest.fixture
async def port(network: Network) -> AsyncIterator[int]:
    """The port of a link to a server that sends back what it gets."""
    server = Echo()
    yield await network.link(_LINK, await server.open())
    await network.drop(_LINK)
    await server.close()


class Talk:
    """A connection over the link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Talk:
        """Connects."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def say(self, data: bytes, within: float = _LONG_S) -> bytes:
        """Sends and reads as much back; fewer bytes when the connection ends."""
        self.writer.write(data)
        async with asyncio.timeout(within):
            await self.writer.drain()
            return await self.listen(len(data))

    async def listen(self, size: int) -> bytes:
        """So many bytes; fewer when the connection ends."""
        try:
            return await self.reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            return error.partial

    def close(self) -> None:
        """Ends it."""
        self.writer.transport.abort()


async def _fails(port: int) -> bool:
    """Whether a new connection is refused or broken off before it echoes."""
    try:
        talk = await Talk.open(port)
    except OSError:
        return True
    try:
        return await talk.say(b"x") != b"x"
    except OSError:
        return True
    finally:
        talk.close()


async def _is_well(port: int) -> None:
    talk = await Talk.open(port)
    assert await talk.say(b"well" * 10_000) == b"well" * 10_000
    talk.close()


async def test_a_link_passes_everything_on(port: int) -> None:
    """A healthy link is not noticed."""
    await _is_well(port)


async def test_a_slow_link_delays_each_way_and_heals(network: Network, port: int) -> None:
    """There and back takes twice the delay; afterwards it does not."""
    talk = await Talk.open(port)
    await network.slow(_LINK, 150)
    began = time.monotonic()
    assert await talk.say(b"x") == b"x"
    assert time.monotonic() - began >= 0.29
    await network.heal(_LINK)

    async def is_quick() -> bool:  # which a link that is still slow never is, and a busy machine now and then
        began = time.monotonic()
        await _is_well(port)
        return time.monotonic() - began < 0.25

    await wait_until(is_quick, timeout=30.0, what="a quick answer")
    talk.close()


async def test_a_narrow_link_limits_the_rate_and_heals(network: Network, port: int) -> None:
    """64 KiB through 64 KiB a second take about a second."""
    await network.throttle(_LINK, 64)
    talk = await Talk.open(port)
    began = time.monotonic()
    assert len(await talk.say(b"x" * 64 * 1024)) == 64 * 1024
    assert time.monotonic() - began > 0.6
    talk.close()
    await network.heal(_LINK)
    await _is_well(port)


async def test_a_stalled_link_passes_nothing_and_never_a_part(network: Network, port: int) -> None:
    """Silence without an end; after healing the connection is whole or broken, never with a hole in it."""
    talk = await Talk.open(port)
    assert await talk.say(b"before") == b"before"
    await network.stall(_LINK)
    with pytest.raises(TimeoutError):
        await talk.say(b"meanwhile", within=_SHORT_S)
    await network.heal(_LINK)
    await _is_well(port)
    answer = b""
    with suppress(OSError, TimeoutError):
        talk.writer.write(b"after")
        async with asyncio.timeout(2.0):
            answer = await talk.listen(len(b"meanwhileafter"))
    assert answer in {b"", b"meanwhileafter"}
    talk.close()


@pytest.mark.parametrize("fault", ["cut", "reset"])
async def test_a_broken_link_ends_connections_and_heals(network: Network, port: int, fault: str) -> None:
    """Connections that are open end, new ones fail, and after healing new ones work."""
    talk = await Talk.open(port)
    assert await talk.say(b"before") == b"before"
    await getattr(network, fault)(_LINK)
    with suppress(OSError):
        assert await talk.say(b"lost") == b""
    assert await _fails(port)
    await network.heal(_LINK)
    await _is_well(port)
    talk.close()


async def test_a_link_may_wait_for_its_server(network: Network) -> None:
    """A link can be made before its target listens; connections fail until it does."""
    server = Echo()
    target = await server.open()
    await server.close()
    port = await network.link("early", target)
    assert await _fails(port)
    await server.open(target[1])
    await _is_well(port)
    await network.drop("early")
    await server.close()
