"""Looking from outside while something is broken: a partner that posts ten times a second, and the trail's own clock.

`Prober` is the partner: it sends on a fixed beat whatever became of the last request, so that a stall is seen as it is
and not as fewer samples. `TrailWatch` reads the store by plain SQL, `Feed` keeps every partition supplied, and
`first_verdicts` says how long each of them took to decide something again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import asyncpg

from backbone.eventlog.partitioner import partition_of
from schemas.identifiers import DEFAULT_WORKSPACE, record_key
from tests.support.partners import Client

BEAT_S = 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """One request: when it was sent (seconds since the prober began), what came of it and how long that took."""

    sent_s: float
    took_s: float
    status: int | None
    retry_after: bool


class Prober:
    """Sends one request every 100 ms until it is left. `samples` grows as answers come."""

    def __init__(self, client: Client, method: str, path: str, *, marker: str = "probe") -> None:
        self._client = client
        self._method, self._path, self._marker = method, path, marker
        self._tasks: set[asyncio.Task[None]] = set()
        self._beat: asyncio.Task[None] | None = None
        self.samples: list[Sample] = []
        self.began = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    async def __aenter__(self) -> Self:
        """Begins."""
        self.began = time.monotonic()
        self._beat = asyncio.create_task(self._send_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Sends no more and waits for the answers still to come."""
        assert self._beat is not None
        self._beat.cancel()
        await asyncio.gather(self._beat, return_exceptions=True)
        await asyncio.gather(*self._tasks)

    def between(self, start_s: float, end_s: float) -> list[Sample]:
        """What was sent in that time, in order of sending."""
        return sorted((s for s in self.samples if start_s <= s.sent_s < end_s), key=lambda sample: sample.sent_s)

    def table(self) -> list[str]:
        """A line a second: the statuses with their counts, and the slowest answer."""
        seconds: dict[int, list[Sample]] = defaultdict(list)
        for sample in self.samples:
            seconds[int(sample.sent_s)].append(sample)
        lines = []
        for second, found in sorted(seconds.items()):
            statuses = dict(Counter(str(sample.status) for sample in found))
            lines.append(f"{second:3d} s  {statuses}  slowest {max(sample.took_s for sample in found):.2f} s")
        return lines

    async def _send_all(self) -> None:
        for turn in range(1_000_000):
            await asyncio.sleep(max(0.0, self.began + turn * BEAT_S - time.monotonic()))
            task = asyncio.create_task(self._send(turn))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send(self, turn: int) -> None:
        sent_s = self.now_s
        status, retry_after = None, False
        body: Any = None
        if self._method == "POST":
            body = {"order_id": f"{self._marker}-{turn}", "status": "NEW"}
        try:
            answer = await self._client.call(self._method, self._path, body)
            status, retry_after = answer.status, "Retry-After" in answer.headers
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass  # nobody answered, which is what a sample without a status says
        self.samples.append(Sample(sent_s, self.now_s - sent_s, status, retry_after))


class TrailWatch:
    """Reads a database's trail on a connection of its own, which it renews after outages."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._connection: asyncpg.Connection | None = None

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """Rows of a query. Raises what asyncpg raises; the next call connects anew."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._url, timeout=5, command_timeout=5)
        return list(await self._connection.fetch(query, *arguments))

    async def heads(self) -> dict[int, int] | None:
        """The last number in each partition's chain; None while the store does not answer."""
        try:
            rows = await self.fetch("SELECT partition, seq FROM offsets")
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return None
        return {row["partition"]: row["seq"] for row in rows}

    async def close(self) -> None:
        """Hangs up. May be repeated."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
            await asyncio.sleep(0)


async def first_verdicts(watch: TrailWatch, partitions: int, limit_s: float) -> dict[int, float]:
    """Seconds until each partition's chain has grown, from now on; something must be posted to all of them meanwhile.

    A partition that did not grow within `limit_s` is left out.
    """
    began = time.monotonic()
    before: dict[int, int] | None = None
    grown: dict[int, float] = {}
    while len(grown) < partitions and time.monotonic() - began < limit_s:
        heads = await watch.heads()
        if heads is not None:
            before = heads if before is None else before
            for partition, seq in heads.items():
                if seq > before.get(partition, 0):
                    grown.setdefault(partition, time.monotonic() - began)
        await asyncio.sleep(0.02)
    return grown


class Feed:
    """Announces a fresh order in every partition, in turn, twenty a second, whatever is answered."""

    def __init__(self, client: Client, partitions: int) -> None:
        self._client = client
        self._partitions = partitions
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begins."""
        self._task = asyncio.create_task(self._feed())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Sends no more."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _feed(self) -> None:
        ways: list[list[str]] = [[] for _ in range(self._partitions)]
        async with asyncio.TaskGroup() as group:
            for turn in range(1_000_000):
                order_id = f"feed-{uuid.uuid4().hex[:12]}"
                ways[partition_of(record_key(DEFAULT_WORKSPACE, order_id), self._partitions)].append(order_id)
                if waiting := ways[turn % self._partitions]:
                    group.create_task(self._post(waiting.pop()))
                    await asyncio.sleep(BEAT_S / 2)

    async def _post(self, order_id: str) -> None:
        body = {"order_id": order_id, "status": "NEW"}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            await self._client.call("POST", f"/v1/webhooks/{self._client.name}", body)
