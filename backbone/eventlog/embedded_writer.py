"""The one thread that writes the embedded log: group commit.

Callers queue their records on the event loop's side. The thread takes everything that waits, writes it in one
transaction, and hands all positions back to the loop in one step; while it commits, the next callers queue up. A
commit that fails (disk full, file read-only, another process holds the file) fails everyone in it, and nothing of it
is kept. The first failure and the first success after it are logged. What was committed counts only if the file is
still the one under its name afterwards: see `LogFile`. Other changes of the file (topics, pruning) go through the same
queue.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from backbone.eventlog.embedded_errors import log_fault
from backbone.eventlog.embedded_file import LogFile, pack_headers
from backbone.eventlog.port import NewRecord, Position
from backbone.eventlog.publishing import Append, PublishWindow
from schemas.errors import LogUnavailable

log = structlog.get_logger("mealtrail.eventlog")

Clock = Callable[[], int]
Ends = dict[tuple[str, int], int]
"""Where partitions end, by topic and number."""
Notify = Callable[[Ends], None]

_MOST_IN_ONE_COMMIT = 5000

_NEXT = """
    SELECT p.topic, p.next_offset, p.last_ms FROM partitions p JOIN topics t ON t.id = p.topic
    WHERE t.name = ? AND p.partition = ?
"""
_INSERT = "INSERT INTO records (topic, partition, offset, append_ms, key, value, headers) VALUES (?, ?, ?, ?, ?, ?, ?)"
_ADVANCE = "UPDATE partitions SET next_offset = ?, last_ms = ? WHERE topic = ? AND partition = ?"


class Entry(NamedTuple):
    """One call's records on their way."""

    call: Append
    topic: str
    records: tuple[NewRecord, ...]
    sizes: list[int]


class Job(NamedTuple):
    """Some other change of the file, in a transaction of its own."""

    change: Callable[[sqlite3.Connection], Any]
    answer: asyncio.Future[Any]


class Look(NamedTuple):
    """Asks which changes of the file are not ours."""

    answer: asyncio.Future[tuple[int, int]]


