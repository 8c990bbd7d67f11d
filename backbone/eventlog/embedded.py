"""The event log in one SQLite file: what runs when nobody has set up Kafka, with the same guarantees at the port.

    embedded_file     the file: tables, connections, headers, and whether it is still the same one
    embedded_errors   what its failures mean
    embedded_writer   the thread that writes: group commit, durable before acknowledged
    embedded_reader   reading threads, and waking up on appends of this and other processes
    embedded_members  the group member and the tail reader

One server at a time owns the data directory (a lock taken elsewhere), so its group member owns every partition at
once. Retention, replication and the like are Kafka's: topics here have partitions and nothing else to configure;
`prune` is what retention would do.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backbone.eventlog.embedded_file import FILE_NAME, LogFile, identify_topics
from backbone.eventlog.embedded_members import EmbeddedGroupMember, EmbeddedTail
from backbone.eventlog.embedded_reader import EmbeddedReader
from backbone.eventlog.embedded_writer import EmbeddedWriter, Entry
from backbone.eventlog.port import Bounds, NewRecord, OwnershipListener, Position
from backbone.eventlog.publishing import MAX_RECORD_BYTES, PUBLISH_WINDOW_BYTES, Append, PublishLimit, PublishWindow
from schemas.errors import LogUnavailable, TopicMisconfigured
from schemas.topics import TopicSpec

_PRUNED_AT_ONCE = 1000


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedLogConfig:
    """Everything the embedded log can be told. `clock` gives milliseconds since 1970. What the settings name has no
    default here.
    """

    data_dir: Path
    publish_timeout_ms: int
    publish_window: int
    shutdown_timeout_ms: int
    publish_window_bytes: int = PUBLISH_WINDOW_BYTES
    max_record_bytes: int = MAX_RECORD_BYTES
    clock: Callable[[], int] = _wall_clock_ms


class EmbeddedEventLog:
    """See `EventLog`. Construct it inside the event loop it will be used in."""

    def __init__(self, config: EmbeddedLogConfig) -> None:
        self._config = config
        # Another process that writes holds the file for moments only: waiting longer than a publish may take is no use.
        file = LogFile(config.data_dir / FILE_NAME, busy_ms=config.publish_timeout_ms)
        self._window = PublishWindow(
            records=config.publish_window, size=config.publish_window_bytes, record_limit=config.max_record_bytes
        )
        self._limit = PublishLimit(config.publish_timeout_ms / 1000)
        self._reader = EmbeddedReader(file)
        self._writer = EmbeddedWriter(file, window=self._window, clock=config.clock, notify=self._reader.appended)
        self._reader.poll(self._writer.others_changes)
        self._members: weakref.WeakSet[EmbeddedGroupMember] = weakref.WeakSet()
        self._running = False

    @property
    def unresolved(self) -> int:
        """Records whose outcome is not known yet (a metric)."""
        return self._window.records

    async def start(self) -> None:
        """See `EventLog.start`: opens the file, making it and its directory if need be. Raises LogUnusable for one that
        is damaged or may not be written.
        """
        try:
            await self._writer.start()
        except BaseException:
            await self._writer.stop(1.0)
            raise
        self._running = True

    async def stop(self) -> None:
        """See `EventLog.stop`."""
        if not self._running:
            return
        self._running = False
        await asyncio.gather(*(member.stop() for member in self._members))
        await self._writer.stop(self._config.shutdown_timeout_ms / 1000)
        await self._reader.stop()

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """See `EventLog.create_topics`."""
        self._check_running()

        def make(connection: sqlite3.Connection) -> None:
            there = dict(connection.execute("SELECT name, partitions FROM topics").fetchall())
            for spec in specs:
                if spec.name not in there:
                    made = connection.execute(
                        "INSERT INTO topics (name, partitions) VALUES (?, ?)", (spec.name, spec.partitions)
                    )
                    rows = [(made.lastrowid, number) for number in range(spec.partitions)]
                    connection.executemany("INSERT INTO partitions (topic, partition) VALUES (?, ?)", rows)
            identify_topics(connection)

        await self._writer.change(make)
        await self.check_topics(specs)

    async def check_topics(self, specs: Sequence[TopicSpec], *, may_have_grown: bool = False) -> None:
        """See `EventLog.check_topics`; partitions only."""
        self._check_running()
        there = await self._reader.partition_counts()

        def is_as_wanted(spec: TopicSpec) -> bool:
            count = there.get(spec.name, 0)
            return count == spec.partitions or (may_have_grown and count > spec.partitions)

        problems = [
            f"topic {spec.name} is missing"
            if spec.name not in there
            else f"topic {spec.name} has {there[spec.name]} partitions instead of {spec.partitions}"
            for spec in specs
            if not is_as_wanted(spec)
        ]
        if problems:
            raise TopicMisconfigured("; ".join(problems))

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """See `EventLog.append`; here a call is atomic. Raises RecordTooLarge for a record over the limit."""
        self._check_running()
        if not records:
            return []
        sizes = self._window.take(records)
        call = Append(len(records), self._limit)
        self._writer.put(Entry(call, topic, tuple(records), sizes))
        return await call.result()

    async def bounds(self, topic: str, partitions: Collection[int]) -> Mapping[int, Bounds]:
        """See `EventLog.bounds`."""
        self._check_running()
        return await self._reader.bounds(topic, partitions)

    async def identity(self, topic: str) -> str | None:
        """See `EventLog.identity`."""
        self._check_running()
        return await self._reader.identity(topic)

    async def join(self, topic: str, group: str, listener: OwnershipListener) -> EmbeddedGroupMember:
        """See `EventLog.join`: gains every partition before it returns. Raises TopicMisconfigured without topic."""
        self._check_running()
        there = await self._reader.partition_counts()
        if topic not in there:
            raise TopicMisconfigured(f"topic {topic} is missing")
        member = EmbeddedGroupMember(self._reader, topic, group, list(range(there[topic])), listener)
        self._members.add(member)
        member.start()
        return member

    async def tail(self, topic: str, start: Mapping[int, int]) -> EmbeddedTail:
        """See `EventLog.tail`."""
        self._check_running()
        return EmbeddedTail(self._reader, topic, start)

    async def newest_ms(self) -> tuple[int, int]:
        """When the newest record of all was appended; and the latest time at which a partition got the record before
        its newest: that one is no single record's word. 0 where there is none. Raises LogUnavailable.
        """
        self._check_running()
        return await self._reader.newest_ms()

    async def prune(self, topic: str, partition: int, *, before_ms: int, keep_from: int) -> int:
        """Removes the partition's oldest records: those appended before `before_ms` whose offset is below `keep_from`.

        Returns how many went. Repeatable; a few at a time, so that appends never wait long. Raises LogUnavailable.
        """
        self._check_running()
        removed = 0
        while count := await self._writer.change(lambda c: _prune_some(c, topic, partition, before_ms, keep_from)):
            removed += count
        return removed

    def _check_running(self) -> None:
        if not self._running:
            raise LogUnavailable("the event log is not running")


def _prune_some(connection: sqlite3.Connection, topic: str, partition: int, before_ms: int, keep_from: int) -> int:
    found = connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
    if found is None:
        raise LogUnavailable(f"topic {topic} is missing")
    where = (found[0], partition)
    doomed = connection.execute(
        "SELECT offset, append_ms FROM records"
        " WHERE topic = ? AND partition = ? AND offset < ? ORDER BY offset LIMIT ?",
        (*where, keep_from, _PRUNED_AT_ONCE),
    ).fetchall()
    offsets = [offset for offset, append_ms in doomed if append_ms < before_ms]
    if not offsets:
        return 0
    connection.execute("DELETE FROM records WHERE topic = ? AND partition = ? AND offset <= ?", (*where, offsets[-1]))
    connection.execute(
        "UPDATE partitions SET first_offset = ? WHERE topic = ? AND partition = ?", (offsets[-1] + 1, *where)
    )
    return len(offsets)
