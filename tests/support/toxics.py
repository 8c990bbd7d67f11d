"""A network between processes that can be made bad, one link at a time, and good again.

Two of them keep the same promises (`tests/contract/test_toxics.py`): Toxiproxy, built from its Go module where Go is
there, and our own relay on asyncio. `open_network` takes the first that works here and says which it took.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from tests.support.links import Relay, Weather
from tests.support.sources import UnavailableError
from tests.support.toxiproxy import Toxiproxy

__all__ = ["AsyncioNetwork", "Network", "open_network"]


class Network(Protocol):
    """Named TCP links on 127.0.0.1. A fault lasts until `heal`; a link has one fault at a time."""

    source: str

    async def link(self, name: str, target: tuple[str, int], port: int = 0) -> int:
        """A new link to the target; the port it is reached at (0 takes any). The target need not listen yet."""

    async def slow(self, name: str, delay_ms: int, jitter_ms: int = 0) -> None:
        """Everything takes so much longer, each way."""

    async def throttle(self, name: str, kilobytes_a_second: int) -> None:
        """No more passes than that, each way."""

    async def stall(self, name: str) -> None:
        """Nothing passes; connections stay open. After `heal` what passes on them is whole, or they are broken."""

    async def reset(self, name: str) -> None:
        """Connections are reset, new ones too."""

    async def cut(self, name: str) -> None:
        """Connections are broken off, new ones are refused."""

    async def heal(self, name: str) -> None:
        """The link is well: a new connection passes everything at once. May be repeated."""

    async def drop(self, name: str) -> None:
        """The link is gone. May be repeated."""

    async def close(self) -> None:
        """All links are gone. May be repeated."""


class AsyncioNetwork:
    """Links on the caller's own event loop."""

    source = "asyncio relays"

    def __init__(self) -> None:
        self._relays: dict[str, Relay] = {}

    async def link(self, name: str, target: tuple[str, int], port: int = 0) -> int:
        """See `Network.link`."""
        relay = self._relays[name] = Relay(target)
        return await relay.open(port)

    async def slow(self, name: str, delay_ms: int, jitter_ms: int = 0) -> None:
        """See `Network.slow`."""
        self._relays[name].change(Weather(delay=delay_ms / 1000, jitter=jitter_ms / 1000))

    async def throttle(self, name: str, kilobytes_a_second: int) -> None:
        """See `Network.throttle`."""
        self._relays[name].change(Weather(rate=kilobytes_a_second * 1024))

    async def stall(self, name: str) -> None:
        """See `Network.stall`."""
        self._relays[name].stall()

    async def reset(self, name: str) -> None:
        """See `Network.reset`."""
        self._relays[name].reset()

    async def cut(self, name: str) -> None:
        """See `Network.cut`."""
        await self._relays[name].cut()

    async def heal(self, name: str) -> None:
        """See `Network.heal`."""
        await self._relays[name].heal()

    async def drop(self, name: str) -> None:
        """See `Network.drop`."""
        if (relay := self._relays.pop(name, None)) is not None:
            await relay.close()

    async def close(self) -> None:
        """See `Network.close`."""
        await asyncio.gather(*(self.drop(name) for name in list(self._relays)))


async def open_network() -> Network:
    """Toxiproxy, or our own relays where it cannot be built."""
    try:
        return await Toxiproxy.start()
    except UnavailableError as reason:
        network = AsyncioNetwork()
        network.source = f"asyncio relays ({reason})"
        return network
