"""Reading the embedded log: a few threads with connections of their own, and waking up when something was appended.

Appends of this process wake the readers of the partitions they touched at once, and tell where those partitions now
end: who has read that far waits without looking into the file. Those of another process (the command line works on the
same files) are noticed by a poller, which asks ten times a second, and only while somebody waits, whether anybody else
has changed the file (`EmbeddedWriter.others_changes`). Then nobody knows where partitions end, and everyone looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from backbone.eventlog.embedded_errors import log_fault
from backbone.eventlog.embedded_file import LogFile, unpack_headers
from backbone.eventlog.port import Bounds, LogRecord
from schemas.errors import LogGap, LogUnavailable

log = structlog.get_logger("mealtrail.eventlog")

T = TypeVar("T")
Key = tuple[str, int]
OthersChanges = Callable[[], Awaitable[object]]
"""A value that is another one whenever somebody outside this process has changed the file."""

_THREADS = 4
_POLL_EVERY = 0.1  # seconds
_MOST_BYTES = 16 * 1024 * 1024  # in one read, so that many large records do not fill the memory

_BOUNDS = """
    SELECT p.topic, p.first_offset, p.next_offset FROM partitions p JOIN topics t ON t.id = p.topic
    WHERE t.name = ? AND p.partition = ?
"""
_IDENTITY = "SELECT i.id FROM topic_ids i JOIN topics t ON t.id = i.topic WHERE t.name = ?"
_NEWEST = """
    SELECT coalesce(max(p.last_ms), 0), coalesce(max((
        SELECT r.append_ms FROM records r
        WHERE r.topic = p.topic AND r.partition = p.partition AND r.offset = p.next_offset - 2
    )), 0) FROM partitions p
"""
_RECORDS = """
    SELECT offset, append_ms, key, value, headers FROM records
    WHERE topic = ? AND partition = ? AND offset >= ? ORDER BY offset LIMIT ?
