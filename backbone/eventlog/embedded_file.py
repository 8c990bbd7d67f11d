"""The file of the embedded log: its tables, its connections, and how headers are packed.

Partitions have a row of their own with the next offset and the last append time, so neither depends on records that
pruning removed, and an append reads and writes them in the same transaction as the records. The file is in WAL mode,
so readers never wait for the writer; `synchronous=FULL` makes every commit reach the disk before it is acknowledged.
"""

from __future__ import annotations

import sqlite3
import struct
from pathlib import Path

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
"""


def open_for_writing(path: Path, *, busy_ms: int) -> sqlite3.Connection:
    """The file, made if it is missing. Blocks. Raises sqlite3.Error, OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=busy_ms / 1000, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path, *, busy_ms: int) -> sqlite3.Connection:
    """The file, which must be there. Blocks. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, timeout=busy_ms / 1000, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA query_only=ON")
    except BaseException:
        connection.close()
        raise
    return connection


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
