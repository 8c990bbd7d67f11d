"""The figure: events that all fall on one order, on a hundred, on a hundred thousand."""

from __future__ import annotations

from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from functools import partial

import asyncpg

from backbone.store.migration import migrate
from benchmarks.apply.batches import chart_of, rounds_of, seconds_of
from benchmarks.apply.contender import ConsumerOnTopic
from benchmarks.apply.hot_orders import KNOWN, HotOrders, announce
from benchmarks.apply.topic import APPLIER, full_topic
from benchmarks.databases import copied_database
from benchmarks.durable_postgres import plain_url
from benchmarks.model import Figure
from benchmarks.parts import PARTITIONS, Parts, make_prefix, settings_of
from benchmarks.plans import Options, Plan, Work
from benchmarks.rounds import Report, run_rounds
from tests.support.postgres_databases import DatabaseUrls

ORDERS = (1, 100, KNOWN)
RECORDS = 40_000
BATCH_SIZE = 1000
_EXTRA_S = 3.5


async def measure_hot_orders(
    parts: Parts, options: Options, report: Report, *, records: int = RECORDS, known: int = KNOWN
) -> Figure:
    """Fills a store and a topic for each number of orders, and measures. Raises MeasurementError, LogUnavailable."""
    figure = Figure(
        name="hot-orders",
        title=f"Apply: few orders or many, batches up to {BATCH_SIZE}",
        unit="events/s",
        notes=[
            f"every run begins on a store with the same {known:,} announced orders",
            "half of the events change nothing (an ETA), a quarter are the next step, a quarter amend details",
            "events of one order lie in one partition, so one order is one partition's work",
        ],
    )
    seconds, measured = seconds_of(options), Figure(name="", title="")
    names = {orders: f"{orders:,} orders" for orders in ORDERS}
    with ExitStack() as stack:
        template = stack.enter_context(parts.database())
        await _seed(parts, template, known)
        database = partial(_copied, parts, template)
        async with AsyncExitStack() as topics:
            contenders: list[ConsumerOnTopic] = []
            for orders, name in names.items():
                stories = HotOrders(min(orders, known), partitions=PARTITIONS).records(records)
                topic = await topics.enter_async_context(full_topic(parts, f"hot-{orders}", stories))
                contenders.append(topic.applier(batch_size=BATCH_SIZE, seconds=seconds, name=name, database=database))
            await run_rounds(measured, contenders, rounds_of(options), report)
    points = {APPLIER: [(float(orders), measured.rates(name)) for orders, name in names.items()]}
    figure.charts.append(chart_of("events/s by orders", "orders that the events fall on", points))
    return figure


def _copied(parts: Parts, template: DatabaseUrls) -> AbstractContextManager[DatabaseUrls]:
    return copied_database(parts.postgres.admin_url, template)


async def _seed(parts: Parts, urls: DatabaseUrls, known: int) -> None:
    await migrate(settings_of(parts.environment(urls, prefix=make_prefix("hot"))))
    connection = await asyncpg.connect(plain_url(urls.owner), timeout=10)
    try:
        await announce(connection, known, partitions=PARTITIONS)
    finally:
        await connection.close(timeout=10)


def _work(options: Options) -> Work:
    runs = rounds_of(options) * len(ORDERS)
    return Work(runs, 25 + runs * (seconds_of(options) + _EXTRA_S))


HOT_ORDERS = Plan(
    name="hot-orders",
    title=f"apply: events on 1, 100 and {KNOWN:,} orders",
    measure=measure_hot_orders,
    work=_work,
)
