"""What a failure of the embedded log's file means, in words that say what to do about it.

Two kinds. A full disk, a busy file or a failing read may pass: LogUnavailable, and whoever waits goes on by itself. A
damaged file, one that may not be written, or one that was removed or replaced under this process does not mend by
waiting: LogUnusable, at which a process that starts gives up.
"""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from schemas.errors import LogUnavailable, LogUnusable

_WRONG_PLACE = "check that the directory is there, its permissions and its mount"
_DAMAGED = "the file is damaged: stop the server and put the whole data directory back from a backup"
_PASSING = {
    sqlite3.SQLITE_FULL: "make room on the disk; it then goes on by itself",
    sqlite3.SQLITE_BUSY: "another process holds the file; it goes on when that ends",
    sqlite3.SQLITE_IOERR: "the disk does not take it: look for a full disk, a quota, or errors in the system's log",
}
_LASTING = {
    sqlite3.SQLITE_PERM: _WRONG_PLACE,
    sqlite3.SQLITE_READONLY: _WRONG_PLACE,
    sqlite3.SQLITE_CANTOPEN: _WRONG_PLACE,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}


def log_fault(path: Path, error: sqlite3.Error | OSError, *, doing: str) -> LogUnavailable:
    """The error to raise instead of `error`; raise it from that one. `doing` is `read` or `written`."""
    text = f"the embedded log {path} cannot be {doing}: {error}"
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return LogUnavailable(f"{text}: {_PASSING[sqlite3.SQLITE_FULL]}")
        return LogUnusable(f"{text}: {_WRONG_PLACE}")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _LASTING:
        return LogUnusable(f"{text}: {_LASTING[code]}")
    return LogUnavailable(f"{text}: {_PASSING[code]}" if code in _PASSING else text)


def log_replaced(path: Path) -> LogUnusable:
    """The file under that name is not the one that this process opened."""
    return LogUnusable(
        f"the embedded log {path} was removed or replaced while this server runs, so nothing can be stored: put back "
        "the directory that was there, or stop the server before you exchange it"
    )
