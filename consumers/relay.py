"""Committed rows, published: one record a row, to the same partition number of another topic, in the order of `seq`.

A relay runs inside the partition's owner and publishes what is committed, always from the row after the last
acknowledged one and with one batch in flight. It reads the rows from the store, or takes those that the applier has
just committed and still holds in its hands (`Relay.committed`). Those are the same rows; if the very next one is not
among them the store is asked, and whoever does not know whether a commit took hands none on. A publish whose answer is
lost is sent again as it was, so the topic may hold a row twice, never one before its predecessors: a reader that drops
what it has seen (`partition`, `seq`) reads every row once and in order. How far the relay came rides in the next fenced
update (a cursor in `offsets`).

Two kinds of rows go this way: the trail, to the outcomes topic, and the list of events that were set aside, to the
dead-letters topic (`consumers.dead_letter_relay`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import orjson
import structlog
from prometheus_client import Gauge
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.eventlog.port import EventLog, NewRecord
from backbone.metrics import Metrics
from backbone.store.engine import Store
from backbone.store.tables import trail
from backbone.store.trail_rows import ROW_COLUMNS, read_row
from consumers.offset_rows import Cursor
from consumers.patience import patiently
from consumers.published_topics import Standing
from schemas.cloudevents import OUTCOME_TYPE, cloudevent_headers
from schemas.identifiers import record_key
from schemas.outcomes import TrailRow, outcome_document
from schemas.times import rfc3339_millis

_log = structlog.get_logger("mealtrail.relay")
BATCH_ROWS = 1500
FRESH_ROWS = 2 * BATCH_ROWS
"""Committed rows that wait in memory for one relay; where there are more they are read from the store again."""
TURNS = 2
"""Relays of one worker that may have a batch at the log at once. All of them together would fill the log's window of
unresolved records, which ticks (and, in one process, webhooks) need too."""

ReadRows = Callable[[AsyncConnection, int, int], Awaitable[Sequence[tuple[int, NewRecord]]]]
"""The next rows of a partition after a seq, each with its seq, as they are published."""
Committed = Sequence[tuple[TrailRow, bytes]]
"""Rows of the trail with their hashes, in the order of seq."""


@dataclass(frozen=True, slots=True)
class Publication:
    """Rows that are published, where to, and the gauge of how many are not yet."""

    name: str
    topic: str
    read: ReadRows
    lag: Gauge


class Relay:
    """Publishes one kind of a partition's rows. `published` is the last seq the topic acknowledged to this owner."""

    def __init__(
        self,
        *,
        log: EventLog,
        publication: Publication,
        store: Store,
        partition: int,
        published: int,
        turns: asyncio.Semaphore,
    ) -> None:
        self._log = log
        self._publication = publication
        self._store = store
        self._partition = partition
        self._turns = turns
        self.published = published
        self._head = published
        self._returns = 0
        self._fresh: list[tuple[TrailRow, bytes]] = []
        self._more = asyncio.Event()

    def committed(self, seq: int, rows: Committed = ()) -> None:
        """Rows up to `seq` are in the store, `rows` the last of them, if they are at hand. Returns at once."""
        self._head = max(self._head, seq)
        follows = not self._fresh or self._fresh[-1][0].seq + len(rows) == seq
        if not follows or len(self._fresh) + len(rows) > FRESH_ROWS:
            self._fresh.clear()  # others had a hand in the partition, or the relay is behind
        if len(rows) <= FRESH_ROWS:
            self._fresh += rows
        self._show_lag()
        self._more.set()

    def go_back(self, seq: int) -> None:
        """The topic has rows up to `seq` for sure: those behind it are published again. Returns at once."""
        self.published = min(self.published, seq)
        self._returns += 1
        self._fresh.clear()  # the store may be another one

    async def run(self) -> None:
        """Publishes until cancelled; waits out outages of the log and of the store."""
        doing = f"publish {self._publication.name}"
        while True:
            self._more.clear()
            if self.published >= self._head:
                await self._more.wait()
                continue
            await patiently(self.publish_next, doing=doing, partition=self._partition)

    async def drain(self) -> None:
        """Publishes what is committed, once through, without waiting out outages. The caller bounds it."""
        while self.published < self._head:
            await self.publish_next()

    async def publish_next(self) -> None:
        """Publishes the next rows. Raises LogUnavailable (then some may be in the topic) or StoreUnavailable."""
        returns = self._returns
        rows: Sequence[tuple[int, NewRecord]] = self._next_fresh()
        if not rows:
            async with self._store.reading() as connection:
                rows = await self._publication.read(connection, self._partition, self.published)
        if not rows:
            self._head = self.published
            return
        async with self._turns:
            await self._log.append(self._publication.topic, [record for _, record in rows])
        if returns != self._returns:
            return  # sent back meanwhile, perhaps to before these rows
        self.published = rows[-1][0]
        self._let_go()
        self._show_lag()

    def _next_fresh(self) -> list[tuple[int, NewRecord]]:
        """The next rows out of memory; none unless the very next one is there. They stay until they are published."""
        self._let_go()
        fresh = self._fresh
        if not fresh or fresh[0][0].seq != self.published + 1:
            return []
        return [(row.seq, outcome_record(row, row_hash)) for row, row_hash in fresh[:BATCH_ROWS]]

    def _let_go(self) -> None:
        """Of rows in memory that are published."""
        if self._fresh and (passed := self.published + 1 - self._fresh[0][0].seq) > 0:
            del self._fresh[:passed]

    def _show_lag(self) -> None:
        self._publication.lag.labels(str(self._partition)).set(max(0, self._head - self.published))


@dataclass(frozen=True, slots=True)
class Relays:
    """What publishes one partition's committed rows."""

    outcomes: Relay
    dead_letters: Relay

    def committed(self, cursor: Cursor, rows: Committed = ()) -> None:
        """Rows up to the cursor's numbers are in the store, `rows` the trail's last, if at hand. Returns at once."""
        self.outcomes.committed(cursor.seq, rows)
        self.dead_letters.committed(cursor.dead_seq)

    def go_back(self, standing: Standing) -> None:
        """What the topics do not have is published again. Returns at once."""
        self.outcomes.go_back(standing.outcomes)
        self.dead_letters.go_back(standing.dead_letters)


def outcomes_publication(topic: str, metrics: Metrics) -> Publication:
    """The trail, to the outcomes topic of that name."""
    return Publication("outcomes", topic, _read_outcomes, metrics.relay_lag)


async def _read_outcomes(connection: AsyncConnection, partition: int, after: int) -> list[tuple[int, NewRecord]]:
    rows = await connection.execute(
        select(*ROW_COLUMNS)
        .where(trail.c.partition == partition, trail.c.seq > after)
        .order_by(trail.c.seq)
        .limit(BATCH_ROWS)
    )
    batch = [read_row(values) for values in rows]
    return [(row.seq, outcome_record(row, row_hash)) for row, row_hash in batch]


def outcome_record(row: TrailRow, row_hash: bytes) -> NewRecord:
    """A trail row as it is published. Its CloudEvents id is `partition-seq`, the same however often it is sent."""
    return NewRecord(
        partition=row.partition,
        key=record_key(row.workspace, row.order_id),
        value=orjson.dumps(outcome_document(row, row_hash)),
        headers=cloudevent_headers(
            event_id=f"{row.partition}-{row.seq}",
            event_type=OUTCOME_TYPE,
            source=f"/workspaces/{row.workspace}",
            subject=row.order_id,
            time=rfc3339_millis(row.decided_ms),
        ),
    )
