"""The figure: mealtrail's worker and its applier alone, between a plain ORM consumer and a hand-written bound."""

from __future__ import annotations

from benchmarks.apply.contender import ConsumerOnTopic
from benchmarks.apply.records import Story
from benchmarks.apply.topic import APPLIER, BOUND, BOUND_ALONE, PLAIN, WORKER, full_topic
from benchmarks.model import Comparison, Figure, Listing
from benchmarks.parts import PARTITIONS, Parts
from benchmarks.plans import Options, Plan, Work
from benchmarks.rounds import Report, run_rounds
from benchmarks.summary import summarise

RECORDS = 72_000
BATCH_SIZE = 1000
_CONTENDERS = 5
_EXTRA_S = 3.0
"""A run's database, start and end."""


async def measure_apply(
    parts: Parts, options: Options, report: Report, *, records: int = RECORDS, batch_size: int = BATCH_SIZE
) -> Figure:
    """Fills a topic and measures. Raises MeasurementError, LogUnavailable."""
    figure = Figure(
        name="apply",
        title=f"Apply: events from a full topic into PostgreSQL, batches up to {batch_size}, one process",
        unit="events/s",
        comparisons=(
            Comparison(APPLIER, BOUND_ALONE, 0.45),
            Comparison(WORKER, PLAIN, 20),
            Comparison(APPLIER, BOUND),
            Comparison(WORKER, BOUND),
            Comparison(APPLIER, PLAIN),
        ),
        notes=[
            f"{records:,} records in {PARTITIONS} partitions; every run begins with the first, on empty tables",
            f"'{BOUND}' fetches the same records from Kafka and writes rows prepared beforehand",
            f"'{BOUND_ALONE}' writes the same rows and fetches nothing",
            "the worker publishes outcomes as well; none of the others has a counterpart to that",
        ],
    )
    story = Story(partitions=PARTITIONS).records(records)
    async with full_topic(parts, "apply", story) as topic:
        worker = topic.worker(batch_size=batch_size, seconds=options.seconds)
        contenders = [
            worker,
            topic.applier(batch_size=batch_size, seconds=options.seconds),
            await topic.bound(batch_size=batch_size, seconds=options.seconds, reads=True),
            await topic.bound(batch_size=batch_size, seconds=options.seconds, reads=False),
            topic.plain(seconds=options.seconds),
        ]
        await run_rounds(figure, contenders, options.rounds, report)
    figure.listings.append(_sustained(worker, figure))
    commits = summarise([commit_ms for contender in contenders for commit_ms in contender.commits_ms])
    figure.notes.append(
        f"a small commit, before each run: {commits.low:.2f} to {commits.high:.2f} ms, median {commits.median:.2f}"
    )
    return figure


def _sustained(worker: ConsumerOnTopic, figure: Figure) -> Listing:
    """A worker that falls behind with publishing only catches up later: what it can keep up is told apart."""
    share = summarise([share * 100 for share in worker.published_shares])
    columns = ("sustained", "committed, events/s", "of it published, %", "committed and published, events/s")
    row = (WORKER, summarise(figure.rates(WORKER)), share, summarise(worker.sustained))
    return Listing("", columns, (row,))


APPLY = Plan(
    name="apply",
    title="apply: rate, between a hand-written bound and a plain ORM consumer",
    measure=measure_apply,
    work=lambda options: Work(
        _CONTENDERS * options.rounds, 25 + _CONTENDERS * options.rounds * (options.seconds + _EXTRA_S)
    ),
)
