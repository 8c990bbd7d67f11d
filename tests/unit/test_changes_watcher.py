from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from backbone.metrics import Metrics
from schemas.errors import MalformedEvent, StoreUnavailable, Unavailable
from service.queries.positions import read_position, write_position
from service.queries.watcher import ChangeWatcher
from tests.support.waiting import wait_until


def present() -> bool:
    """A caller that stays."""
    return False


def heads_of(heads: dict[int, int]) -> Callable[[], Awaitable[dict[int, int]]]:
    """A store with these heads, read at every call."""

    async def read() -> dict[int, int]:
        return heads

    return read


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of one test."""
    return Metrics()


async def test_waiters_wake_on_the_first_new_row(metrics: Metrics) -> None:
    """Who waits for a partition to move wakes when it does; the one ahead of it waits on."""
    heads = {0: 5}
    watcher = ChangeWatcher(heads_of(heads), metrics, every_s=0.001)
    behind = asyncio.create_task(watcher.wait({0: 5}, seconds=20, gone=present))
    ahead = asyncio.create_task(watcher.wait({0: 9}, seconds=20, gone=present))
    await wait_until(lambda: watcher.waiting == 2)
    heads[0] = 6
    await asyncio.wait_for(behind, 5)
    assert not ahead.done()
    await watcher.stop()
    await asyncio.wait_for(ahead, 5)
    assert watcher.waiting == 0


async def test_nobody_waiting_costs_nothing(metrics: Metrics) -> None:
    """Heads are read only while somebody waits."""
    reads = 0

    async def read() -> dict[int, int]:
        nonlocal reads
        reads += 1
        return {}

    watcher = ChangeWatcher(read, metrics, every_s=0.001)
    for _ in range(2):
        seen = reads
        await watcher.wait({}, seconds=30, gone=lambda seen=seen: reads > seen + 1)  # type: ignore[misc]
        assert reads > seen + 1
        await wait_until(lambda: watcher._task is not None and watcher._task.done())
        seen = reads
        await asyncio.sleep(0.02)
        assert reads == seen


async def test_caller_who_left_is_let_go(metrics: Metrics) -> None:
    """A closed connection frees its place long before its time is over."""
    watcher = ChangeWatcher(heads_of({}), metrics, every_s=0.001)
    await asyncio.wait_for(watcher.wait({}, seconds=30, gone=lambda: True), 5)
    assert watcher.waiting == 0
    await watcher.stop()


async def test_store_outage_reaches_everybody(metrics: Metrics) -> None:
    """All waiters get the outage as an error of ours; later ones start a fresh watch."""

    async def fail() -> dict[int, int]:
        raise StoreUnavailable("away")

    watcher = ChangeWatcher(fail, metrics, every_s=0.001)
    waits = [watcher.wait({}, seconds=20, gone=present) for _ in range(3)]
    results = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(result) for result in results] == [StoreUnavailable] * 3
    with pytest.raises(StoreUnavailable):
        await watcher.wait({}, seconds=20, gone=present)


async def test_number_of_waiters_is_bounded(metrics: Metrics) -> None:
    """The one too many is told to come back; a cancelled one frees its place."""
    watcher = ChangeWatcher(heads_of({}), metrics, every_s=0.001, most=1)
    first = asyncio.create_task(watcher.wait({}, seconds=20, gone=present))
    await wait_until(lambda: watcher.waiting == 1)
    with pytest.raises(Unavailable):
        await watcher.wait({}, seconds=20, gone=present)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert watcher.waiting == 0
    await watcher.stop()


def test_positions_come_back_as_they_were() -> None:
    """A position survives the round trip; partitions at their start are the same as absent ones."""
    assert read_position(write_position({3: 17, 0: 1, 5: 0})) == {0: 1, 3: 17}
    assert read_position(write_position({})) == {}


@pytest.mark.parametrize(
    "text",
    ["x", "é", "WzFd", "WzAsMSwwLDJd", "Wy0xLDVd", "WzAsMS41XQ", "WzAsOTIyMzM3MjAzNjg1NDc3NTgwOF0", "a" * 99_999],
)
def test_made_up_positions_are_refused(text: str) -> None:
    """What this feed never gave is a 400 on `after`."""
    with pytest.raises(MalformedEvent) as refused:
        read_position(text)
    assert refused.value.errors[0][0] == "after"
