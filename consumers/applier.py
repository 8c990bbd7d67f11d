"""Batch in, one fenced transaction out.

A batch is parsed, then inside one transaction: fence, load, fold, write, commit. Nothing is read before the fence
and nothing is kept between batches, so a worker that has lost its partition cannot act on what it once knew. The number
of statements does not depend on the number of events.

When a commit's answer is lost, nobody knows whether it took: `Applier.cursor` tells, since `next` moved with the rows.

A batch that fails says which event is to blame, as far as that is known; `consumers.narrowing` does the rest. Applied
again with that pair `aside`, the record is passed with the event set aside, in the same fenced transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.eventlog.port import LogRecord
from backbone.eventlog.received import event_id_of
from backbone.store.engine import Store
from backbone.store.tables import dead_letters, held_events
from consumers.attempts import forget_passed
from consumers.blame import blame, describe
from consumers.dead_letter import NOTHING_ASIDE, Aside, is_unread
from consumers.fold import fold_steps
from consumers.ledger import Ledger
from consumers.ledger_writing import write_changes
from consumers.logged_event import LogEntry, LoggedControl, leave_unread, read_event
from consumers.offset_rows import Cursor, create_offset_row, let_go, pass_fence, raise_claims, read_cursor, write_head
from consumers.rehearsal import Rehearsal, load_all, load_more
from schemas.dead_letters import DeadLetterState
from schemas.errors import LogGap, RecordUnappliable, RecordUnknown, Unavailable
from schemas.outcomes import TrailRow


@dataclass(frozen=True, slots=True)
class Applied:
    """What a committed batch did."""

    next: int
    seq: int
    watermark_ms: int
    last_event_id: str | None
    verdicts: Counter[tuple[str, str | None]]
    repeats: int
    held: int
    released: int
    ahead_of_cancelled: int
    dead_seq: int = 0
    set_aside: int = 0
    """Dead letters that the batch made."""
    dead_letters: int = 0
    """Dead letters that the batch made or changed."""
    rows: Sequence[tuple[TrailRow, bytes]] = ()
    """What the trail has now, with hashes: the rows as they were written."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a partition has waiting: held events and when the first is due, in log time; open dead letters."""

    held: int
    deadline_ms: int | None
    dead_letters: int


def parse_records(partition: int, records: Sequence[LogRecord], aside: Aside = NOTHING_ASIDE) -> list[LogEntry]:
    """Understands records in order; what is set aside because it killed its reader is not parsed.

    Raises RecordUnknown, naming partition and offset, at the first that only a newer release knows.
    """
    parsed: list[LogEntry] = []
    for record in records:
        read = leave_unread if aside and is_unread(aside, (record.offset, record.offset)) else read_event
        event_id = event_id_of(record.headers)
        try:
            entry = read(record.offset, record.log_ms, record.value, key=record.key, event_id=event_id)
        except RecordUnknown as error:
            raise RecordUnknown(
                f"partition {partition}, offset {record.offset}: {error}", partition=partition, offset=record.offset
            ) from error
        parsed.append(entry)
    return parsed


