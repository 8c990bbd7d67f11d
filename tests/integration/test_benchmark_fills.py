"""Stores that `make bench` fills are stores as mealtrail has them: verified, readable, and taken up where they end."""

from __future__ import annotations

import asyncpg
import pytest

from backbone.eventlog.port import LogRecord
from backbone.settings import Settings
from backbone.store.audit import verify_chains
from backbone.store.audit_receipts import verify_receipts
from backbone.store.audit_state import verify_orders
from backbone.store.engine import Store
from backbone.store.migration import migrate
from backbone.store.opening import open_store
from backbone.store.readings import Readings
from benchmarks.apply.hot_orders import HotOrders, announce, order_name
from benchmarks.apply.records import Story
from benchmarks.audit.chains import fill_chains
from benchmarks.durable_postgres import plain_url
from benchmarks.growth.fill import fill_store, make_base
from consumers.applier import Applier
from tests.support.postgres_databases import DatabaseUrls
from tests.support.stores import postgres_settings, store

__all__ = ["store"]

_NOW_MS = 1_790_000_000_000


async def test_filled_chains_are_good(store: Store) -> None:
    """All that `audit verify` compares fits, on both databases: rows, payloads, orders, receipts."""
    base = make_base(partitions=3, now_ms=_NOW_MS, events=300)
    rows = await fill_chains(store, base, rows=700)
    report = await verify_chains(store)
    assert (report.bad, report.rows) == ((), rows)
    assert report.payloads.checked > rows // 2
    assert not (await verify_orders(store, report.good)).bad
    assert not (await verify_receipts(store, report.good)).bad


@pytest.mark.postgres
async def test_a_log_goes_on_from_the_fill(database_urls: DatabaseUrls) -> None:
    """The applier takes a topic from offset 0 on top of the history, whose orders are read like any others."""
    settings = await _migrated(database_urls)
    connection = await asyncpg.connect(plain_url(database_urls.owner))
    try:
        filled = await fill_store(connection, make_base(partitions=1, now_ms=_NOW_MS, events=200), rows=600)
        assert await connection.fetchval("SELECT count(*) FROM trail") == filled.rows
        assert await connection.fetchval("SELECT max(seq) FROM trail") == filled.rows
        assert await connection.fetchval('SELECT max("offset") FROM event_payloads') == -1
    finally:
        await connection.close()
    opened = open_store(settings, purpose="consumer")
    try:
        cursor = await Applier(opened).claim(0)
        assert (cursor.next, cursor.seq, cursor.published) == (0, filled.rows, filled.rows)
        story = [
            LogRecord(0, offset, _NOW_MS + offset, new.key, new.value, new.headers)
            for offset, new in enumerate(Story(partitions=1).records(50))
        ]
        applied = await Applier(opened).apply(0, story, start=0, published=cursor.published)
        assert applied.seq > filled.rows
        assert not applied.held
        history = await Readings(opened).history(filled.order_id(3, 1))
        assert history
    finally:
        await opened.close()


@pytest.mark.postgres
async def test_events_of_hot_orders_find_them_announced(database_urls: DatabaseUrls) -> None:
    """None waits or is refused, and the order has moved."""
    settings = await _migrated(database_urls)
    connection = await asyncpg.connect(plain_url(database_urls.owner))
    try:
        await announce(connection, 20, partitions=1)
    finally:
        await connection.close()
    opened = open_store(settings, purpose="consumer")
    try:
        await Applier(opened).claim(0)
        records = [
            LogRecord(0, offset, _NOW_MS + 10**9 + offset, new.key, new.value, new.headers)
            for offset, new in enumerate(HotOrders(1, partitions=1).records(40))
        ]
        applied = await Applier(opened).apply(0, records, start=0, published=0)
        assert {verdict for verdict, _ in applied.verdicts} == {"applied", "noted", "repeated"}
        view = await Readings(opened).order(order_name(0))
        assert view is not None
        assert view.status == "DELIVERED"
    finally:
        await opened.close()


async def _migrated(urls: DatabaseUrls) -> Settings:
    settings = postgres_settings(urls)
    await migrate(settings)
    return settings
