"""The figure: mealtrail's worker, and its applier alone, against a plain ORM consumer, on the same topic."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from backbone.eventlog.opening import open_event_log
from backbone.store.migration import migrate
from benchmarks.apply.contender import ConsumerOnTopic
from benchmarks.apply.records import fill
from benchmarks.parts import PARTITIONS, Parts, make_prefix, settings_of
from benchmarks.processes import Process
from benchmarks.rounds import Comparison, Figure, Report, run_rounds
from benchmarks.summary import summarise
from schemas.topics import RECEIVED, topic_specs
from tests.support.postgres_databases import DatabaseUrls

WORKER, APPLIER, PLAIN = "mealtrail worker", "mealtrail applier alone", "plain ORM consumer"
_OWN_COUNT = "SELECT sum(next) FROM offsets"
_PUBLISHED = "SELECT sum(published)::float / sum(seq) FROM offsets"
_PLAIN_COUNT = "SELECT last_value - (NOT is_called)::int FROM history_id_seq"


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How much, how long and how often."""

    rounds: int = 5
    seconds: float = 4.0
    records: int = 72_000
    batch_size: int = 1000


async def measure_apply(parts: Parts, options: ApplyOptions, report: Report) -> Figure:
    """Fills a topic and measures. Raises MeasurementError, LogUnavailable."""
    figure = Figure(
        name="apply",
        title=f"Apply: events from a full topic into PostgreSQL, batches up to {options.batch_size}, one process",
        unit="events/s",
        comparisons=(Comparison(WORKER, PLAIN, 20), Comparison(APPLIER, PLAIN)),
        notes=[
            f"{options.records:,} records in {PARTITIONS} partitions; every run begins with the first, on empty tables",
            "the worker publishes outcomes as well; the plain consumer has no counterpart to that",
        ],
    )
    prefix, groups = make_prefix("apply"), itertools.count(1)
    await _fill_topic(parts, prefix, options.records)

    def own(module: str) -> ConsumerOnTopic:
        async def prepare(urls: DatabaseUrls) -> Process:
            group = f"round-{next(groups)}"
            environment = parts.environment(urls, prefix=prefix, consumer_group=group, batch_size=options.batch_size)
            await migrate(settings_of(environment))
            return Process(module, environment=environment, cores=parts.cores.measured)

        name, published = (WORKER, _PUBLISHED) if module == "consumers" else (APPLIER, None)
        return ConsumerOnTopic(name, parts, prepare, _OWN_COUNT, options.records, options.seconds, published)

    async def prepare_plain(urls: DatabaseUrls) -> Process:
        arguments = [f"--kafka={parts.kafka.bootstrap}", f"--topic={prefix}{RECEIVED}"]
        arguments.append(f"--group={prefix}plain-{next(groups)}")
        module = "benchmarks.apply.plain_orm"
        return Process(module, *arguments, environment={}, cores=parts.cores.measured, stdin=urls.owner + "\n")

    plain = ConsumerOnTopic(PLAIN, parts, prepare_plain, _PLAIN_COUNT, options.records, options.seconds)
    worker = own("consumers")
    contenders = [worker, own("benchmarks.apply.applier"), plain]
    await run_rounds(figure, contenders, options.rounds, report)
    commits = summarise([commit_ms for contender in contenders for commit_ms in contender.commits_ms])
    figure.notes.append(
        f"a small commit, before each run: {commits.low:.2f} to {commits.high:.2f} ms, median {commits.median:.2f}"
    )
    share = summarise(worker.published_shares)
    figure.notes.append(
        f"the worker had published {share.median:.0%} of its trail when a run ended (as noted by its last batches)"
    )
    return figure


async def _fill_topic(parts: Parts, prefix: str, records: int) -> None:
    nowhere = DatabaseUrls(owner=parts.postgres.admin_url, runtime=parts.postgres.admin_url)
    log = open_event_log(settings_of(parts.environment(nowhere, prefix=prefix)))
    await log.start()
    try:
        await log.create_topics(topic_specs(prefix=prefix, partitions=PARTITIONS, replication=1, min_insync=1))
        await fill(log, prefix + RECEIVED, partitions=PARTITIONS, count=records)
    finally:
        await log.stop()
