"""The file of the embedded log: its tables, its connections, and how headers are packed.

Partitions have a row of their own with the next offset and the last append time, so neither depends on records that
pruning removed, and an append reads and writes them in the same transaction as the records. The file is in WAL mode,
so readers never wait for the writer; `synchronous=FULL` makes every commit reach the disk before it is acknowledged.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import threading
from pathlib import Path

from backbone.eventlog.embedded_errors import log_replaced
from schemas.cloudevents import Headers

FILE_NAME = "log.db"

_TABLES = """
CREATE TABLE IF NOT EXISTS topics (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS partitions (
    topic INTEGER NOT NULL, partition INTEGER NOT NULL,
    first_offset INTEGER NOT NULL DEFAULT 0, next_offset INTEGER NOT NULL DEFAULT 0, last_ms INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    topic INTEGER NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    append_ms INTEGER NOT NULL, key BLOB, value BLOB NOT NULL, headers BLOB NOT NULL,
    PRIMARY KEY (topic, partition, offset)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS topic_ids (topic INTEGER PRIMARY KEY, id TEXT NOT NULL);
"""
_IDENTIFY = "INSERT OR IGNORE INTO topic_ids (topic, id) SELECT id, lower(hex(randomblob(16))) FROM topics"


class LogFile:
    """The file this process works on, from its first opening to its end: it is made then if need be, and never again.

    A directory that is removed or exchanged under a running server leaves the server with a file nobody will find any
    more, and SQLite goes on writing into it; or it would make a new and empty one. So it is with the `-wal` beside it,
    where the newest records lie. `check` is how neither is taken for the log. Connections are closed here too: SQLite
    removes the `-wal` as the last one goes, and only that is no loss. Its methods block, and may be called from any
    thread once `open_for_writing` has returned.
    """

    def __init__(self, path: Path, *, busy_ms: int) -> None:
        self.path = path
        self._busy_s = busy_ms / 1000
        self._wal_path = path.with_name(f"{path.name}-wal")
        self._identity: tuple[int, int] | None = None
        self._wal: tuple[int, int] | None = None
        """None: whatever the next connection to be opened for writing finds or makes."""
        self._closing = threading.Lock()

    def open_for_writing(self) -> sqlite3.Connection:
        """A connection that writes. Raises sqlite3.Error, OSError, LogUnusable."""
        if self._identity is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif self._wal is not None:
            self.check()  # before SQLite makes a new one
        connection = self._connect(make=self._identity is None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA secure_delete=ON")  # what was pruned is not left in the file's free room
            connection.execute("BEGIN IMMEDIATE")
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            identify_topics(connection)  # those of a file from before topics had ids
            connection.execute("COMMIT")
            if self._identity is None:
                self._identity = _look(self.path)
            if self._wal is None:
                self._wal = _look(self._wal_path)
            self.check()
        except BaseException:
            self.close(connection)
            raise
        return connection

    def open_for_reading(self) -> sqlite3.Connection:
        """A connection that only reads. Raises sqlite3.Error."""
        connection = self._connect(make=False)
        try:
            connection.execute("PRAGMA query_only=ON")
        except BaseException:
            self.close(connection)
            raise
        return connection

    def check(self) -> None:
        """Raises LogUnusable when the file under this name is not (any more) the one that was opened first, or its
        `-wal` is not the one that connections have open.
        """
        if _look(self.path) != self._identity:
            raise log_replaced(self.path)
        if self._wal is not None and _look(self._wal_path) != self._wal:
            raise log_replaced(self._wal_path)

    def close(self, connection: sqlite3.Connection) -> None:
        """Close a connection that was opened here. Raises sqlite3.Error."""
        with self._closing:
            was_there = self._wal is not None and _look(self._wal_path) == self._wal
            try:
                connection.close()
            finally:
                if was_there and _look(self._wal_path) is None:
                    self._wal = None

    def _connect(self, *, make: bool) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={'rwc' if make else 'rw'}",
            uri=True,
            timeout=self._busy_s,
            isolation_level=None,
            check_same_thread=False,
        )


def _look(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - once a commit: a Path would cost more than the call
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def identify_topics(connection: sqlite3.Connection) -> None:
    """Gives a random id to each topic that has none yet. Blocks; part of the caller's transaction."""
    connection.execute(_IDENTIFY)


def pack_headers(headers: Headers) -> bytes:
    """Headers as bytes: for each the lengths of name and value (32 bits, big-endian), then both."""
    packed = bytearray()
    for name, value in headers:
        encoded = name.encode()
        packed += struct.pack(">II", len(encoded), len(value))
        packed += encoded
        packed += value
    return bytes(packed)


def unpack_headers(packed: bytes) -> Headers:
    """The inverse of `pack_headers`."""
    headers = []
    at = 0
    while at < len(packed):
        name_size, value_size = struct.unpack_from(">II", packed, at)
        name_end = at + 8 + name_size
        at = name_end + value_size
        headers.append((packed[name_end - name_size : name_end].decode(), packed[name_end:at]))
    return tuple(headers)
