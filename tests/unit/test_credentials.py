from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from backbone.store.refusals import Refusal
from backbone.store.sources import Source
from backbone.store.tokens import AccessToken
from schemas.errors import SchemaOutdated, StoreUnavailable
from service import credentials as module
from service.credentials import MISS_EVERY_S, AccessTokenCache, SourceCache
from service.ingress.refusals import MOST_ROWS, UNKNOWN_SOURCE, RefusalRecorder, Why
from tests.support.waiting import wait_until
from tests.unit.test_native_dialect import source


class Repository:
    """Sources and tokens in a list, with a store that can be away and a count of reads."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.tokens: list[AccessToken] = []
        self.reads = 0
        self.away = False
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self) -> None:
        """One read of the store."""
        self.reads += 1
        await self.gate.wait()
        if self.away:
            raise StoreUnavailable("away")
        if self.failure is not None:
            raise self.failure


class Sources(Repository):
    """As the source repository."""

    async def all(self, *, include_disabled: bool = False) -> list[Source]:
        """All sources."""
        await self.read()
        return [s for s in self.sources if include_disabled or s.disabled_at is None]


class Tokens(Repository):
    """As the token repository."""

    async def all(self) -> list[AccessToken]:
        """All tokens."""
        await self.read()
        return self.tokens


class Time:
    """A clock moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        """The time now."""
        return self.now


async def test_rotation_and_disabling_replace_what_was_kept() -> None:
    """A load replaces all: an old token is gone, a disabled source keeps its name but no credential."""
    repository = Sources()
    repository.sources = [replace(source(), token_hashes=("old",))]
    cache = SourceCache(repository, Time())
    await cache.refresh()
    assert cache.by_token("old") is not None
    repository.sources = [replace(source(), token_hashes=("new",))]
    await cache.refresh()
    assert (cache.by_token("old"), cache.by_token("new")) == (None, repository.sources[0])
    repository.sources = [replace(source(), token_hashes=("new",), disabled_at=1)]
    await cache.refresh()
    assert cache.by_token("new") is None
    assert cache.by_name("s1") is not None


async def test_last_load_goes_on_serving_while_the_store_is_away() -> None:
    """An outage changes nothing but the remark; a cache that never loaded is not ready."""
    repository = Sources()
    repository.away = True
    cache = SourceCache(repository, Time())
    await cache.refresh()
    with pytest.raises(StoreUnavailable):
        await cache.probe()
    repository.away, repository.sources = False, [source()]
    await cache.refresh()
    assert await cache.probe() is None
    repository.away = True
    await cache.refresh()
    assert cache.by_name("s1") is not None
    assert await cache.probe()


async def test_a_load_that_fails_for_another_reason_does_not_blame_the_store() -> None:
    """The remark has the code of what is wrong, and goes away with it."""
    repository = Sources()
    cache = SourceCache(repository, Time())
    await cache.refresh()
    repository.failure = SchemaOutdated("run migrate")
    await cache.refresh()
    assert await cache.probe() == "degraded: not refreshed, schema_outdated"
    repository.failure = None
    await cache.refresh()
    assert await cache.probe() is None


async def test_misses_share_one_load_at_most_every_quarter_second() -> None:
    """A hundred unknown names at once cost one read; within 250 ms no other; after that, one more."""
    repository, clock = Sources(), Time()
    cache = SourceCache(repository, clock)
    repository.gate.clear()
    asking = asyncio.gather(*(cache.refresh_after_miss() for _ in range(100)))
    await asyncio.sleep(0)
    repository.gate.set()
    assert all(await asking)
    assert repository.reads == 1
    clock.now += MISS_EVERY_S / 2
    assert not await cache.refresh_after_miss()
    clock.now += MISS_EVERY_S
    assert await cache.refresh_after_miss()
    assert repository.reads == 2


async def test_cancelled_asker_leaves_the_shared_load_alone() -> None:
    """Whoever gives up waiting does not end the load for the others."""
    repository = Sources()
    repository.sources = [source()]
    cache = SourceCache(repository, Time())
    repository.gate.clear()
    impatient = asyncio.create_task(cache.refresh_after_miss())
    patient = asyncio.create_task(cache.refresh_after_miss())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    repository.gate.set()
    assert await patient
    assert cache.by_name("s1") is not None
    await cache.stop()


async def test_stop_lets_a_load_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read in flight is not cut off, unless it lasts too long."""
    repository = Sources()
    repository.sources = [source()]
    cache = SourceCache(repository, Time())
    repository.gate.clear()
    asking = asyncio.create_task(cache.refresh())
    await wait_until(lambda: repository.reads == 1)
    stopping = asyncio.create_task(cache.stop())
    await asyncio.sleep(0)
    repository.gate.set()
    await stopping
    await asking
    assert cache.by_name("s1") is not None
    repository.gate.clear()
    monkeypatch.setattr(module, "STOP_WAIT_S", 0.01)
    asking = asyncio.create_task(cache.refresh())
    await wait_until(lambda: repository.reads == 2)
    await cache.stop()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_revoked_access_token_is_not_kept() -> None:
    """Tokens are known by hash while they live."""
    repository = Tokens()
    token = AccessToken(workspace="default", name="t", scope="read", token_hash="h", created_at=0, revoked_at=None)
    repository.tokens = [token]
    cache = AccessTokenCache(repository, Time())
    await cache.start()
    assert cache.by_hash("h") == token
    repository.tokens = [replace(token, revoked_at=1)]
    await cache.refresh()
    assert cache.by_hash("h") is None
    await cache.stop()


class Sink:
    """Keeps what is flushed, or is away."""

    def __init__(self) -> None:
        self.rows: list[Refusal] = []
        self.away = False

    async def record_refusals(self, refusals: Sequence[Refusal]) -> None:
        """As the repository."""
        if self.away:
            raise StoreUnavailable("away")
        self.rows += refusals


async def test_refusals_are_counted_and_survive_an_outage() -> None:
    """A flood is one row with a count; counts of a failed write are added to the next."""
    sink, now = Sink(), iter(range(1, 100))
    recorder = RefusalRecorder(sink, lambda: next(now))
    for _ in range(3):
        recorder.record("s1", Why.BAD_SIGNATURE, "10.0.0.1")
    sink.away = True
    await recorder.flush()
    recorder.record("s1", Why.BAD_SIGNATURE, "10.0.0.2")
    sink.away = False
    await recorder.flush()
    await recorder.flush()
    (row,) = sink.rows
    assert (row.count, row.first_at, row.last_at, row.last_remote) == (4, 1, 4, "10.0.0.2")


async def test_refusals_are_bounded() -> None:
    """More kinds than the bound are not kept, whatever the store does."""
    sink = Sink()
    recorder = RefusalRecorder(sink, lambda: 1)
    for number in range(MOST_ROWS + 10):
        recorder.record(f"s{number}", Why.BAD_TOKEN, None)
    recorder.record(UNKNOWN_SOURCE, Why.BAD_TOKEN, None)
    await recorder.flush()
    assert len(sink.rows) == MOST_ROWS
