"""The worker on real logs and real stores: from the received topic to the outcomes topic."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import func, select

from backbone.clocks import Clock
from backbone.eventlog.port import LogRecord, NewRecord
from backbone.metrics import Metrics
from backbone.settings import Settings
from backbone.store.engine import Store
from backbone.store.tables import held_events, offsets, trail
from consumers.composition import running
from consumers.runner import Runner, RunnerConfig
from schemas.cloudevents import header
from tests.support.logs import LogUnderTest, event_log, started_log
from tests.support.model import apply_all
from tests.support.received import event_record, new_record, placed, source, status
from tests.support.stores import store
from tests.support.waiting import wait_until

__all__ = ["event_log", "store"]

PLATFORM = source("platform")
RESTAURANT = source("restaurant", "r1")
STATUSES = ("ACCEPTED_BY_RESTAURANT", "COOKING", "READY")


def make_runner(log: LogUnderTest, store: Store, **config: Any) -> Runner:
    """A worker on the log's topics."""
    names = {
        "topics": log.topics,
        "group": f"{log.prefix}workers",
    }
    return Runner(
        log=log.log,
        store=store,
        config=RunnerConfig(**{**names, "idle_s": 0.1, "stop_timeout_s": 5.0, **config}),
        metrics=Metrics(),
    )


def records_of(order_ids: range, partitions: int) -> list[NewRecord]:
    """Announcements and a few steps of many orders."""
    records = [event_record(f"o{i}", placed(restaurant="r1"), PLATFORM) for i in order_ids]
    records += [event_record(f"o{i}", status(value), RESTAURANT) for value in STATUSES for i in order_ids]
    return [new_record(record, partitions=partitions) for record in records]


async def read_all(log: LogUnderTest, topic: str) -> list[LogRecord]:
    """Everything the topic holds now."""
    bounds = await log.log.bounds(topic, range(log.partitions))
    wanted = sum(b.end - b.start for b in bounds.values())
    reader = await log.log.tail(topic, {p: b.start for p, b in bounds.items()})
    found: list[LogRecord] = []
    try:
        async with asyncio.timeout(20):
            while len(found) < wanted:
                found += await reader.read(max_records=1000, timeout=1.0)
    finally:
        await reader.stop()
    return found


async def trail_count(store: Store) -> int:
    """Rows in the trail."""
    async with store.reading() as connection:
        return await connection.scalar(select(func.count()).select_from(trail)) or 0


@asynccontextmanager
async def at_work(runner: Runner) -> AsyncIterator[asyncio.Task[None]]:
    """The runner running beside the block."""
    async with running(runner, stop_timeout_s=5.0) as task:
        yield task


async def test_what_is_logged_is_applied_and_published(event_log: LogUnderTest, store: Store) -> None:
    """Every record gets its verdict; the outcomes topic carries the same rows, seqs and hashes, gapless and keyed."""
    await event_log.log.append(event_log.received, records_of(range(40), event_log.partitions))
    async with at_work(make_runner(event_log, store, batch_size=7)):
        await wait_until(lambda: _settled(store, 160), timeout=30.0, what="all events applied")
    received = await read_all(event_log, event_log.received)
    outcomes = await read_all(event_log, event_log.outcomes)
    for partition in range(event_log.partitions):
        expected = apply_all(received, partition=partition).changes.rows
        mine = [record for record in outcomes if record.partition == partition]
        seen: dict[int, dict[str, Any]] = {}
        for record in mine:
            document = orjson.loads(record.value)
            seen.setdefault(document["seq"], document)
            assert record.key == f"default:{document['order_id']}".encode()
            assert header(record.headers, "ce_id") == f"{partition}-{document['seq']}"
        assert list(seen) == list(range(1, len(expected) + 1))
        assert [document["hash"] for document in seen.values()] == [row_hash.hex() for _, row_hash in expected]


async def _settled(store: Store, rows: int) -> bool:
    return await trail_count(store) == rows


async def test_a_restarted_worker_goes_on_where_the_store_stands(event_log: LogUnderTest, store: Store) -> None:
    """Work in two halves by two workers: nothing twice, nothing left out."""
    records = records_of(range(10), event_log.partitions)
    await event_log.log.append(event_log.received, records[:20])
    async with at_work(make_runner(event_log, store)):
        await wait_until(lambda: _settled(store, 20), timeout=30.0, what="first half")
    await event_log.log.append(event_log.received, records[20:])
    async with at_work(make_runner(event_log, store)):
        await wait_until(lambda: _settled(store, 40), timeout=30.0, what="second half")
    received = await read_all(event_log, event_log.received)
    expected = [r[1] for p in range(event_log.partitions) for r in apply_all(received, partition=p).changes.rows]
    async with store.reading() as connection:
        rows = await connection.execute(select(trail.c.hash).order_by(trail.c.partition, trail.c.seq))
        assert [bytes(row.hash) for row in rows] == expected


async def test_a_due_hold_on_an_idle_partition_is_ended_by_a_tick(event_log: LogUnderTest, store: Store) -> None:
    """Nothing else is logged: the owner appends a tick, and the tick's log time rejects the event."""
    early = event_record("never", status("READY"), source("restaurant", "r1", hold_ms=600))
    await event_log.log.append(event_log.received, [new_record(early, partitions=event_log.partitions)])
    async with at_work(make_runner(event_log, store)):
        await wait_until(lambda: _settled(store, 1), timeout=30.0, what="the hold to expire")
    async with store.reading() as connection:
        row = (await connection.execute(select(trail))).one()
        assert (row.verdict, row.reason, row.decided_ms - row.received_ms >= 600) == (
            "rejected",
            "order_not_found",
            True,
        )
        assert await connection.scalar(select(func.count()).select_from(held_events)) == 0
    kinds = [orjson.loads(record.value)["kind"] for record in await read_all(event_log, event_log.received)]
    assert kinds[0] == "event"
    assert set(kinds[1:]) == {"tick"}


