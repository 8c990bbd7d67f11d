"""The figure: mealtrail's worker, and its applier alone, against a plain ORM consumer, on the same topic."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial

from backbone.eventlog.opening import open_event_log
from backbone.eventlog.port import EventLog
from backbone.store.migration import migrate
from benchmarks.apply.contender import ConsumerOnTopic, CountOutcomes, Prepare
from benchmarks.apply.records import fill
from benchmarks.model import Comparison, Figure
from benchmarks.parts import PARTITIONS, Parts, make_prefix, settings_of
from benchmarks.processes import Process
from benchmarks.rounds import Report, run_rounds
from benchmarks.summary import summarise
from schemas.topics import OUTCOMES, RECEIVED, topic_specs
from tests.support.postgres_databases import DatabaseUrls

WORKER, APPLIER, PLAIN = "mealtrail worker", "mealtrail applier alone", "plain ORM consumer"
_OWN_COUNT = "SELECT sum(next) FROM offsets"
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
    prefix = make_prefix("apply")
    nowhere = DatabaseUrls(owner=parts.postgres.admin_url, runtime=parts.postgres.admin_url)
    log = open_event_log(settings_of(parts.environment(nowhere, prefix=prefix)))
    await log.start()
    try:
        await log.create_topics(topic_specs(prefix=prefix, partitions=PARTITIONS, replication=1, min_insync=1))
        await fill(log, prefix + RECEIVED, partitions=PARTITIONS, count=options.records)
        contenders = _contenders(parts, options, log, prefix)
        await run_rounds(figure, contenders, options.rounds, report)
    finally:
        await log.stop()
    commits = summarise([commit_ms for contender in contenders for commit_ms in contender.commits_ms])
    figure.notes.append(
        f"a small commit, before each run: {commits.low:.2f} to {commits.high:.2f} ms, median {commits.median:.2f}"
    )
    share = summarise(contenders[0].published_shares)
    figure.notes.append(
        f"outcomes that the worker had published when a run ended: {share.median:.0%} of its trail "
        f"({share.low:.0%} to {share.high:.0%})"
    )
    return figure


def _contenders(parts: Parts, options: ApplyOptions, log: EventLog, prefix: str) -> list[ConsumerOnTopic]:
    groups = itertools.count(1)

    async def count_outcomes() -> int:
        bounds = await log.bounds(prefix + OUTCOMES, range(PARTITIONS))
        return sum(bound.end - bound.start for bound in bounds.values())

    async def prepare_own(module: str, urls: DatabaseUrls) -> Process:
        group = f"round-{next(groups)}"
        environment = parts.environment(urls, prefix=prefix, consumer_group=group, batch_size=options.batch_size)
        await migrate(settings_of(environment))
        return Process(module, environment=environment, cores=parts.cores.measured)

    async def prepare_plain(urls: DatabaseUrls) -> Process:
        arguments = [f"--kafka={parts.kafka.bootstrap}", f"--topic={prefix}{RECEIVED}"]
        arguments.append(f"--group={prefix}plain-{next(groups)}")
        module = "benchmarks.apply.plain_orm"
        return Process(module, *arguments, environment={}, cores=parts.cores.measured, stdin=urls.owner + "\n")

    def contender(name: str, prepare: Prepare, count: str, outcomes: CountOutcomes | None = None) -> ConsumerOnTopic:
        return ConsumerOnTopic(name, parts, prepare, count, options.records, options.seconds, outcomes)

    return [
        contender(WORKER, partial(prepare_own, "consumers"), _OWN_COUNT, count_outcomes),
        contender(APPLIER, partial(prepare_own, "benchmarks.apply.applier"), _OWN_COUNT),
        contender(PLAIN, prepare_plain, _PLAIN_COUNT),
    ]
