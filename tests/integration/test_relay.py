"""The relay: rows at hand are what the store has, and the store is asked wherever they are not the very next ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from backbone.eventlog.port import LogRecord
from backbone.metrics import Metrics
from backbone.store.engine import Store
from consumers import relay as relaying
from consumers.applier import Applied, Applier
from consumers.relay import Relay, outcomes_publication
from schemas.topics import OUTCOMES, topic_specs
from tests.support.fake_log import FakeLog
from tests.support.random_logs import random_log
from tests.support.received import START_MS
from tests.support.stores import store

__all__ = ["store"]
Published = list[tuple[bytes | None, bytes, Any]]


@dataclass
class Site:
    """A relay of partition 0 with its log, and how often it asked the store."""

    log: FakeLog
    relay: Relay
    asked: list[int]

    async def published(self) -> Published:
        """Publishes what is committed; all that the topic has then."""
        await self.relay.drain()
        return [(record.key, record.value, record.headers) for record in self.log.topics.all_records(OUTCOMES)]


async def make_site(store: Store) -> Site:
    """A relay that has published nothing yet."""
    log = FakeLog(now_ms=lambda: START_MS)
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=1, replication=1, min_insync=1))
    publication, asked = outcomes_publication(OUTCOMES, Metrics()), []

    async def read(connection: Any, partition: int, after: int) -> Any:
        asked.append(after)
        return await publication.read(connection, partition, after)

    watched = type(publication)(publication.name, publication.topic, read, publication.lag)
    relay = Relay(log=log, publication=watched, store=store, partition=0, published=0, turns=asyncio.Semaphore(1))
    return Site(log, relay, asked)


async def apply_batches(store: Store, log: Sequence[LogRecord], size: int = 100) -> list[Applied]:
    """The log applied, batch after batch."""
    start, done = (await Applier(store).claim(0)).next, []
    while start < len(log):
        done.append(await Applier(store).apply(0, log[start : start + size], start=start, published=0))
        start = done[-1].next
    return done


async def from_store(store: Store, seq: int) -> Published:
    """What a relay publishes that has no rows at hand."""
    site = await make_site(store)
    site.relay.committed(seq)
    return await site.published()


async def test_rows_at_hand_are_published_as_the_store_has_them(store: Store) -> None:
    """Key, value and headers, byte for byte; the store is not asked."""
    batches, site = await apply_batches(store, random_log(1)), await make_site(store)
    for applied in batches:
        site.relay.committed(applied.seq, applied.rows)
    assert await site.published() == await from_store(store, batches[-1].seq)
    assert site.asked == []
    assert site.relay.published == batches[-1].seq


Trouble = Callable[[Site, list[Applied]], Awaitable[None]]


async def _unsure(site: Site, batches: list[Applied]) -> None:
    """Of the second batch nobody heard whether it was committed: it was."""
    for number, applied in enumerate(batches):
        site.relay.committed(applied.seq, () if number == 1 else applied.rows)


async def _foreign(site: Site, batches: list[Applied]) -> None:
    """Another worker applied the second batch, and nobody told of it."""
    for applied in (batches[0], batches[2]):
        site.relay.committed(applied.seq, applied.rows)


async def _behind(site: Site, batches: list[Applied]) -> None:
    """The topic lost its end, or was made anew."""
    for applied in batches[:2]:
        site.relay.committed(applied.seq, applied.rows)
    await site.relay.drain()
    site.log.topics.partition(OUTCOMES, 0).records.clear()
    site.relay.go_back(0)
    site.relay.committed(batches[2].seq, batches[2].rows)


async def _unanswered(site: Site, batches: list[Applied]) -> None:
    """The log was away, and more was committed meanwhile."""
    site.relay.committed(batches[0].seq, batches[0].rows)
    site.log.down = True
    with pytest.raises(Exception, match="down"):
        await site.relay.publish_next()
    site.log.down = False
    for applied in batches[1:]:
        site.relay.committed(applied.seq, applied.rows)


@pytest.mark.parametrize("trouble", [_unsure, _foreign, _behind, _unanswered])
async def test_nothing_is_left_out_whatever_is_at_hand(store: Store, trouble: Trouble) -> None:
    """All rows, once and in order."""
    batches, site = await apply_batches(store, random_log(2)), await make_site(store)
    await trouble(site, batches)
    assert await site.published() == await from_store(store, batches[-1].seq)


async def test_an_older_store_takes_back_what_is_at_hand(store: Store) -> None:
    """Rows that the store does not have any more are not published out of memory."""
    batches, site = await apply_batches(store, random_log(3)), await make_site(store)
    ahead = [(row._replace(seq=row.seq + batches[-1].seq), row_hash) for row, row_hash in batches[0].rows]
    site.relay.committed(batches[-1].seq)
    await site.relay.drain()
    site.relay.committed(ahead[-1][0].seq, ahead)
    site.relay.go_back(batches[-1].seq)
    assert await site.published() == await from_store(store, batches[-1].seq)


async def test_a_relay_that_is_behind_keeps_no_more_than_its_share(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits in memory is bounded; the rest comes from the store."""
    monkeypatch.setattr(relaying, "FRESH_ROWS", 50)
    batches, site = await apply_batches(store, random_log(4), size=30), await make_site(store)
    for applied in batches:
        site.relay.committed(applied.seq, applied.rows)
    assert await site.published() == await from_store(store, batches[-1].seq)
    assert site.asked


async def test_rows_in_memory_are_let_go_once_they_are_published(store: Store) -> None:
    """An idle partition keeps none."""
    site = await make_site(store)
    [applied] = await apply_batches(store, random_log(3)[:100])
    site.relay.committed(applied.seq, applied.rows)
    await site.published()
    assert site.relay._fresh == []


async def test_a_relay_that_is_sent_back_while_it_publishes_begins_again_there(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The topic was cut behind its back; what it had in hand then tells nothing about the rows before."""
    site = await make_site(store)
    first, second = await apply_batches(store, random_log(3)[:200])
    site.relay.committed(first.seq, first.rows)
    await site.published()
    site.relay.committed(second.seq, second.rows)
    at_the_log, cut, append = asyncio.Event(), asyncio.Event(), site.log.append

    async def slow(*given: Any) -> Any:
        at_the_log.set()
        await cut.wait()
        return await append(*given)

    monkeypatch.setattr(site.log, "append", slow)
    publishing = asyncio.create_task(site.relay.publish_next())
    await at_the_log.wait()
    site.log.topics.partition(OUTCOMES, 0).records.clear()
    site.relay.go_back(0)
    cut.set()
    await publishing
    seqs = {orjson.loads(value)["seq"] for _, value, _ in await site.published()}
    assert seqs == set(range(1, second.seq + 1))
