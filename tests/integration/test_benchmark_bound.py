"""The hand-written bound of `make bench` does what the applier does: the same rows from the same records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from backbone.eventlog.port import LogRecord
from backbone.store.migration import migrate
from backbone.store.opening import open_store
from benchmarks.apply.bound import Bound
from benchmarks.apply.prepared import COPIED, UPSERTED, load, prepare, save
from benchmarks.apply.records import Story
from benchmarks.durable_postgres import plain_url
from consumers.applier import Applier
from tests.support.postgres_databases import DatabaseUrls
from tests.support.stores import postgres_settings

_PARTITIONS = 3
_START_MS = 1_790_000_000_000
_EVENTS = 600


def _log(count: int) -> list[LogRecord]:
    """A stretch of the story as a log would have stored it."""
    offsets, records = [0] * _PARTITIONS, []
    for number, new in enumerate(Story(partitions=_PARTITIONS).records(count)):
        at, offsets[new.partition] = offsets[new.partition], offsets[new.partition] + 1
        records.append(LogRecord(new.partition, at, _START_MS + number, new.key, new.value, new.headers))
    return records


async def _tables(urls: DatabaseUrls) -> dict[str, list[Any]]:
    """All rows of what the two wrote, in the order of their keys."""
    connection = await asyncpg.connect(plain_url(urls.owner))
    try:
        return {
            name: await connection.fetch(f"SELECT * FROM {name} ORDER BY 1, 2, 3, 4")
            for name in (*COPIED, *UPSERTED, "offsets", "held_events", "reused_event_ids")
        }
    finally:
        await connection.close()


@pytest.mark.postgres
@pytest.mark.parametrize("batch_size", [1, 100])
async def test_the_bound_writes_what_the_applier_writes(
    create_database: Callable[[], DatabaseUrls], tmp_path: Path, batch_size: int
) -> None:
    """Every table is equal to the last value, hashes and the partitions' heads included."""
    by_us, by_hand = create_database(), create_database()
    records, settings = _log(_EVENTS if batch_size > 1 else 60), postgres_settings(by_us)
    await migrate(settings)
    store = open_store(settings, purpose="consumer")
    try:
        applier = Applier(store)
        for partition in range(_PARTITIONS):
            start = (await applier.claim(partition)).next
            own = [record for record in records if record.partition == partition]
            for begin in range(0, len(own), batch_size):
                batch = own[begin : begin + batch_size]
                start = (await applier.apply(partition, batch, start=start, published=0)).next
            await applier.let_go(partition, start)
    finally:
        await store.close()
    await migrate(postgres_settings(by_hand))
    save(prepare(records, batch_size=batch_size), tmp_path / "prepared")
    connection = await asyncpg.connect(plain_url(by_hand.runtime))
    try:
        bound = Bound(connection)
        await bound.begin(range(_PARTITIONS))
        for prepared in load(tmp_path / "prepared"):
            await bound.write(prepared)
    finally:
        await connection.close()
    ours, theirs = await _tables(by_us), await _tables(by_hand)
    assert ours["trail"], "nothing was compared"
    assert theirs == ours


@pytest.mark.postgres
async def test_the_bound_stops_at_a_batch_that_is_not_the_next(database_urls: DatabaseUrls) -> None:
    """Like the applier's fence: a batch that was written, or comes too early, is refused."""
    await migrate(postgres_settings(database_urls))
    batches = prepare(_log(60), batch_size=10)
    connection = await asyncpg.connect(plain_url(database_urls.runtime))
    try:
        bound = Bound(connection)
        await bound.begin(range(_PARTITIONS))
        await bound.write(batches[0])
        with pytest.raises(RuntimeError, match="does not stand at"):
            await bound.write(batches[0])
    finally:
        await connection.close()