async def test_a_worker_clock_that_runs_ahead_ends_no_hold(event_log: LogUnderTest, store: Store) -> None:
    """An hour ahead, the worker may tick early; the log's time decides, and the hold outlives the tick."""
    early = event_record("never", status("READY"), source("restaurant", "r1", hold_ms=3_000_000))
    await event_log.log.append(event_log.received, [new_record(early, partitions=event_log.partitions)])
    runner = make_runner(event_log, store)
    ahead = Clock()
    object.__setattr__(runner._parts, "clock", Clock(now_ms=lambda: ahead.now_ms() + 3_600_000))
    async with at_work(runner):

        async def ticked() -> bool:
            async with store.reading() as connection:
                return bool(await connection.scalar(select(func.max(offsets.c.next))) == 2)

        await wait_until(ticked, timeout=30.0, what="a tick to be applied")
    assert await trail_count(store) == 0


async def test_an_unknown_record_stops_its_partition_and_no_other(event_log: LogUnderTest, store: Store) -> None:
    """What comes before the record is applied and published, the partition stops, the others go on."""
    records = records_of(range(12), event_log.partitions)
    await event_log.log.append(event_log.received, records)
    await event_log.log.append(event_log.received, [NewRecord(1, b"x", b'{"kind":"archive","event_id":"x"}')])
    later = records_of(range(12, 24), event_log.partitions)
    await event_log.log.append(event_log.received, later)
    runner = make_runner(event_log, store)
    expected = len(records) + sum(1 for record in later if record.partition != 1)
    async with at_work(runner):
        await wait_until(lambda: _settled(store, expected), timeout=30.0, what="the healthy partitions")
        await wait_until(lambda: runner.status().stopped == {1: "record_unknown"}, timeout=10.0, what="the stop")
    outcomes = await read_all(event_log, event_log.outcomes)
    published = {(r.partition, orjson.loads(r.value)["seq"]) for r in outcomes if r.partition == 1}
    assert len(published) == sum(1 for record in records if record.partition == 1)


async def test_a_replaced_log_stops_the_partition(event_log: LogUnderTest, store: Store) -> None:
    """The record before the next one is not the remembered one, or the log is shorter than the store remembers."""
    await event_log.log.append(event_log.received, records_of(range(6), event_log.partitions))
    async with at_work(make_runner(event_log, store)):
        await wait_until(lambda: _settled(store, 24), timeout=30.0, what="all events applied")
    async with store.transaction() as connection:
        await connection.execute(offsets.update().where(offsets.c.partition == 0).values(last_event_id="another"))
        await connection.execute(offsets.update().where(offsets.c.partition == 1).values(next=1_000_000))
    runner = make_runner(event_log, store)
    async with at_work(runner):
        expected = {0: "log_replaced", 1: "log_gap"}
        await wait_until(lambda: runner.status().stopped == expected, timeout=20.0, what="both to stop")


async def test_two_workers_own_everything_at_once(tmp_path: Path, store: Store) -> None:
    """Two owners of the same partitions race for every batch: one trail, the one that a single worker would write."""
    settings = Settings.model_validate({"data_dir": tmp_path})
    first, second = await started_log(settings), await started_log(settings)
    try:
        records = records_of(range(60), first.partitions)
        runners = [make_runner(log, store, batch_size=5) for log in (first, second)]
        async with at_work(runners[0]), at_work(runners[1]):
            for start in range(0, len(records), 40):
                await first.log.append(first.received, records[start : start + 40])
            await wait_until(lambda: _settled(store, 240), timeout=60.0, what="all events applied")
        assert sum(runner._metrics.fences_lost._value.get() for runner in runners) > 0
        received = await read_all(first, first.received)
        expected = [r[1] for p in range(3) for r in apply_all(received, partition=p).changes.rows]
        async with store.reading() as connection:
            rows = await connection.execute(select(trail.c.hash).order_by(trail.c.partition, trail.c.seq))
            assert [bytes(row.hash) for row in rows] == expected
    finally:
        await first.log.stop()
        await second.log.stop()


async def test_a_log_exchanged_while_the_worker_was_frozen_is_noticed(store: Store, tmp_path: Path) -> None:
    """The worker sleeps, its log is recreated and refilled past its offset: it applies nothing of the other log."""
    settings = Settings.model_validate({"data_dir": tmp_path})
    under_test = await started_log(settings, partitions=1)
    try:
        await under_test.log.append(under_test.received, records_of(range(3), 1))
        runner = make_runner(under_test, store)
        moment = {"s": 0.0}
        real = Clock()
        object.__setattr__(runner._parts, "clock", Clock(monotonic=lambda: real.monotonic() + moment["s"]))
        async with at_work(runner):
            await wait_until(lambda: _settled(store, 12), timeout=30.0, what="all events applied")
            with sqlite3.connect(tmp_path / "log.db") as file:
                for offset, headers in file.execute("SELECT offset, headers FROM records WHERE topic = 1").fetchall():
                    other = (headers.replace(b"ce_id", b"ce_no"), offset)
                    file.execute("UPDATE records SET headers = ? WHERE topic = 1 AND offset = ?", other)
            moment["s"] = 60.0
            await under_test.log.append(under_test.received, records_of(range(3, 4), 1))
            expected = {0: "log_replaced"}
            await wait_until(lambda: runner.status().stopped == expected, timeout=20.0, what="the stop")
        assert await trail_count(store) == 12
    finally:
        await under_test.log.stop()