class EmbeddedWriter:
    """Owns the writing connection. Its public methods belong to the event loop; `_run` and below to the thread."""

    def __init__(self, file: LogFile, *, window: PublishWindow, clock: Clock, notify: Notify) -> None:
        self._file = file
        self._path = file.path
        self._window = window
        self._clock = clock
        self._notify = notify
        self._queue: queue.SimpleQueue[Entry | Job | Look | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._connection: sqlite3.Connection | None = None
        self._opened = 0
        self._thread = threading.Thread(target=self._run, name="embedded-log-writer", daemon=True)
        self._stopping = False
        self._failing = False
        self._finished = asyncio.Event()

    async def start(self) -> None:
        """Opens the file and starts the thread. Raises LogUnavailable."""
        self._thread.start()
        await self.change(lambda _: None)

    def put(self, entry: Entry) -> None:
        """Queues records; the entry's call learns what became of them."""
        self._queue.put(entry)

    async def change(self, change: Callable[[sqlite3.Connection], Any]) -> Any:
        """Runs `change` in a transaction and returns its result. Raises LogUnavailable and what `change` raises."""
        if self._stopping:
            raise LogUnavailable("the event log is stopped")
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put(Job(change, answer))
        return await answer

    async def others_changes(self) -> tuple[int, int]:
        """A value that is another one whenever somebody else has changed the file: SQLite counts, for each connection,
        the changes of all others, and this connection is the only one here that writes. Raises sqlite3.Error,
        LogUnavailable.
        """
        if self._stopping:
            raise LogUnavailable("the event log is stopped")
        answer: asyncio.Future[tuple[int, int]] = self._loop.create_future()
        self._queue.put(Look(answer))
        return await answer

    async def stop(self, bound: float) -> None:
        """Writes what is queued and ends the thread, waiting no longer than `bound` seconds. Once only."""
        self._stopping = True
        self._queue.put(None)
        try:
            async with asyncio.timeout(bound):
                await self._finished.wait()
        except TimeoutError:
            log.error("writer_does_not_end", path=str(self._path), problem="locked, or a stuck disk")  # noqa: TRY400
        else:
            self._thread.join(bound)

    # --- The thread -----------------------------------------------------------------------------------

    def _run(self) -> None:
        going = True
        while going:
            entries: list[Entry] = []
            item = self._queue.get()
            while isinstance(item, Entry):
                entries.append(item)
                if self._queue.empty() or len(entries) >= _MOST_IN_ONE_COMMIT:
                    break
                item = self._queue.get()
            if entries:
                self._commit_entries(entries)
            if isinstance(item, Job):
                self._commit_job(item)
            elif isinstance(item, Look):
                self._look(item)
            going = item is not None
        self._close()
        self._tell(self._finished.set)

    def _commit_entries(self, entries: list[Entry]) -> None:
        outcome: list[tuple[Entry, list[Position] | Exception | None]] = []
        ends: Ends = {}
        try:
            outcome = self._transact(lambda connection: self._write(connection, entries, ends))
        except LogUnavailable as error:
            outcome = [(entry, error) for entry in entries]
            ends = {}
        except Exception as error:
            log.exception("write_failed", path=str(self._path))
            unknown = LogUnavailable(f"the embedded log failed: {error!r}")
            outcome = [(entry, unknown) for entry in entries]
            ends = {}
        self._tell(lambda: self._resolve(outcome, ends))

    def _write(
        self, connection: sqlite3.Connection, entries: list[Entry], ends: Ends
    ) -> list[tuple[Entry, list[Position] | Exception | None]]:
        now = self._clock()
        heads: dict[tuple[str, int], list[int] | None] = {}
        rows: list[tuple[object, ...]] = []
        outcome: list[tuple[Entry, list[Position] | Exception | None]] = []
        for entry in entries:
            if entry.call.abandoned:
                outcome.append((entry, None))
                continue
            for number in {record.partition for record in entry.records}:
                key = (entry.topic, number)
                if key not in heads:
                    found = connection.execute(_NEXT, key).fetchone()
                    heads[key] = None if found is None else [found[0], found[1], max(now, found[2])]
            missing = [r.partition for r in entry.records if heads[entry.topic, r.partition] is None]
            if missing:
                outcome.append((entry, LogUnavailable(f"topic {entry.topic} has no partition {missing[0]}")))
                continue
            positions = []
            for record in entry.records:
                head = heads[entry.topic, record.partition]
                assert head is not None
                topic, offset, append_ms = head
                headers = pack_headers(record.headers)
                rows.append((topic, record.partition, offset, append_ms, record.key, record.value, headers))
                positions.append(Position(record.partition, offset, append_ms))
                head[1] += 1
            outcome.append((entry, positions))
        connection.executemany(_INSERT, rows)
        for key, advanced in heads.items():
            if advanced is not None:
                connection.execute(_ADVANCE, (advanced[1], advanced[2], advanced[0], key[1]))
                ends[key] = advanced[1]
        return outcome

    def _commit_job(self, job: Job) -> None:
        self._answer(job.answer, lambda: self._transact(job.change))

    def _look(self, look: Look) -> None:
        def count() -> tuple[int, int]:
            if self._connection is None:
                self._opened += 1  # nobody counts: let everyone look
                return self._opened, -1
            return self._opened, int(self._connection.execute("PRAGMA data_version").fetchone()[0])

        self._answer(look.answer, count)

    def _answer(self, answer: asyncio.Future[Any], ask: Callable[[], Any]) -> None:
        try:
            result = ask()
        except Exception as error:  # noqa: BLE001 (it is raised where it was asked for)
            failure = error
            self._tell(lambda: None if answer.done() else answer.set_exception(failure))
        else:
            self._tell(lambda: None if answer.done() else answer.set_result(result))

    def _transact(self, change: Callable[[sqlite3.Connection], Any]) -> Any:
        """Runs `change` and commits, or rolls everything back. Raises LogUnavailable, and what `change` raises."""
        try:
            result = self._commit(change)
        except LogUnavailable as error:
            if not self._failing:
                log.error("log_not_writable", code=error.code, problem=str(error))  # noqa: TRY400 (it is a finding)
            self._failing = True
            raise
        if self._failing:
            log.info("log_writable_again", path=str(self._path))
        self._failing = False
        return result

    def _commit(self, change: Callable[[sqlite3.Connection], Any]) -> Any:
        try:
            if self._connection is None:
                self._connection = self._file.open_for_writing()
                self._opened += 1
            self._file.check()
            self._connection.execute("BEGIN IMMEDIATE")
            result = change(self._connection)
            self._connection.execute("COMMIT")
            self._file.check()
        except (sqlite3.Error, OSError) as error:
            # A fresh connection next time: whatever state this one is in, SQLite rolls it back.
            self._close()
            raise log_fault(self._path, error, doing="written") from error
        except BaseException:
            self._close()
            raise
        return result

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                self._file.close(connection)
            except sqlite3.Error:
                log.exception("close_failed", path=str(self._path))

    def _tell(self, callback: Callable[[], object]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            log.warning("event_loop_ended_before_writer", path=str(self._path))

    # --- Back on the loop -----------------------------------------------------------------------------

    def _resolve(self, outcome: list[tuple[Entry, list[Position] | Exception | None]], ends: Ends) -> None:
        for entry, result in outcome:
            for size in entry.sizes:
                self._window.give_back(size)
            if isinstance(result, list):
                for index, position in enumerate(result):
                    entry.call.place(index, position)
            elif result is not None:
                entry.call.fail(result)
        if ends:
            self._notify(ends)
