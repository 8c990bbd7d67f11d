"""A deployment that lost its store, for tests of the rebuild: a log in memory, what was applied, what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Any

from sqlalchemy import select

from backbone.eventlog.port import LogRecord, NewRecord
from backbone.store.engine import Store
from backbone.store.tables import dead_letters, offsets, trail
from backbone.store.trail_rows import ROW_COLUMNS, read_row
from consumers.applier import Applier
from consumers.dead_letter import NOTHING_ASIDE, Aside
from consumers.dead_letter_relay import dead_letter_record
from consumers.rebuild import Rebuild
from consumers.rebuild_store import FROM_THE_LOG
from consumers.rebuilt import Reached
from consumers.relay import outcome_record
from schemas.dead_letters import DeadLetterRow
from schemas.topics import DEAD_LETTERS, OUTCOMES, RECEIVED, TopicNames, topic_specs
from tests.support.fake_log import FakeLog
from tests.support.received import START_MS

TOPICS = TopicNames.with_prefix("")
PARTITIONS = 2


async def made_log() -> FakeLog:
    """A started log in memory with two partitions."""
    log = FakeLog(now_ms=lambda: START_MS)
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=PARTITIONS, replication=1, min_insync=1))
    return log


def fill(log: FakeLog, records: Sequence[LogRecord]) -> None:
    """Puts records into the received topic with the log times that they have."""
    for record in records:
        new = NewRecord(record.partition, record.key, record.value, record.headers)
        log.topics.append(RECEIVED, [new], record.log_ms)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A log and the store that was filled from it."""

    log: FakeLog
    store: Store

    async def apply(self, *, seed: int = 0, aside: Mapping[int, Aside] | None = None) -> None:
        """Applies all that lies in the log, in random batches, with these pairs of each partition set aside."""
        rng, applier = Random(seed), Applier(self.store)
        for partition in range(PARTITIONS):
            await applier.claim(partition)
            pairs = (aside or {}).get(partition, NOTHING_ASIDE)
            records = self.log.topics.partition(RECEIVED, partition).records
            at = (await applier.cursor(partition)).next
            while at < len(records):
                batch = records[at : at + rng.randrange(1, 60)]
                await applier.apply(partition, batch, start=at, published=0, aside=pairs)
                at += len(batch)

    async def publish(self) -> None:
        """Publishes every row and every dead letter, as the relays do; nothing was published before."""
        for partition in range(PARTITIONS):
            async with self.store.reading() as connection:
                own = select(*ROW_COLUMNS).where(trail.c.partition == partition).order_by(trail.c.seq)
                rows = [read_row(values) for values in await connection.execute(own)]
                columns = [dead_letters.c[field.name] for field in fields(DeadLetterRow)]
                listed = select(*columns).where(dead_letters.c.partition == partition).order_by(dead_letters.c.seq)
                letters = [DeadLetterRow(**row) for row in (await connection.execute(listed)).mappings()]
            self.log.topics.append(OUTCOMES, [outcome_record(row, bytes(hashed)) for row, hashed in rows], START_MS)
            self.log.topics.append(DEAD_LETTERS, [dead_letter_record(letter) for letter in letters], START_MS)

    def rebuild_into(self, store: Store) -> Rebuild:
        """A rebuild of this log into another store."""
        return Rebuild(self.log, store, TOPICS, PARTITIONS)


async def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the store that comes from the log, by table, in the order of its keys; cursors of relays apart."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    async with store.reading() as connection:
        for table in FROM_THE_LOG:
            rows = await connection.execute(select(table).order_by(*table.primary_key.columns))
            found[table.name] = [tuple(row) for row in rows]
        own = [column for column in offsets.c if column.name not in {"published", "dead_published", "claims"}]
        rows = await connection.execute(select(*own).order_by(offsets.c.partition))
        found["offsets"] = [tuple(row) for row in rows]
    return found


async def reached_by(store: Store) -> dict[int, Reached]:
    """How far the store is, as a rebuild beside it is told."""
    async with store.reading() as connection:
        columns = (offsets.c.next, offsets.c.dead_seq, offsets.c.seq, offsets.c.hash)
        rows = await connection.execute(select(offsets.c.partition, *columns))
        return {row.partition: Reached(row.next, row.dead_seq, row.seq, bytes(row.hash)) for row in rows}


async def cursors(store: Store) -> dict[int, tuple[int, int]]:
    """How far each partition counts as published: its outcomes, its dead letters."""
    async with store.reading() as connection:
        rows = await connection.execute(select(offsets.c.partition, offsets.c.published, offsets.c.dead_published))
        return {row[0]: (row[1], row[2]) for row in rows}
