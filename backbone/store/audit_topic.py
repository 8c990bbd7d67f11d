"""Holding the store against the outcomes topic, where the trail was published as it was written.

Each record of the topic must be the store's row of the same partition and number, field by field. Since a row's hash
covers all rows before it, this also proves the rows that the topic no longer reaches back to. Three things are no
difference: rows that come again (the relay publishes at least once), a topic that begins later than the trail
(retention), and one that ends earlier (the relay is behind): the report says from where to where it went.
The topic is read once from its start to the end it had at the beginning, by partition in the order of its offsets, and
the store's rows are looked up after the records, so that live consumers disturb nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.eventlog.port import Bounds, EventLog, LogRecord
from backbone.eventlog.topic_reading import read_stretch
from backbone.store.audit_report import BadRow
from backbone.store.engine import Store
from backbone.store.tables import offsets, trail
from backbone.store.trail_rows import ROW_COLUMNS, read_row
from schemas.errors import LogGap
from schemas.outcomes import outcome_document


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpan:
    """How far one partition was compared: rows `first` to `last`, both None where the topic holds none. `head` is the
    store's last row then.
    """

    partition: int
    first: int | None
    last: int | None
    head: int
    records: int


@dataclass(frozen=True, slots=True)
class TopicReport:
    """Spans by partition, and the first difference of each that has one."""

    spans: tuple[TopicSpan, ...]
    bad: tuple[BadRow, ...]


@dataclass(slots=True)
class _Progress:
    """One partition while the topic is read. `next` is the offset to read, `last` the highest row seen;
    `acknowledged` the last row that the topic is known to have taken. `whole`: retention took nothing of it yet.
    """

    partition: int
    next: int
    end: int
    acknowledged: int
    whole: bool = False
    records: int = 0
    first: int | None = None
    last: int | None = None
    bad: BadRow | None = None

    def found(self, seq: int | None, problem: str) -> None:
        if self.bad is None:
            self.bad = BadRow(partition=self.partition, seq=seq, problem=problem, check="topic")


async def verify_topic(
    store: Store,
    log: EventLog,
    topic: str,
    partitions: Collection[int],
    *,
    progress: Callable[[int], None] | None = None,
) -> TopicReport:
    """Compare these partitions of the topic with the store. Changes nothing; `progress` is told how many records more.

    `log` is started. Raises LogUnavailable (also when there is no such topic or partition), StoreUnavailable.
    """
    acknowledged = await _acknowledged(store)  # before the bounds: what is published later lies behind them
    states = {
        number: _Progress(
            number, bounds.start, bounds.end, acknowledged=acknowledged.get(number, 0), whole=bounds.start == 0
        )
        for number, bounds in (await log.bounds(topic, partitions)).items()
    }
    for state in states.values():
        await _read(store, log, topic, state, progress)
    async with store.reading() as connection:
        spans = [await _finish(connection, state) for _, state in sorted(states.items())]
    return TopicReport(tuple(spans), tuple(state.bad for _, state in sorted(states.items()) if state.bad is not None))


async def _read(
    store: Store, log: EventLog, topic: str, state: _Progress, progress: Callable[[int], None] | None
) -> None:
    """One partition, from its start to its first difference or to the end."""
    while _is_unfinished(state):
        rest = Bounds(state.next, state.end)
        try:
            async with aclosing(read_stretch(log, topic, state.partition, rest)) as batches:
                async for records in batches:
                    async with store.reading() as connection:
                        await _compare_batch(connection, state, records)
                    if progress is not None:
                        progress(len(records))
                    if not _is_unfinished(state):
                        return
        except LogGap as gap:
            await _step_over(log, topic, state, gap)


def _is_unfinished(state: _Progress) -> bool:
    return state.next < state.end and state.bad is None


async def _step_over(log: EventLog, topic: str, state: _Progress, gap: LogGap) -> None:
    """Retention took what was to be read next: go on from the new start. Anything else is a hole in the topic."""
    start = (await log.bounds(topic, [state.partition]))[state.partition].start
    if state.next < start:
        state.next, state.last, state.whole = start, None, False  # what the rows between were, nobody can say any more
    else:
        state.found(None if state.last is None else state.last + 1, f"the topic has a hole: {gap}")


async def _compare_batch(connection: AsyncConnection, state: _Progress, batch: Sequence[LogRecord]) -> None:
    published = [_load(record) for record in batch]
    seqs = [seq for seq in (_seq_of(document, state.partition) for document in published) if seq is not None]
    rows: dict[int, tuple[bytes, dict[str, Any]]] = {}
    if seqs:
        own = (trail.c.partition == state.partition, trail.c.seq.in_(sorted(set(seqs))))
        for values in await connection.execute(select(*ROW_COLUMNS).where(*own)):
            row, row_hash = read_row(values)
            stored = outcome_document(row, row_hash)
            rows[row.seq] = orjson.dumps(stored), stored
    for record, document in zip(batch, published, strict=True):
        state.next = record.offset + 1
        state.records += 1
        seq = _seq_of(document, state.partition)
        if document is None or seq is None:
            expected = None if state.last is None else state.last + 1
            state.found(expected, f"the record at offset {record.offset} of the topic is no outcome of this partition")
        elif state.last is not None and seq > state.last + 1:
            state.found(
                state.last + 1, f"the topic lacks rows {state.last + 1} to {seq - 1}: {seq} follows {state.last}"
            )
        elif state.first is None and state.whole and seq > 1:
            state.found(1, f"the topic has its first record still, and that is row {seq}: those before it are gone")
        elif seq not in rows:
            state.found(seq, "the row was published, and the store does not have it")
        elif record.value != rows[seq][0] and document != rows[seq][1]:
            state.found(seq, _difference(document, rows[seq][1], is_first=state.last is None))
        if state.bad is not None or seq is None:
            return
        state.first = seq if state.first is None else state.first
        state.last = max(seq, state.last or 0)


def _load(record: LogRecord) -> dict[str, Any] | None:
    try:
        document = orjson.loads(record.value)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _seq_of(document: dict[str, Any] | None, partition: int) -> int | None:
    if document is None or document.get("partition") != partition:
        return None
    seq = document.get("seq")
    return seq if type(seq) is int and 1 <= seq < 2**63 else None


def _difference(published: dict[str, Any], stored: dict[str, Any], *, is_first: bool) -> str:
    names = sorted(
        name for name in published.keys() | stored.keys() if published.get(name, ...) != stored.get(name, ...)
    )
    if names == ["hash"]:
        before = "a row before it, which the topic no longer has" if is_first else "a row before it"
        return f"the row's fields are those that were published, its hash is not: {before} is another"
    return f"the row is not the one that was published: {', '.join(names)} differ"


async def _acknowledged(store: Store) -> dict[int, int]:
    async with store.reading() as connection:
        rows = await connection.execute(select(offsets.c.partition, offsets.c.published))
        return {row.partition: row.published for row in rows if type(row.published) is int}


async def _finish(connection: AsyncConnection, state: _Progress) -> TopicSpan:
    """The partition's span; and whether the topic has what it once acknowledged."""
    head = await connection.scalar(select(offsets.c.seq).where(offsets.c.partition == state.partition)) or 0
    acknowledged = state.acknowledged
    if state.last is not None and state.last < acknowledged:
        state.found(state.last + 1, f"the topic acknowledged rows up to {acknowledged}, and ends with {state.last}")
    elif state.end == 0 and acknowledged:
        state.found(1, f"the topic acknowledged rows up to {acknowledged}, and is empty: it was made anew")
    return TopicSpan(partition=state.partition, first=state.first, last=state.last, head=head, records=state.records)