class Applier:
    """Applies batches of one log to one store. Holds no state of any partition."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def claim(self, partition: int) -> Cursor:
        """Where the partition stands, its row made if this is its first owner, and one more claim noted in it.

        Raises StoreUnavailable.
        """
        async with self.store.transaction() as connection:
            await create_offset_row(connection, partition)
            await raise_claims(connection, partition)
            cursor = await _present_cursor(connection, partition)
            await forget_passed(connection, partition, cursor.next)  # counted by one owner, passed by another's batch
        return cursor

    async def let_go(self, partition: int, upcoming: int) -> None:
        """The owner whose next offset is `upcoming` leaves in order: its claim no longer counts.

        Raises StoreUnavailable.
        """
        async with self.store.transaction() as connection:
            await let_go(connection, partition, upcoming)

    async def cursor(self, partition: int) -> Cursor:
        """Where the partition stands now. Raises StoreUnavailable."""
        async with self.store.reading() as connection:
            return await _present_cursor(connection, partition)

    async def waiting(self, partition: int) -> Waiting:
        """What waits in the partition. Raises StoreUnavailable."""
        own = held_events.c.partition == partition
        is_open = (dead_letters.c.partition == partition, dead_letters.c.state == DeadLetterState.OPEN.value)
        letters = select(func.count()).select_from(dead_letters).where(*is_open).scalar_subquery()
        query = select(func.count(), func.min(held_events.c.deadline_ms), letters).where(own)
        async with self.store.reading() as connection:
            return Waiting(*(await connection.execute(query)).one())

    async def apply(
        self,
        partition: int,
        records: Sequence[LogRecord],
        *,
        start: int,
        published: int,
        dead_published: int = 0,
        aside: Aside | None = None,
    ) -> Applied:
        """Applies a batch that begins at `start`, in one transaction, exactly once. Pairs `aside` are set aside; with
        them (even none) what was counted against the records that the batch passes is forgotten.

        Raises LogGap when offsets are not contiguous from `start`; PartitionLost when another worker moved on;
        RecordUnknown for a record of another release, RecordUnappliable for a batch that cannot be applied, with the
        event to blame where that is known (nothing of the batch is applied); StoreUnavailable when the store fails:
        whether the batch was committed is then unknown, and `cursor` tells.
        """
        _check_contiguous(partition, records, start)
        end, last_event_id = start + len(records), event_id_of(records[-1].headers)
        pairs = NOTHING_ASIDE if aside is None else _of_batch(aside, start, end)
        entries = parse_records(partition, records, pairs)
        async with self.store.transaction() as connection:
            ledger = await pass_fence(
                connection,
                partition,
                start=start,
                end=end,
                last_event_id=last_event_id,
                published=published,
                dead_published=dead_published,
            )
            dead_seq = ledger.dead_seq
            await load_all(connection, ledger, entries, pairs)
            decided: list[int] = []
            for entry in entries:
                decided = await _fold(connection, ledger, entry, pairs)
            await _write(connection, ledger, start, end, decided)
            if aside is not None:
                await forget_passed(connection, partition, end)
        return _summary(ledger, end, last_event_id, ledger.dead_seq - dead_seq)

    def understand(self, partition: int, record: LogRecord, aside: Aside) -> LogEntry:
        """The record, parsed unless it is `aside` because that killed the process. Raises RecordUnknown."""
        (entry,) = parse_records(partition, [record], aside)
        return entry

    async def rehearse(self, partition: int, entry: LogEntry, aside: Aside) -> Rehearsal:
        """The decisions of the next record, to be made once for nothing. May be repeated.

        Raises PartitionLost, RecordUnappliable, StoreUnavailable.
        """
        aside = _of_batch(aside, entry.offset, entry.offset + 1)
        return await Rehearsal.load(self.store, partition, entry, aside)

    async def takes(self, partition: int, record: LogRecord, aside: Aside) -> bool:
        """Whether the record can be applied with these pairs aside. Commits nothing.

        Raises PartitionLost, RecordUnknown, StoreUnavailable.
        """
        start = record.offset
        aside = _of_batch(aside, start, start + 1)
        (entry,) = parse_records(partition, [record], aside)
        async with self.store.transaction() as connection:
            trial = await connection.begin_nested()
            try:
                ledger = await pass_fence(
                    connection, partition, start=start, end=start + 1, last_event_id=None, published=0
                )
                await load_all(connection, ledger, [entry], aside)
                decided = await _fold(connection, ledger, entry, aside)
                await _write(connection, ledger, start, start + 1, decided)
            except RecordUnappliable:
                return False
            finally:
                await trial.rollback()
        return True


async def _present_cursor(connection: AsyncConnection, partition: int) -> Cursor:
    cursor = await read_cursor(connection, partition)
    if cursor is None:
        raise LogGap(f"partition {partition} has no offset row; was the store replaced while this worker ran?")
    return cursor


def _check_contiguous(partition: int, records: Sequence[LogRecord], start: int) -> None:
    for expected, record in enumerate(records, start):
        if record.offset != expected:
            raise LogGap(
                f"partition {partition}: expected offset {expected}, the log gave {record.offset}; "
                "the topic was truncated, compacted or written in transactions",
                partition=partition,
                offset=expected,
            )


def _of_batch(aside: Aside, start: int, end: int) -> Aside:
    """The pairs of these offsets in hand: a rebuild names all of its partition."""
    return {pair: failure for pair, failure in aside.items() if start <= pair[0] < end} if aside else aside


async def _fold(connection: AsyncConnection, ledger: Ledger, entry: LogEntry, aside: Aside) -> list[int]:
    """Takes a record into the ledger; which events were decided under it, in that order."""
    if isinstance(entry, LoggedControl):
        await load_more(connection, ledger, entry, aside)
    try:
        return list(fold_steps(ledger, entry, aside))
    except Exception as error:
        raise blame(ledger, entry, error) from error


async def _write(connection: AsyncConnection, ledger: Ledger, start: int, end: int, decided: Sequence[int]) -> None:
    """Writes the ledger's changes; `decided` under the last record, for whom to suspect if that record is alone."""
    try:
        await write_changes(connection, ledger)
    except Unavailable:
        raise
    except Exception as error:  # the databases and their drivers refuse values by errors of many kinds
        raise RecordUnappliable(
            f"partition {ledger.partition}, offsets {start} to {end - 1}: the store refuses a row: {describe(error)}",
            partition=ledger.partition,
            problem=describe(error),
            suspects=tuple(dict.fromkeys(reversed(decided))) if end == start + 1 else (),
        ) from error
    await write_head(connection, ledger)


def _summary(ledger: Ledger, end: int, last_event_id: str | None, set_aside: int) -> Applied:
    changes = ledger.changes
    return Applied(
        next=end,
        seq=ledger.seq,
        watermark_ms=ledger.watermark_ms,
        last_event_id=last_event_id,
        verdicts=Counter((row.verdict, row.reason) for row, _ in changes.rows if not row.inferred),
        repeats=changes.repeats,
        held=len(changes.held) + len(changes.reheld),
        released=len(changes.released),
        ahead_of_cancelled=changes.ahead_of_cancelled,
        dead_seq=ledger.dead_seq,
        set_aside=set_aside,
        dead_letters=len(changes.dead_letters),
        rows=changes.rows,
    )
