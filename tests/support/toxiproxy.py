"""Shopify's Toxiproxy: built once from its Go module into the project's cache, driven over its HTTP API."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
from filelock import FileLock

from kafka_broker import free_port
from tests.support.processes import forget_process, guard_process
from tests.support.sources import UnavailableError
from tests.support.waiting import wait_until

VERSION = "2.5.0"
MODULE = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{VERSION}"
CACHE = Path(__file__).resolve().parents[2] / ".cache" / f"toxiproxy-{VERSION}"
_BUILD_LIMIT_S = 300
_WAYS = ("upstream", "downstream")


def find_server() -> Path:
    """The server's program, built if it is not there yet (once per clone, about 25 s). Blocks.

    Raises UnavailableError: there is no Go, or it could not fetch or build the module.
    """
    program = CACHE / "server"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise UnavailableError("no Go to build Toxiproxy with")
    CACHE.mkdir(parents=True, exist_ok=True)
    with FileLock(CACHE / "build.lock"):
        if not program.exists():
            command = [go, "install", MODULE]
            try:
                done = subprocess.run(
                    command,
                    env={**os.environ, "GOBIN": str(CACHE)},
                    capture_output=True,
                    text=True,
                    timeout=_BUILD_LIMIT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise UnavailableError("building Toxiproxy took too long") from error
            if done.returncode != 0:
                raise UnavailableError(f"Toxiproxy could not be built: {done.stderr.strip()[-200:]}")
    return program


def _launch(program: Path, port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [str(program), "-host", "127.0.0.1", "-port", str(port)],
        env={**os.environ, "LOG_LEVEL": "fatal"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    guard_process(process.pid)
    return process


class Toxiproxy:
    """A Toxiproxy server process and the links that it serves. See `tests.support.toxics.Network`."""

    source = f"Toxiproxy {VERSION}"

    def __init__(self, process: subprocess.Popen[bytes], session: aiohttp.ClientSession) -> None:
        self._process = process
        self._session = session
        self._links: set[str] = set()

    @classmethod
    async def start(cls) -> Toxiproxy:
        """Starts the server on a free port. Raises UnavailableError."""
        port = free_port()
        process = _launch(await asyncio.to_thread(find_server), port)
        session = aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=aiohttp.ClientTimeout(total=10))
        made = cls(process, session)

        async def answers() -> bool:
            if process.poll() is not None:
                raise UnavailableError("Toxiproxy ended at once")
            try:
                async with session.get("/version") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        try:
            await wait_until(answers, timeout=15.0, what="Toxiproxy")
        except BaseException:
            await made.close()
            raise
        return made

    async def link(self, name: str, target: tuple[str, int], port: int = 0) -> int:
        """See `Network.link`."""
        wanted = {"name": name, "listen": f"127.0.0.1:{port}", "upstream": f"{target[0]}:{target[1]}", "enabled": True}
        made = await self._ask("POST", "/proxies", wanted)
        self._links.add(name)
        return int(made["listen"].rpartition(":")[2])

    async def slow(self, name: str, delay_ms: int, jitter_ms: int = 0) -> None:
        """See `Network.slow`. Toxiproxy's jitter goes both ways, ours only adds."""
        half = jitter_ms // 2
        await self._poison(name, "latency", _WAYS, latency=delay_ms + half, jitter=half)

    async def throttle(self, name: str, kilobytes_a_second: int) -> None:
        """See `Network.throttle`."""
        await self._poison(name, "bandwidth", _WAYS, rate=kilobytes_a_second)

    async def stall(self, name: str) -> None:
        """See `Network.stall`. Toxiproxy drops what it was given meanwhile; then it breaks the connection."""
        await self._poison(name, "timeout", _WAYS, timeout=0)

    async def reset(self, name: str) -> None:
        """See `Network.reset`."""
        await self._poison(name, "reset_peer", _WAYS, timeout=0)

    async def cut(self, name: str) -> None:
        """See `Network.cut`."""
        await self._ask("POST", f"/proxies/{name}", {"enabled": False})

    async def heal(self, name: str) -> None:
        """See `Network.heal`."""
        for toxic in await self._ask("GET", f"/proxies/{name}/toxics"):
            await self._ask("DELETE", f"/proxies/{name}/toxics/{toxic['name']}")
        await self._ask("POST", f"/proxies/{name}", {"enabled": True})

    async def drop(self, name: str) -> None:
        """See `Network.drop`."""
        if name in self._links:
            self._links.discard(name)
            await self._ask("DELETE", f"/proxies/{name}")

    async def close(self) -> None:
        """See `Network.close`."""
        await self._session.close()
        if self._process.poll() is None:
            self._process.kill()
        await asyncio.to_thread(self._process.wait)
        forget_process(self._process.pid)

    async def _poison(self, name: str, kind: str, ways: tuple[str, ...], **attributes: int) -> None:
        for way in ways:
            toxic = {"type": kind, "name": f"{kind}-{way}", "stream": way, "attributes": attributes}
            await self._ask("POST", f"/proxies/{name}/toxics", toxic)

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        async with self._session.request(method, path, json=body) as answer:
            if answer.status >= 300:
                raise RuntimeError(f"Toxiproxy: {method} {path}: {answer.status} {await answer.text()}")
            return None if answer.status == 204 else await answer.json(content_type=None)
