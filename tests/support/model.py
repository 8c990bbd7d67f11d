"""The model of the applier: a list of records in, trail rows out, nothing in between but memory.

Real appliers, whatever their batches, crashes and owners, must end in these rows and hashes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from backbone.eventlog.port import LogRecord
from backbone.eventlog.received import event_id_of
from consumers.dead_letter import Failure, Pair
from consumers.fold import fold
from consumers.ledger import Ledger
from consumers.logged_event import LogEntry, read_event

FAILURE = Failure("ValueError", 3)
"""What all pairs set aside here are said to have failed with."""


def apply_all(records: Iterable[LogRecord], *, partition: int = 0, aside: Collection[Pair] = frozenset()) -> Ledger:
    """Folds one partition's records into an empty ledger. Its `changes.rows` are the whole trail.

    `aside` are the pairs (offset in hand, offset of the event) that are set aside.
    """
    ledger, failures = Ledger(partition=partition), dict.fromkeys(aside, FAILURE)
    for record in records:
        if record.partition == partition:
            fold(ledger, understood(record), failures)
    return ledger


def understood(record: LogRecord) -> LogEntry:
    """The record as the applier reads it."""
    event_id = event_id_of(record.headers)
    return read_event(record.offset, record.log_ms, record.value, key=record.key, event_id=event_id)
