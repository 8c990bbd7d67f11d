"""Telling "the store does not answer" from every other database error.

Callers treat the two differently: an outage is waited out, anything else is a fault in a record or in our code. The
decision is made in one place, from what the databases say in machine form: SQLSTATE on PostgreSQL, the result code on
SQLite. It hangs in SQLAlchemy's `handle_error` event, where only errors of the database driver arrive, so that an
OSError or TimeoutError which the caller's own code raises inside a transaction is never mistaken for an outage.
"""

from __future__ import annotations

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine

from schemas.errors import StoreRefused, StoreUnavailable

_LOST_CLASSES = ("08", "58")  # connection exceptions; the server's own system errors
_LOST_STATES = frozenset(
    {
        "25006",  # read-only: we sit on a standby after a failover
        "25P03",  # idle in transaction for too long: the server has hung up
        "25P04",  # transaction timeout
        "57P01",  # administrator shut the server down
        "57P02",  # another backend crashed
        "57P03",  # the server is starting up
        "57P04",  # the database was dropped
        "57P05",  # idle session timeout
    }
)
_BUSY_CLASSES = ("53",)  # insufficient resources: disk full, out of memory, too many connections
_BUSY_STATES = frozenset(
    {
        "40001",  # serialisation failure
        "40P01",  # deadlock
        "55P03",  # lock timeout
        "57014",  # statement timeout
    }
)
# SQLite's primary result codes: busy, locked, out of memory, read-only, interrupted, I/O error, full, cannot open.
_SQLITE_CODES = frozenset({5, 6, 7, 8, 9, 10, 13, 14})
_REFUSED = frozenset({"28000", "28P01", "3D000"})  # not allowed in, wrong password, no such database
_CLOSED = ("connection is closed", "connection was closed", "connection closed", "no active connection")


def _is_lost(error: BaseException) -> bool:
    """Whether the connection cannot be used any more."""
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return state.startswith(_LOST_CLASSES) or state in _LOST_STATES
    return isinstance(error, OSError) or any(words in str(error).lower() for words in _CLOSED)


def is_outage(error: BaseException) -> bool:
    """Whether an error of a database driver (bare, or wrapped by SQLAlchemy) means that the store does not answer."""
    if isinstance(error, PoolTimeout):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and is_outage(error.orig))
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str) and (state.startswith(_BUSY_CLASSES) or state in _BUSY_STATES):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF in _SQLITE_CODES
    return _is_lost(error)


def unavailable(error: BaseException) -> StoreUnavailable:
    """The error to raise instead of `error`; raise it from that one."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    words = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    if getattr(cause, "sqlstate", None) in _REFUSED:
        return StoreRefused(f"the store does not let us in: {words}")
    return StoreUnavailable(f"the store does not answer: {words}")


def _handle_error(context: ExceptionContext) -> None:
    error = context.original_exception
    if not isinstance(error, Exception):
        return  # cancellation passes as it is
    lost = context.is_disconnect or _is_lost(error)
    if lost:
        # Throws the connection away, and with it all that were opened before: they are of the same lost server.
        context.is_disconnect = True
    if lost or is_outage(error):
        raise unavailable(error)


def translate_outages(engine: AsyncEngine) -> None:
    """From now on errors of this engine that mean an outage are raised as StoreUnavailable."""
    event.listen(engine.sync_engine, "handle_error", _handle_error)
