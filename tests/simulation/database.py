"""A real SQL store in simulated time: SQLite executes every statement, the simulation says when.

SQLAlchemy's aiosqlite dialect is given connections that look like aiosqlite's and run in this thread. Around them is
what PostgreSQL would add. READ COMMITTED: a statement before a transaction's first write sees what is committed at that
moment, whatever the code's BEGIN says; the first write waits until no other transaction is writing, and then looks at
the newest state. Limits: a transaction that does nothing for too long is ended by the server, and waiting for a lock
ends too. A commit may be carried out although its answer is lost, even later than the error arrives.

All of a run's statements go through two SQLite connections to one file: one belongs to the transaction that writes,
the other reads what is committed. The file is made once a process and overwritten with the empty store before each run.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.simulation.scheduler import CURRENT, Process

if TYPE_CHECKING:
    from tests.simulation.world import World

LIMIT_S = 3.0
"""The server's limits: for an idle transaction, and for waiting for a lock."""
_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLAC", "SAVEPO")
"""How statements begin that need the write lock. A savepoint does not, but what is done after it does."""


class Files:
    """The SQLite file that all runs of this process use, one after the other."""

    def __init__(self, path: Path, template: sqlite3.Connection) -> None:
        self.writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._template = template
        template.backup(self.writer)
        self.reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for connection in (self.writer, self.reader):
            for pragma in ("journal_mode = WAL", "synchronous = OFF", "recursive_triggers = ON", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}").fetchall()

    def empty(self) -> None:
        """The store as the migrations leave it."""
        for connection in (self.writer, self.reader):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        self._template.backup(self.writer)

    def close(self) -> None:
        """Closes all connections."""
        for connection in (self.writer, self.reader, self._template):
            connection.close()


class Database:
    """The server: who writes, who waits, who is connected."""

    def __init__(self, world: World, files: Files) -> None:
        self.world = world
        self.writer, self.reader = files.writer, files.reader
        self.down = False
        self._holder: Connection | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._connections: list[Connection] = []

    async def connect(self) -> Connection:
        """A connection of the process whose step is being taken."""
        connection = Connection(self, CURRENT.get())
        self._connections.append(connection)
        return connection

    def lose(self, process: Process | None = None) -> None:
        """Ends all connections, or those of one process; what they had not committed is rolled back."""
        for connection in self._connections:
            if process is None or connection.process is process:
                connection.end()
        self._connections = [connection for connection in self._connections if not connection.ended]

    def now(self) -> float:
        """Simulated seconds."""
        return self.world.loop.time()

    async def lock(self, connection: Connection) -> None:
        """Returns when nobody else writes; ends transactions that sit idle meanwhile."""
        since = self.now()
        while (holder := self._holder) is not None:
            if holder.is_idle():
                holder.end()
                continue
            left = since + LIMIT_S - self.now()
            if left <= 0:
                raise broken("canceling statement due to lock timeout", code=5)
            waiter = self.world.loop.create_future()
            self._waiting.append(waiter)
            await asyncio.wait((waiter,), timeout=max(0.001, min(left, holder.idle_in())))
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            connection.check()
        self._holder = connection
        self.writer.execute("BEGIN IMMEDIATE")

    def release(self, connection: Connection, how: str) -> None:
        """Ends the writing transaction with COMMIT or ROLLBACK and lets the others look."""
        if self._holder is connection:
            self._holder = None
            self.writer.execute(how)
            for waiter in self._waiting:
                if not waiter.done():
                    waiter.set_result(None)
            self._waiting.clear()


def broken(words: str, *, code: int | None = None) -> sqlite3.OperationalError:
    """What a driver raises when the server does not do what was asked."""
    error = sqlite3.OperationalError(words)
    if code is not None:
        error.sqlite_errorcode = code
    return error


