"""Whose fault a failed batch is, in words that may be kept and published: no value of any event is among them."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from consumers.ledger import Ledger
from consumers.logged_event import LogEntry
from schemas.errors import MealtrailError, PartitionStopped, RecordUnappliable, RecordUnknown

UNREADABLE = "unreadable"
"""The problem of a record that is none that anybody could read."""


def blame(ledger: Ledger, entry: LogEntry, error: Exception) -> PartitionStopped:
    """The error to raise when deciding fails, with the event that was being decided."""
    where = f"partition {ledger.partition}, offset {entry.offset}"
    if isinstance(error, RecordUnknown):
        return RecordUnknown(f"{where}: {error}", partition=ledger.partition, offset=entry.offset)
    # Folding raises this one itself, for bytes that nobody can read.
    problem = UNREADABLE if isinstance(error, RecordUnappliable) else describe(error)
    return RecordUnappliable(
        f"{where}: deciding the event logged at offset {ledger.deciding} fails: {problem}",
        partition=ledger.partition,
        offset=entry.offset,
        event_offset=ledger.deciding,
        problem=problem,
    )


def describe(error: Exception) -> str:
    """A failure in a word or two."""
    if isinstance(error, MealtrailError):
        return error.code
    name = type(error).__name__
    state = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return f"{name} {state}" if state else name
