"""The store: one SQLAlchemy engine, on PostgreSQL or on SQLite, and the transactions that callers work in.

Where the two differ. Connecting, transactions, snapshots and outages: here (and `outages`, which knows both drivers'
errors). Statements over many rows, and inserts that meet their own key: `bulk`. Rights and the lock of those who
migrate: `migration`; triggers: the migrations. Nobody else asks which database it is.

Transactions. SQLite has one writer at a time, and a transaction that reads before it writes fails at once when another
wrote in between, whatever the busy timeout. So writers say so at the start (BEGIN IMMEDIATE) and stand in line in this
process rather than in SQLite's sleeping retry; readers work on a snapshot (WAL) and disturb nobody. On PostgreSQL the
two kinds are the same: READ COMMITTED.

Outages. Nothing is asked of a connection before use: that would cost round trips on every transaction. The driver
knows when the server has hung up, and such a connection is replaced as it is taken from the pool; one that is lost in
use raises StoreUnavailable and takes the rest of the pool with it, so the next transaction starts on a new one. A
server that hangs without hanging up is met by a limit on every command here, a little above the server's own.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Literal

from sqlalchemy import Connection, Table, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from backbone.store.bulk import insert_into
from backbone.store.outages import translate_outages, unavailable
from backbone.store.sqlite_connection import BEGIN_READING, BEGIN_WRITING, SQLiteConnection
from schemas.errors import StoreUnavailable

Dialect = Literal["postgresql", "sqlite"]

CLOSE_TIMEOUT_S = 5.0
SQLITE_BUSY_S = 5.0

_BEGIN_OPTION = "mealtrail_begin"
_WAL_ATTEMPTS, _WAL_PAUSE_S = 50, 0.05
_PRAGMAS = (
    "PRAGMA synchronous = FULL",  # what was committed survives a loss of power
    "PRAGMA foreign_keys = ON",
    "PRAGMA recursive_triggers = ON",  # REPLACE fires delete triggers
    "PRAGMA secure_delete = ON",  # what was erased is not left in the file's free room
    "PRAGMA cache_size = -16384",  # 16 MiB
)


class Store:
    """One engine and what differs between the two databases. Belongs to one event loop; connects on first use.

    All methods raise StoreUnavailable, with the driver's error as its cause, when the database cannot be reached, hangs
    up, runs into a timeout, or has no connection left in the pool. Other database errors (IntegrityError and such) pass
    as they are.
    """

    def __init__(self, engine: AsyncEngine, dialect: Dialect) -> None:
        self.engine = engine
        self.dialect: Dialect = dialect
        self._writing = engine.execution_options(**{_BEGIN_OPTION: BEGIN_WRITING})
        self._writer = asyncio.Lock() if dialect == "sqlite" else None
        self._drivers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._files: weakref.WeakSet[SQLiteConnection] = weakref.WeakSet()
        translate_outages(engine)
        if dialect == "sqlite":
            event.listen(engine.sync_engine, "do_connect", self._remember_file)
            event.listen(engine.sync_engine, "connect", _set_pragmas)
            event.listen(engine.sync_engine, "begin", _emit_begin)
        else:
            event.listen(engine.sync_engine, "connect", self._remember_driver)
            event.listen(engine.sync_engine, "checkout", _replace_closed)

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """One transaction that may write: commits on normal exit, rolls back on any exception.

        StoreUnavailable out of the commit is ambiguous: look whether it happened before doing it again. Not to be
        nested: on SQLite the inner one would wait for the outer one until it gives up.
        """
        return self._transaction(self._writing, writes=True)

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """One transaction that only reads. On SQLite all its statements see the same state, and no writer waits."""
        return self._transaction(self.engine, writes=False)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that only reads, all its statements seeing the same state on either database."""
        async with self.reading() as connection:
            if self.dialect == "postgresql":  # has to come before the first query
                await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            yield connection

    @asynccontextmanager
    async def _transaction(self, engine: AsyncEngine, *, writes: bool) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            if writes and self._writer is not None:
                await self._stand_in_line(self._writer)
                stack.callback(self._writer.release)
            try:
                connection = await stack.enter_async_context(engine.connect())
            except (DBAPIError, PoolTimeout, OSError) as error:
                # Whatever keeps us from connecting, a wrong password too: the store is not there for us.
                raise unavailable(error) from error
            transaction = await connection.begin()
            try:
                yield connection
            except BaseException:
                # An outage leaves nothing to undo: the server rolls back what it loses sight of.
                with suppress(StoreUnavailable):
                    await transaction.rollback()
                raise
            await transaction.commit()

    async def _stand_in_line(self, writer: asyncio.Lock) -> None:
        try:
            async with asyncio.timeout(SQLITE_BUSY_S):
                await writer.acquire()
        except TimeoutError as error:
            raise StoreUnavailable(f"the store is busy: no turn to write for {SQLITE_BUSY_S:g} s") from error

    async def ping(self) -> None:
        """Return when the database has answered a query. Raises StoreUnavailable."""
        async with self.reading() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections, within about 5 s. May be repeated. Connections in use are lost to their users.

        A caller that is cancelled meanwhile learns it afterwards: half-closed, SQLite's threads would outlive the loop.
        """
        closing = asyncio.create_task(self._close())
        try:
            await asyncio.wait([closing])
        except asyncio.CancelledError:
            await closing
            raise
        closing.result()

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.engine.dispose()
                await self._end_threads()
        except TimeoutError:
            pass  # the server hangs; what is left is dropped below
        finally:
            for driver in list(self._drivers):
                if not driver.is_closed():
                    driver.terminate()

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """An INSERT that has ON CONFLICT, in this database's dialect."""
        return insert_into(table, self.dialect)

    async def _end_threads(self) -> None:
        """Returns when the threads of all connections that are closed have ended.

        The driver does not wait for the thread of one that was cancelled while it connected. Should the loop be closed
        first, the thread finds nobody to tell its result, and prints a traceback.
        """
        for file in list(self._files):
            if file._thread.is_alive() and not file._running:  # noqa: SLF001
                await asyncio.to_thread(file._thread.join, CLOSE_TIMEOUT_S)  # noqa: SLF001

    def _remember_file(self, _dialect: object, _record: object, _arguments: object, options: dict[str, Any]) -> None:
        """Told before the driver connects: afterwards it would be too late for one that is cancelled meanwhile."""

        def connect(*arguments: Any, **more: Any) -> SQLiteConnection:
            file = SQLiteConnection(*arguments, **more)
            self._files.add(file)
            return file

        options["async_creator_fn"] = connect

    def _remember_driver(self, dbapi_connection: Any, _record: object) -> None:
        self._drivers.add(dbapi_connection.driver_connection)


def _set_pragmas(dbapi_connection: Any, _record: object) -> None:
    cursor = dbapi_connection.cursor()
    try:
        _switch_to_wal(cursor)
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
    finally:
        cursor.close()


def _switch_to_wal(cursor: Any) -> None:
    """Write-ahead logging, which a file keeps once it has it.

    Two processes that open a new file at once get "locked" here without SQLite's waiting its busy time; one of them
    succeeds, and the other then finds it done.
    """
    for attempts_left in reversed(range(_WAL_ATTEMPTS)):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except (sqlite3.OperationalError, StoreUnavailable):
            if attempts_left == 0:
                raise
            time.sleep(_WAL_PAUSE_S)  # once in a file's life
        else:
            return


def _emit_begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN_OPTION, BEGIN_READING))


def _replace_closed(dbapi_connection: Any, _record: object, _fairy: object) -> None:
    """Told before a pooled connection is handed out; the pool answers DisconnectionError with a new connection."""
    if dbapi_connection.driver_connection.is_closed():
        raise DisconnectionError("the server closed this connection while it was idle")
