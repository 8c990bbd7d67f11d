"""What must hold when a run has grown quiet, whatever happened on the way.

The store is compared with the model (tests.support.model): one ledger, one pass over the same log, nothing else. Rows
(`expected`) are compared as they lie in the store, hashes with them, so "equal" is byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from backbone.eventlog.port import LogRecord, NewRecord
from consumers.attempts import PROCESS_DIED
from consumers.dead_letter import Failure
from consumers.ledger import Ledger
from consumers.logged_event import LoggedEvent, Unreadable, read_event
from consumers.relay import outcome_record
from schemas.cloudevents import header
from schemas.dead_letters import PROCESS_DIED_READING
from schemas.errors import RecordUnknown
from tests.simulation.events import poison_of
from tests.simulation.expected import expected_tables
from tests.simulation.world import Ended
from tests.support.model import apply_all

_PUBLISHED = (
    "in_hand_offset",
    "event_offset",
    "workspace",
    "order_id",
    "event_id",
    "source_uid",
    "received_ms",
    "set_aside_ms",
    "parks",
    "error",
    "attempts",
)
_OF_DEATHS = {PROCESS_DIED, PROCESS_DIED_READING}
Found = list[tuple[Any, ...]]


def check(ended: Ended) -> str | None:
    """The first difference between what is and what must be, in words; None if there is none."""
    for partition in range(ended.partitions):
        problem = _check_partition(ended, partition)
        if problem is not None:
            return f"partition {partition}: {problem}"
    return None


def _check_partition(ended: Ended, partition: int) -> str | None:
    read = _reader(ended, partition)
    received = [record for record in ended.received if record.partition == partition]
    pairs = read("dead_letters", ("in_hand_offset", "event_offset", "error", "attempts"), "seq")
    for in_hand, event, error, _ in pairs:
        if not (error in _OF_DEATHS or _is_poisoned(received[event])):
            return f"the healthy event at offset {event} was set aside at offset {in_hand}: {error}"
    aside = {(in_hand, event): Failure(error, attempts) for in_hand, event, error, attempts in pairs}
    model = apply_all(received, partition=partition, aside=aside)
    rows = {row.seq: outcome_record(row, row_hash) for row, row_hash in model.changes.rows}
    return (
        _compare(read, model, end=len(received))
        or _check_outcomes(rows, [record for record in ended.outcomes if record.partition == partition])
        or _check_dead_letters(model, [r for r in ended.dead_letters if r.partition == partition])
    )


def _is_poisoned(record: LogRecord) -> bool:
    try:
        entry = read_event(record.offset, record.log_ms, record.value)
    except RecordUnknown:
        return False
    if isinstance(entry, LoggedEvent):
        return bool(poison_of(entry.record.event.occurred_us)[0])
    return isinstance(entry, Unreadable)


def _reader(ended: Ended, partition: int) -> Callable[..., Found]:
    def read(table: str, columns: Iterable[str], order: str, condition: str = '"partition" = ?') -> Found:
        names = ", ".join(f'"{name}"' for name in columns)
        found = ended.parts.files.reader.execute(
            f'SELECT {names} FROM "{table}" WHERE {condition} ORDER BY {order}', (partition,)
        )
        return found.fetchall()

    return read


def _compare(read: Callable[..., Found], model: Ledger, *, end: int) -> str | None:
    """Table by table."""
    for table in expected_tables(model, end=end):
        there = read(table.name, table.columns, table.by, table.condition)
        if there != table.rows:
            return _differ(table.name, table.columns, there, table.rows)
    return None


def _differ(table: str, columns: tuple[str, ...], found: Found, expected: Found) -> str:
    for number, (is_there, should_be) in enumerate(zip(found, expected, strict=False), 1):
        if is_there != should_be:
            values = zip(columns, is_there, should_be, strict=True)
            others = [f"{name} {is_!r} instead of {be!r}" for name, is_, be in values if is_ != be]
            return f"{table} is wrong, at its row {number}: {', '.join(others)}"
    return f"{table} is wrong, at its number of rows: {len(found)} instead of {len(expected)}"


def _check_outcomes(rows: dict[int, NewRecord], published: list[LogRecord]) -> str | None:
    """The topic, repeats dropped, is the trail: every row once, in order, the same bytes."""
    last = 0
    for record in published:
        number = _seq(record)
        if number > last + 1:
            return f"the outcomes topic jumps from row {last} to row {number}, at its offset {record.offset}"
        last = max(last, number)
        expected = rows.get(number)
        if expected is None or (record.key, record.value, record.headers) != (
            expected.key,
            expected.value,
            expected.headers,
        ):
            return f"row {number} of the outcomes topic is not the trail's, at its offset {record.offset}"
    if last != len(rows):
        return f"the outcomes topic ends with row {last}, the trail with row {len(rows)}"
    return None


def _check_dead_letters(model: Ledger, published: list[LogRecord]) -> str | None:
    """The topic, repeats dropped, is the list. What an erasure takes may be in it or not."""
    by_seq = {letter.seq: letter for letter in model.dead_letters.values()}
    last = 0
    for record in published:
        number = _seq(record)
        if number > last + 1:
            return f"the dead-letters topic jumps from {last} to {number}, at its offset {record.offset}"
        last = max(last, number)
        document, letter = orjson.loads(record.value), by_seq[number]
        expected = {name: getattr(letter, name) for name in _PUBLISHED}
        if {name: document[name] for name in expected} != expected:
            return f"dead letter {number} is published otherwise than it is, at its offset {record.offset}"
        if letter.record is not None and not model.changes.erasures and document["record"] is None:
            return f"dead letter {number} is published without its record, at its offset {record.offset}"
    if last != model.dead_seq:
        return f"the dead-letters topic ends with {last}, the list with {model.dead_seq}"
    return None


def _seq(record: LogRecord) -> int:
    return int((header(record.headers, "ce_id") or "-0").partition("-")[2])
