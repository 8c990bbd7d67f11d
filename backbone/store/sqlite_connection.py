"""SQLite's connection: as aiosqlite has it, a thread for each, with as few ways to that thread and back as can be.

The way costs more than a statement: both threads are woken up, and the answer waits until the event loop comes round,
which under load is after every request that is ready by then. aiosqlite goes four times for one look-up (to make a
cursor, execute, fetch and close), a transaction of a dozen statements fifty times. Here:

    a look-up                                goes once: its rows are fetched as it is executed
    beginning to write, committing it        go, since they wait: for other processes, for the disk
    a short statement in between             does not go
    beginning to read, ending it             do not go: SQLite only takes note of them

A short statement has parameters, few and small: it finds or writes so many rows by key, in memory, while the
transaction has the file to itself; it takes some twenty microseconds, the way four times that. What has more to do, or
might, goes: many rows, statements without parameters (migrations), whatever only reads. And while the thread is at
work for somebody who was cancelled, everything goes, behind it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Self

import aiosqlite

BEGIN_READING, BEGIN_WRITING = "BEGIN", "BEGIN IMMEDIATE"
SHORT_ROWS = 100
"""Most rows that a short statement writes."""
SHORT_PARAMETERS = 100
SHORT_BYTES = 8192
"""Most of what a short look-up is given: lists of keys come as one text."""
_FIRST_ROWS = 2000
"""Fetched with the statement. A result that has more is a page of a long reading, which asks for the rest."""
_ITER_CHUNK = 64  # of aiosqlite's own cursors, which are not used here


class SQLiteConnection(aiosqlite.Connection):
    """What SQLAlchemy's aiosqlite dialect uses of a connection. Opened by awaiting it; one user at a time."""

    def __init__(self, database: str, **options: Any) -> None:
        super().__init__(partial(sqlite3.connect, database, **{**options, "check_same_thread": False}), _ITER_CHUNK)
        self._thread.daemon = True  # as SQLAlchemy does, where it makes the connection itself
        self._asked = 0  # changed by the loop alone
        self._answered = 0  # changed by the thread alone
        self._writing = False

    def cursor(self) -> Cursor:  # type: ignore[override] # theirs is made in the thread
        """A cursor, made in no time."""
        return Cursor(self)

    async def commit(self) -> None:
        """Commits what was begun. Returns when it is on the disk."""
        await self._end(self._conn.commit)

    async def rollback(self) -> None:
        """Undoes what was begun, if anything was; the pool asks for it whenever a connection is given back."""
        await self._end(self._conn.rollback)

    async def begin(self, operation: str) -> None:
        """Begins a transaction by one of the two statements for it."""
        self._writing = operation == BEGIN_WRITING
        if self._writing or not self._is_idle():
            await self._execute(self._conn.execute, operation)
        else:
            self._conn.execute(operation)

    async def run(self, statement: Callable[[sqlite3.Connection], Any], *, short: bool) -> Any:
        """Runs the statement, here or in the thread. Raises what it raises."""
        if short and self._writing and self._is_idle() and self._conn.in_transaction:
            return statement(self._conn)
        return await self._execute(statement, self._conn)

    async def _end(self, end: Callable[[], None]) -> None:
        if self._is_idle() and not (self._writing and self._conn.in_transaction):
            end()
        else:
            await self._execute(end)

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def answer() -> Any:
            try:
                return fn(*args, **kwargs)
            finally:
                self._answered += 1

        self._asked += 1
        return await super()._execute(answer)  # type: ignore[no-untyped-call]

    def _is_idle(self) -> bool:
        """Whether the thread has nothing to do. It may have, for somebody who was cancelled while it did."""
        return self._running and self._asked == self._answered


class Cursor:
    """One statement and its rows."""

    def __init__(self, connection: SQLiteConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self._rest: sqlite3.Cursor | None = None
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, operation: str, parameters: Sequence[Any] = ()) -> Self:
        """Runs one statement, and fetches its rows."""
        if operation in (BEGIN_READING, BEGIN_WRITING):
            await self._connection.begin(operation)
            return self

        def run(connection: sqlite3.Connection) -> None:
            cursor = connection.execute(operation, parameters)
            self._rows = cursor.fetchmany(_FIRST_ROWS)
            self._keep(cursor, finished=len(self._rows) < _FIRST_ROWS)

        await self._connection.run(run, short=is_short(parameters))
        return self

    async def executemany(self, operation: str, rows: Sequence[Sequence[Any]]) -> Self:
        """Runs one statement for each of the rows."""

        def run(connection: sqlite3.Connection) -> None:
            self._keep(connection.executemany(operation, rows), finished=True)

        await self._connection.run(run, short=len(rows) <= SHORT_ROWS)
        return self

    async def fetchone(self) -> Any:
        """The next row, or None."""
        return next(iter(await self.fetchmany(1)), None)

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next rows, at most so many."""
        wanted = self.arraysize if size is None else size
        rest = self._rest
        if not self._rows and rest is not None:

            def fetch(_: sqlite3.Connection) -> None:
                self._rows = rest.fetchmany(wanted)

            await self._connection.run(fetch, short=False)
        taken, self._rows = self._rows[:wanted], self._rows[wanted:]
        return taken

    async def fetchall(self) -> list[Any]:
        """All rows that are left."""
        if self._rest is not None:
            rest, self._rest = self._rest, None

            def fetch(_: sqlite3.Connection) -> None:
                self._rows += rest.fetchall()
                rest.close()

            await self._connection.run(fetch, short=False)
        taken, self._rows = self._rows, []
        return taken

    async def close(self) -> None:
        """Lets go of rows that nobody fetched."""
        self._rows = []
        if self._rest is not None:
            rest, self._rest = self._rest, None
            await self._connection.run(lambda _: rest.close(), short=False)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while rows := await self.fetchmany(_FIRST_ROWS):
            for row in rows:
                yield row

    def _keep(self, cursor: sqlite3.Cursor, *, finished: bool) -> None:
        self.description, self.rowcount, self.lastrowid = cursor.description, cursor.rowcount, cursor.lastrowid
        if finished:
            cursor.close()
        else:
            self._rest = cursor


def is_short(parameters: Sequence[Any]) -> bool:
    """Whether a statement with these parameters can only find or change few rows. Without any, nothing bounds it."""
    return 0 < len(parameters) <= SHORT_PARAMETERS and sum(map(_size, parameters)) <= SHORT_BYTES


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes) else 0
