"""The figure: what a store that grows does to the rate of applying and to every read, from 10,000 rows to 10,000,000.

Each size is a database of its own, filled once. Sizes take turns, round after round. Where a run would make a small
store noticeably larger it works on a copy; large ones keep the few rows that a run adds, and the next round goes on
where the last one ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import asyncpg

from backbone.clocks import SYSTEM_CLOCK
from backbone.store.migration import migrate
from benchmarks.apply.batches import chart_of
from benchmarks.apply.contender import ConsumerOnTopic
from benchmarks.apply.prepared import PreparedBatch
from benchmarks.apply.records import Story
from benchmarks.apply.topic import APPLIER, FullTopic, full_topic
from benchmarks.databases import copied_database
from benchmarks.durable_postgres import plain_url
from benchmarks.growth.fill import BASE_ROWS, Filled, fill_store, make_base
from benchmarks.growth.reading import StoreRead
from benchmarks.growth.tables import latency_chart, latency_listings, size_listing
from benchmarks.model import Figure, TargetLine
from benchmarks.parts import PARTITIONS, Parts, make_prefix, settings_of
from benchmarks.plans import Options, Plan, Work
from benchmarks.rounds import Report, run_rounds
from benchmarks.summary import ratios, summarise
from tests.support.postgres_databases import DatabaseUrls

RECORDS = 150_000
BATCH_SIZE = 1000
_COPIED_BELOW = 1_000_000
_ROWS_PER_S = 12_000
"""About what filling does."""


@dataclass(frozen=True, slots=True)
class GrownStore:
    """A filled database."""

    urls: DatabaseUrls
    filled: Filled
    bytes: int

    @property
    def name(self) -> str:
        """How it is called in tables."""
        return f"{self.filled.rows:,} rows"


def sizes_up_to(most: int) -> list[int]:
    """Powers of ten from one copy of the fill to the most that is asked for."""
    sizes = [BASE_ROWS]
    while sizes[-1] * 10 <= most:
        sizes.append(sizes[-1] * 10)
    return sizes


async def measure_growth(parts: Parts, options: Options, report: Report) -> Figure:
    """Fills a store for each size and measures. Raises MeasurementError, LogUnavailable."""
    figure = Figure(
        name="growth",
        title=f"Growth: rows of the trail, {APPLIER} in batches up to {BATCH_SIZE}, and reads over HTTP",
        unit="events/s",
        notes=[
            "filled in the database from rows as mealtrail writes them; then VACUUM ANALYZE",
            "reads one after the other over one connection, on a server at rest",
        ],
    )
    async with AsyncExitStack() as stack:
        base = make_base(partitions=PARTITIONS, now_ms=SYSTEM_CLOCK.now_ms())
        stores = [
            await _grow(parts, stack.enter_context(parts.database()), base, rows, report)
            for rows in sizes_up_to(options.most_rows)
        ]
        story = Story(partitions=PARTITIONS).records(RECORDS)
        topic = await stack.enter_async_context(full_topic(parts, "growth", story))
        appliers = [_applier(topic, store, options) for store in stores]
        await run_rounds(figure, appliers, options.rounds, report)
        # Reading comes after all writing, so that no vacuum or checkpoint of a run falls into it by chance.
        reads = [StoreRead(parts, store.urls, store.filled, name=store.name) for store in stores]
        for number in range(options.rounds):
            for read in reads:
                await read.measure(seconds=options.seconds / 4)
                report(f"round {number + 1}  reads at {read.name}")
    rates = [(float(store.filled.rows), figure.rates(store.name)) for store in stores]
    figure.charts += [
        chart_of("events/s by rows", "rows of the trail", {APPLIER: rates}),
        latency_chart(stores, reads),
    ]
    figure.listings += [*latency_listings(stores, reads), size_listing(stores)]
    small, large = stores[0], stores[-1]
    figure.targets = [
        TargetLine(
            text=f"growth: apply rate at {large.name} / at {small.name}",
            value=summarise(ratios(figure.rates(large.name), figure.rates(small.name))),
            wanted=0.9,
        ),
        TargetLine(
            text=f"growth: order read p99 at {large.name} / at {small.name}",
            value=summarise(ratios(reads[-1].order_p99s(), reads[0].order_p99s())),
            wanted=1.5,
            at_least=False,
        ),
    ]
    return figure


async def _grow(
    parts: Parts, urls: DatabaseUrls, base: Sequence[PreparedBatch], rows: int, report: Report
) -> GrownStore:
    await migrate(settings_of(parts.environment(urls, prefix=make_prefix("growth"))))
    connection = await asyncpg.connect(plain_url(urls.owner), timeout=10)
    try:
        filled = await fill_store(connection, base, rows=rows)
        size = int(await connection.fetchval("SELECT pg_database_size(current_database())"))
    finally:
        await connection.close(timeout=10)
    report(f"filled {filled.rows:,} rows in {filled.seconds:.0f} s, {size / 2**30:.1f} GiB")
    return GrownStore(urls, filled, size)


def _applier(topic: FullTopic, store: GrownStore, options: Options) -> ConsumerOnTopic:
    admin_url = topic.parts.postgres.admin_url
    database: Callable[[], AbstractContextManager[DatabaseUrls]] = partial(_kept, store.urls)
    if store.filled.rows < _COPIED_BELOW:
        database = partial(copied_database, admin_url, store.urls)
    return topic.applier(batch_size=BATCH_SIZE, seconds=options.seconds, name=store.name, database=database)


@contextmanager
def _kept(urls: DatabaseUrls) -> Iterator[DatabaseUrls]:
    yield urls


def _work(options: Options) -> Work:
    sizes = sizes_up_to(options.most_rows)
    runs = options.rounds * len(sizes)
    return Work(len(sizes) + 2 * runs, 60 + sum(sizes) / _ROWS_PER_S + runs * (options.seconds * 4 + 8))


GROWTH = Plan(
    name="growth",
    title="growth: applying and reading as the trail grows",
    measure=measure_growth,
    work=_work,
    only_full=True,
)