"""


class EmbeddedReader:
    """Reads and waits. Belongs to one event loop."""

    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="embedded-log-reader")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._waiting: dict[Key, set[asyncio.Future[None]]] = {}
        self._ends: dict[Key, int] = {}
        """Where partitions end, as long as only this process appends."""
        self._others_changes: OthersChanges | None = None
        self._poller: asyncio.Task[None] | None = None
        self._stopped = False

    def poll(self, others_changes: OthersChanges) -> None:
        """From now on those who wait are woken by other processes' changes too. It raises LogUnavailable, or what
        SQLite raises, when it does not know.
        """
        self._others_changes = others_changes

    async def records(self, wanted: Sequence[tuple[Key, int]], max_records: int) -> list[LogRecord]:
        """Records of each partition from exactly the offset on, together at most `max_records`. Raises LogGap outside
        the log, LogUnavailable.
        """

        def read(connection: sqlite3.Connection) -> list[LogRecord]:
            found: list[LogRecord] = []
            for key, offset in wanted:
                if len(found) < max_records:
                    found += _read(connection, key, offset, max_records - len(found))
            return found

        return await self._in_thread(read)

    async def bounds(self, topic: str, partitions: Collection[int]) -> dict[int, Bounds]:
        """Present bounds. Raises LogUnavailable, also when there is no such partition."""

        def look_up(connection: sqlite3.Connection) -> dict[int, Bounds]:
            return {number: Bounds(*_bounds(connection, (topic, number))[1:]) for number in partitions}

        return await self._in_thread(look_up)

    async def partition_counts(self) -> dict[str, int]:
        """The topics there are, with their partitions. Raises LogUnavailable."""
        return await self._in_thread(lambda c: dict(c.execute("SELECT name, partitions FROM topics").fetchall()))

    async def identity(self, topic: str) -> str:
        """The topic's random id. Raises LogUnavailable, also when there is no such topic."""

        def look_up(connection: sqlite3.Connection) -> str:
            found: tuple[str] | None = connection.execute(_IDENTITY, (topic,)).fetchone()
            if found is None:
                raise LogUnavailable(f"there is no topic {topic}")
            return found[0]

        return await self._in_thread(look_up)

    async def newest_ms(self) -> tuple[int, int]:
        """See `EmbeddedEventLog.newest_ms`."""
        return await self._in_thread(lambda c: tuple(c.execute(_NEWEST).fetchone()))

    @contextlib.contextmanager
    def watch(self, keys: Sequence[Key]) -> Iterator[asyncio.Future[None]]:
        """A future that resolves at the next append to one of the partitions, or any change from elsewhere. Taken
        before reading, so that nothing slips in between.
        """
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for key in keys:
            self._waiting.setdefault(key, set()).add(changed)
        if self._poller is None and self._others_changes is not None and not self._stopped:
            self._poller = asyncio.create_task(self._poll(self._others_changes), name="embedded-log-poller")
        try:
            yield changed
        finally:
            changed.cancel()
            for key in keys:
                self._waiting[key].discard(changed)
                if not self._waiting[key]:
                    del self._waiting[key]

    def is_at_end(self, key: Key, offset: int) -> bool:
        """Whether nothing lies at this offset yet, known without looking. False where that is not known."""
        return self._ends.get(key) == offset

    def appended(self, ends: Mapping[Key, int]) -> None:
        """This process has appended to these partitions, which end at these offsets now. Wakes those who watch one."""
        self._ends.update(ends)
        self.wake(ends)

    def wake(self, keys: Collection[Key]) -> None:
        """Wakes those who watch one of these partitions."""
        for key in keys:
            for changed in self._waiting.get(key, ()):
                if not changed.done():
                    changed.set_result(None)

    async def stop(self) -> None:
        """Wakes everyone and closes the connections. May be repeated."""
        self._stopped = True
        if self._poller is not None:
            self._poller.cancel()
            await asyncio.wait([self._poller])
            self._poller = None
        self.wake(list(self._waiting))
        await asyncio.to_thread(self._pool.shutdown)
        while self._connections:
            self._file.close(self._connections.pop())

    async def _poll(self, others_changes: OthersChanges) -> None:
        seen: object = None
        try:
            while True:
                if self._waiting:
                    try:
                        now = await others_changes()
                    except (sqlite3.Error, LogUnavailable) as error:
                        log.warning("log_not_watched", path=str(self._file.path), problem=str(error))
                    else:
                        if now != seen:
                            self._ends.clear()
                            self.wake(list(self._waiting))
                        seen = now
                await asyncio.sleep(_POLL_EVERY)
        finally:
            self._poller = None

    def _open(self) -> sqlite3.Connection:
        connection = self._file.open_for_reading()
        self._connections.append(connection)
        return connection

    async def _in_thread(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._stopped:
            raise LogUnavailable("the event log is stopped")

        def run() -> T:
            self._file.check()
            connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = self._open()
            connection.execute("BEGIN")
            try:
                return query(connection)
            finally:
                connection.execute("ROLLBACK")

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, run)
        except (sqlite3.Error, OSError) as error:
            raise log_fault(self._file.path, error, doing="read") from error


def _bounds(connection: sqlite3.Connection, key: Key) -> tuple[int, int, int]:
    found: tuple[int, int, int] | None = connection.execute(_BOUNDS, key).fetchone()
    if found is None:
        raise LogUnavailable(f"topic {key[0]} has no partition {key[1]}")
    return found


def _read(connection: sqlite3.Connection, key: Key, offset: int, max_records: int) -> list[LogRecord]:
    topic, first, end = _bounds(connection, key)
    if not first <= offset <= end:
        raise LogGap(
            f"{key[0]}/{key[1]}: offset {offset} is outside the log, which holds {first} to {end}",
            partition=key[1],
            offset=offset,
        )
    records: list[LogRecord] = []
    size = 0
    for found, append_ms, record_key, value, headers in connection.execute(
        _RECORDS, (topic, key[1], offset, max_records)
    ):
        wanted = offset + len(records)
        if found != wanted:
            raise LogGap(
                f"{key[0]}/{key[1]}: offset {wanted} is missing, {found} came", partition=key[1], offset=wanted
            )
        records.append(LogRecord(key[1], found, append_ms, record_key, value, unpack_headers(headers)))
        size += len(value)
        if size > _MOST_BYTES:
            break
    if not records and offset < end:
        raise LogGap(
            f"{key[0]}/{key[1]}: nothing lies between offsets {offset} and {end}", partition=key[1], offset=offset
        )
    return records
