"""The model of the applier: a list of records in, trail rows out, nothing in between but memory.

Real appliers, whatever their batches, crashes and owners, must end in these rows and hashes.
"""

from __future__ import annotations

from collections.abc import Iterable

from backbone.eventlog.port import LogRecord
from consumers.fold import fold
from consumers.ledger import Ledger
from consumers.logged_event import read_event


def apply_all(records: Iterable[LogRecord], *, partition: int = 0) -> Ledger:
    """Folds one partition's records into an empty ledger. Its `changes.rows` are the whole trail."""
    ledger = Ledger(partition=partition)
    for record in records:
        if record.partition == partition:
            fold(ledger, record.log_ms, read_event(record.offset, record.log_ms, record.value))
    return ledger