class Connection:
    """A session at the server, with the methods of aiosqlite's connection that SQLAlchemy calls."""

    _connection = True  # SQLAlchemy asks whether there is one

    def __init__(self, database: Database, process: Process) -> None:
        self.database = database
        self.process = process
        self.begun = False
        self.holds = False
        self.ended = False
        self.committing = False
        self._touched = 0.0
        self.isolation_level = None

    def check(self) -> None:
        """Raises unless the server still knows this session."""
        if self.database.down or self.database.world.over or (self.begun and self.is_idle()):
            self.end()
        if self.ended:
            raise broken("connection closed")

    def touch(self) -> None:
        """The session is doing something now."""
        self._touched = self.database.now()

    def is_idle(self) -> bool:
        """Whether its transaction has waited for its client for longer than the server lets it."""
        return not self.committing and self.database.now() - self._touched >= LIMIT_S

    def idle_in(self) -> float:
        """Seconds until `is_idle`, if nothing happens."""
        return LIMIT_S if self.committing else self._touched + LIMIT_S - self.database.now()

    def end(self) -> None:
        """The server lets go of it; nothing of its transaction remains (unless a commit is under way there)."""
        self.ended = True
        if not self.committing:
            self._finish("ROLLBACK")

    def _finish(self, how: str) -> None:
        if self.holds:
            self.holds = False
            self.database.release(self, how)
        self.begun = False

    async def execute(self, sql: str, parameters: Any, *, many: bool) -> sqlite3.Cursor:
        """One statement, its result read to the end."""
        database = self.database
        fault = await database.world.faults.point("statement")
        self.check()
        self.touch()
        if fault is not None:
            self.end()
            raise broken("connection closed")
        if self.begun and not self.holds and sql.lstrip()[:6].upper() in _WRITES:
            await database.lock(self)
            self.holds = True
            self.touch()
        connection = database.writer if self.holds else database.reader
        return connection.executemany(sql, parameters) if many else connection.execute(sql, parameters)

    async def commit(self) -> None:
        """Ends the transaction; the only place where what it did becomes visible."""
        if not self.holds:
            self.begun = False
            return
        world = self.database.world
        fault = await world.faults.point("commit")
        self.check()
        if fault is not None and fault.effect == "late":
            self.committing = True
            world.loop.call_later(fault.for_s, self._commit_late, context=world.loop.world.context)
            self.end()
            raise broken("connection closed")
        if fault is not None and fault.effect == "fail":
            self.end()
            raise broken("connection closed")
        self._finish("COMMIT")
        if fault is not None:
            self.end()
        await world.faults.point("committed")
        self.check()

    def _commit_late(self) -> None:
        self.database.world.note(self.process, "its commit is carried out now")
        self.committing = False
        self._finish("COMMIT")

    async def rollback(self) -> None:
        """Undoes the transaction."""
        if not self.committing:
            self._finish("ROLLBACK")

    async def close(self) -> None:
        """Ends the session."""
        self.stop()

    def stop(self) -> None:
        """As close, at once."""
        self.end()

    async def create_function(self, *_: Any, **__: Any) -> None:
        """SQLAlchemy offers a function for regular expressions; nobody here needs it."""

    def cursor(self) -> Cursor:
        """A cursor of this session."""
        return Cursor(self)


class Cursor:
    """As much of aiosqlite's cursor as SQLAlchemy calls."""

    description: Any = None
    rowcount = -1
    lastrowid = 0
    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rows: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Any = ()) -> None:
        """One statement. BEGIN only says that a transaction begins; see the module."""
        if sql.startswith(("BEGIN", "PRAGMA")):
            if sql.startswith("BEGIN"):
                self._connection.begun = True
                self._connection.touch()
            return
        self._take(await self._connection.execute(sql, parameters, many=False))

    async def executemany(self, sql: str, parameters: Iterable[Any]) -> None:
        """One statement for many rows."""
        self._take(await self._connection.execute(sql, parameters, many=True))

    def _take(self, done: sqlite3.Cursor) -> None:
        self.description, self.rowcount, self.lastrowid = done.description, done.rowcount, done.lastrowid or 0
        self._rows = done.fetchall() if done.description else []
        if done.description and self.rowcount < 0:
            self.rowcount = len(self._rows)
        done.close()

    async def fetchall(self) -> list[Any]:
        """All rows."""
        return self._rows

    async def close(self) -> None:
        """Nothing is open: results are read at once."""
