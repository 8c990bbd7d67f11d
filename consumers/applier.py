"""Batch in, one fenced transaction out.

A batch is parsed, then inside one transaction: fence, load, fold, write, commit. Nothing is read before the fence
and nothing is kept between batches, so a worker that has lost its partition cannot act on what it once knew. The number
of statements does not depend on the number of events.

When a commit's answer is lost, nobody knows whether it took: `Applier.cursor` tells, since `next` moved with the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from backbone.eventlog.port import LogRecord
from backbone.store.engine import Store
from backbone.store.tables import held_events
from consumers.fold import fold
from consumers.ledger import Ledger
from consumers.ledger_reading import load_ledger
from consumers.ledger_writing import write_changes
from consumers.logged_event import LoggedEvent, read_event
from consumers.offset_rows import Cursor, create_offset_row, pass_fence, read_cursor, write_head
from schemas.errors import LogGap, RecordUnappliable, RecordUnknown
from schemas.records import TickRecord


@dataclass(frozen=True, slots=True)
class ParsedRecord:
    """A record of the received log, read and understood."""

    offset: int
    log_ms: int
    event_id: str
    content: LoggedEvent | TickRecord


@dataclass(frozen=True, slots=True)
class Applied:
    """What a committed batch did."""

    next: int
    seq: int
    watermark_ms: int
    last_event_id: str
    verdicts: Counter[tuple[str, str | None]]
    repeats: int
    held: int
    released: int
    ahead_of_cancelled: int


def parse_records(partition: int, records: Sequence[LogRecord]) -> list[ParsedRecord]:
    """Understands records in order. Raises RecordUnknown, naming partition and offset, at the first it cannot."""
    parsed = []
    for record in records:
        try:
            content = read_event(record.offset, record.log_ms, record.value)
        except RecordUnknown as error:
            raise RecordUnknown(f"partition {partition}, offset {record.offset}: {error}") from error
        event_id = content.event_id if isinstance(content, TickRecord) else content.record.event_id
        parsed.append(ParsedRecord(record.offset, record.log_ms, event_id, content))
    return parsed


class Applier:
    """Applies batches of one log to one store. Holds no state of any partition."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def claim(self, partition: int) -> Cursor:
        """Where the partition stands, its row made if this is its first owner. Raises StoreUnavailable."""
        async with self._store.transaction() as connection:
            await create_offset_row(connection, partition)
        return await self.cursor(partition)

    async def cursor(self, partition: int) -> Cursor:
        """Where the partition stands now. Raises StoreUnavailable."""
        async with self._store.reading() as connection:
            cursor = await read_cursor(connection, partition)
        if cursor is None:
            raise LogGap(f"partition {partition} has no offset row; was the store replaced while this worker ran?")
        return cursor

    async def holds(self, partition: int) -> tuple[int, int | None]:
        """How many events the partition holds, and when the first is due, in log time. Raises StoreUnavailable."""
        own = held_events.c.partition == partition
        async with self._store.reading() as connection:
            found = await connection.execute(select(func.count(), func.min(held_events.c.deadline_ms)).where(own))
            count, deadline = found.one()
        return count, deadline

    async def apply(self, partition: int, records: Sequence[LogRecord], *, start: int, published: int) -> Applied:
        """Applies a batch that begins at `start`, in one transaction, exactly once.

        Raises LogGap when offsets are not contiguous from `start`; PartitionLost when another worker moved on;
        RecordUnknown or RecordUnappliable for a batch that cannot be applied (nothing of it is); StoreUnavailable when
        the store fails: whether the batch was committed is then unknown, and `cursor` tells.
        """
        _check_contiguous(partition, records, start)
        parsed = parse_records(partition, records)
        end = start + len(parsed)
        async with self._store.transaction() as connection:
            ledger = await pass_fence(
                connection, partition, start=start, end=end, last_event_id=parsed[-1].event_id, published=published
            )
            events = [record.content for record in parsed if isinstance(record.content, LoggedEvent)]
            last_log_ms = max(record.log_ms for record in parsed)
            await load_ledger(connection, ledger, events, last_log_ms=last_log_ms)
            _fold_all(ledger, parsed)
            try:
                await write_changes(connection, ledger)
            except SQLAlchemyError as error:
                raise RecordUnappliable(
                    f"partition {partition}, offsets {start} to {end - 1}: the store refuses a row: "
                    f"{type(error).__name__}"
                ) from error
            await write_head(connection, ledger)
        return _summary(ledger, end, parsed[-1].event_id)


def _check_contiguous(partition: int, records: Sequence[LogRecord], start: int) -> None:
    for expected, record in enumerate(records, start):
        if record.offset != expected:
            raise LogGap(
                f"partition {partition}: expected offset {expected}, the log gave {record.offset}; "
                "the topic was truncated, compacted or written in transactions"
            )


def _fold_all(ledger: Ledger, parsed: Sequence[ParsedRecord]) -> None:
    for record in parsed:
        try:
            fold(ledger, record.log_ms, record.content)
        except RecordUnknown as error:
            raise RecordUnknown(f"partition {ledger.partition}, offset {record.offset}: {error}") from error
        except Exception as error:
            raise RecordUnappliable(
                f"partition {ledger.partition}, offset {record.offset}, event {record.event_id}: {type(error).__name__}"
            ) from error


def _summary(ledger: Ledger, end: int, last_event_id: str) -> Applied:
    changes = ledger.changes
    return Applied(
        next=end,
        seq=ledger.seq,
        watermark_ms=ledger.watermark_ms,
        last_event_id=last_event_id,
        verdicts=Counter((row.verdict, row.reason) for row, _ in changes.rows if not row.inferred),
        repeats=changes.repeats,
        held=len(changes.held),
        released=len(changes.released),
        ahead_of_cancelled=changes.ahead_of_cancelled,
    )
