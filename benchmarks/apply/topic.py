"""A full topic and the contenders that can be set on it."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from backbone.eventlog.opening import open_event_log
from backbone.eventlog.port import EventLog, LogRecord, NewRecord
from backbone.store.migration import migrate
from benchmarks.apply.contender import ConsumerOnTopic, Prepare
from benchmarks.apply.outcomes import make_anew
from benchmarks.apply.prepared import prepare, save
from benchmarks.apply.records import fill
from benchmarks.parts import PARTITIONS, Parts, make_prefix, settings_of
from benchmarks.processes import Process
from schemas.topics import OUTCOMES, RECEIVED, topic_specs
from tests.support.postgres_databases import DatabaseUrls

WORKER, APPLIER, PLAIN = "mealtrail worker", "mealtrail applier alone", "plain ORM consumer"
BOUND, BOUND_ALONE = "hand-written bound", "hand-written bound, not reading"
_OWN_COUNT = "SELECT sum(next) FROM offsets"
_PLAIN_COUNT = "SELECT last_value - (NOT is_called)::int FROM history_id_seq"

Seed = Callable[[DatabaseUrls], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class FullTopic:
    """A received topic that holds so many records, and makers of contenders for it."""

    parts: Parts
    log: EventLog
    prefix: str
    records: int
    folder: Path
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def received(self) -> str:
        """The topic's name."""
        return self.prefix + RECEIVED

    async def empty_outcomes(self) -> None:
        """For a worker that begins with an empty database."""
        specs = topic_specs(prefix=self.prefix, partitions=PARTITIONS, replication=1, min_insync=1)
        outcomes = next(spec for spec in specs if spec.name == self.prefix + OUTCOMES)
        await make_anew(self.log, self.parts.kafka.bootstrap, outcomes)

    def worker(self, *, batch_size: int, seconds: float) -> ConsumerOnTopic:
        """The product as it is, publishing included."""
        prepare_own = partial(self._prepare_own, "consumers", batch_size)
        return self._contender(WORKER, prepare_own, _OWN_COUNT, seconds, publishes=True)

    def applier(
        self,
        *,
        batch_size: int,
        seconds: float,
        name: str = APPLIER,
        database: Callable[[], AbstractContextManager[DatabaseUrls]] | None = None,
    ) -> ConsumerOnTopic:
        """Mealtrail's applier alone; on a `database` of the caller's if one is given."""
        prepare_own = partial(self._prepare_own, "benchmarks.apply.applier", batch_size)
        return self._contender(name, prepare_own, _OWN_COUNT, seconds, database=database)

    async def bound(self, *, batch_size: int, seconds: float, most: int | None = None, reads: bool) -> ConsumerOnTopic:
        """The hand-written bound, prepared now for at most so many records; whether it `reads` the topic too."""
        path = self.folder / f"prepared-{batch_size}-{most}"
        records = min(self.records, most or self.records)
        if not path.exists():
            save(prepare(await self._read(records), batch_size=batch_size), path)
        arguments = [f"--prepared={path}"]
        if reads:
            arguments += [f"--kafka={self.parts.kafka.bootstrap}", f"--topic={self.received}"]

        async def prepare_bound(urls: DatabaseUrls) -> Process:
            await migrate(settings_of(self.parts.environment(urls, prefix=self.prefix)))
            module, cores = "benchmarks.apply.bound", self.parts.cores.measured
            return Process(module, *arguments, environment={}, cores=cores, stdin=urls.runtime + "\n")

        return self._contender(BOUND if reads else BOUND_ALONE, prepare_bound, _OWN_COUNT, seconds, records=records)

    def plain(self, *, seconds: float) -> ConsumerOnTopic:
        """The plain ORM consumer."""

        async def prepare_plain(urls: DatabaseUrls) -> Process:
            arguments = [f"--kafka={self.parts.kafka.bootstrap}", f"--topic={self.received}"]
            arguments.append(f"--group={self.prefix}plain-{next(self._numbers)}")
            module, cores = "benchmarks.apply.plain_orm", self.parts.cores.measured
            return Process(module, *arguments, environment={}, cores=cores, stdin=urls.owner + "\n")

        return self._contender(PLAIN, prepare_plain, _PLAIN_COUNT, seconds)

    async def _prepare_own(self, module: str, batch_size: int, urls: DatabaseUrls) -> Process:
        group = f"round-{next(self._numbers)}"
        environment = self.parts.environment(urls, prefix=self.prefix, consumer_group=group, batch_size=batch_size)
        await migrate(settings_of(environment))
        await self.empty_outcomes()
        return Process(module, environment=environment, cores=self.parts.cores.measured)

    def _contender(
        self,
        name: str,
        prepare: Prepare,
        count: str,
        seconds: float,
        *,
        publishes: bool = False,
        records: int | None = None,
        database: Callable[[], AbstractContextManager[DatabaseUrls]] | None = None,
    ) -> ConsumerOnTopic:
        return ConsumerOnTopic(
            name=name,
            parts=self.parts,
            prepare=prepare,
            database=database or self.parts.database,
            count=count,
            in_topic=records or self.records,
            seconds=seconds,
            outcomes=self._count_outcomes if publishes else None,
        )

    async def _count_outcomes(self) -> int:
        bounds = await self.log.bounds(self.prefix + OUTCOMES, range(PARTITIONS))
        return sum(bound.end - bound.start for bound in bounds.values())

    async def _read(self, count: int) -> list[LogRecord]:
        """So many records, about as many of each partition, from each one's first on."""
        bounds = await self.log.bounds(self.received, range(PARTITIONS))
        share = -(-count // sum(1 for bound in bounds.values() if bound.end)) if count < self.records else count
        wanted = {partition: min(bound.end, share) for partition, bound in bounds.items() if bound.end}
        reader = await self.log.tail(self.received, dict.fromkeys(wanted, 0))
        records: list[LogRecord] = []
        try:
            while any(wanted.values()):
                for record in await reader.read(max_records=5000, timeout=5):
                    if wanted[record.partition]:
                        wanted[record.partition] -= 1
                        records.append(record)
        finally:
            await reader.stop()
        return records


@asynccontextmanager
async def full_topic(parts: Parts, figure: str, records: Iterable[NewRecord]) -> AsyncIterator[FullTopic]:
    """Makes all topics and fills the received one; everything is closed at the end. Raises LogUnavailable."""
    prefix = make_prefix(figure)
    nowhere = DatabaseUrls(owner=parts.postgres.admin_url, runtime=parts.postgres.admin_url)
    log = open_event_log(settings_of(parts.environment(nowhere, prefix=prefix)))
    await log.start()
    try:
        await log.create_topics(topic_specs(prefix=prefix, partitions=PARTITIONS, replication=1, min_insync=1))
        count = await fill(log, prefix + RECEIVED, records)
        with tempfile.TemporaryDirectory() as folder:
            yield FullTopic(parts, log, prefix, count, Path(folder))
    finally:
        await log.stop()
