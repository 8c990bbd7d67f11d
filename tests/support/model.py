"""The model of the applier: a list of records in, trail rows out, nothing in between but memory.

Real appliers, whatever their batches, crashes and owners, must end in these rows and hashes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from backbone.eventlog.port import LogRecord
from consumers.applier import parse_records
from consumers.dead_letter import NOTHING_ASIDE, Aside, Failure, Pair
from consumers.fold import fold
from consumers.ledger import Ledger
from consumers.logged_event import LogEntry

FAILURE = Failure("ValueError", 3)
"""What all pairs set aside here are said to have failed with, where nothing else is said."""


def apply_all(records: Iterable[LogRecord], *, partition: int = 0, aside: Collection[Pair] = frozenset()) -> Ledger:
    """Folds one partition's records into an empty ledger. Its `changes.rows` are the whole trail.

    `aside` are the pairs (offset in hand, offset of the event) that are set aside, perhaps with their failures.
    """
    ledger = Ledger(partition=partition)
    failures = aside if isinstance(aside, Mapping) else dict.fromkeys(aside, FAILURE)
    for record in records:
        if record.partition == partition:
            fold(ledger, understood(record, failures), failures)
    return ledger


def understood(record: LogRecord, aside: Aside = NOTHING_ASIDE) -> LogEntry:
    """The record as the applier reads it, or leaves it unread."""
    (entry,) = parse_records(record.partition, [record], aside)
    return entry
