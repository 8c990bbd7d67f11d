"""The decisions of one record, made once for nothing: on a ledger that is thrown away.

Whoever rehearses is told before each step what it may die of, and counts that first (`consumers.lone_record`). A replay
has one step more than its decisions: where only the bytes of the dead letter tell what the ledger must hold, they are
parsed before anything is decided.

What is loaded for a record that is folded in earnest is loaded here too, and its failures are told in the same words.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.engine import Store
from consumers.blame import blame, describe
from consumers.dead_letter import Aside
from consumers.fold import fold_steps
from consumers.ledger import Ledger
from consumers.ledger_reading import load_ledger, load_receipts
from consumers.logged_event import LogEntry, LoggedControl, LoggedEvent
from consumers.offset_rows import read_cursor
from consumers.parking import letter_to_read
from consumers.setting_aside import InHand
from consumers.waiting_rows import count_held
from schemas.errors import PartitionLost, RecordUnappliable, RecordUnknown, Unavailable
from schemas.records import ReplayRecord


class Rehearsal:
    """One record's rehearsal. `replayed` is where the event was logged whose bytes `read` parses, if any have to be."""

    def __init__(self, store: Store, ledger: Ledger, entry: LogEntry, aside: Aside) -> None:
        self._store = store
        self._ledger = ledger
        self._entry = entry
        self._aside = aside
        self._steps = fold_steps(ledger, entry, aside)
        self.replayed: int | None = None
        if isinstance(entry, LoggedControl) and isinstance(entry.record, ReplayRecord):
            letter = letter_to_read(ledger, InHand(entry.offset, aside), entry.record)
            self.replayed = None if letter is None else letter.event_offset

    @classmethod
    async def load(cls, store: Store, partition: int, entry: LogEntry, aside: Aside) -> Rehearsal:
        """With all that the record may ask for, but for what `read` finds. Raises PartitionLost, RecordUnappliable,
        StoreUnavailable; may be repeated.
        """
        async with store.reading() as connection:
            cursor = await read_cursor(connection, partition)
            if cursor is None or cursor.next != entry.offset:
                raise PartitionLost(f"partition {partition}: another worker has moved past offset {entry.offset}")
            ledger = Ledger(
                partition=partition, watermark_ms=cursor.watermark_ms, seq=cursor.seq, dead_seq=cursor.dead_seq
            )
            await load_all(connection, ledger, [entry], aside)
        return cls(store, ledger, entry, aside)

    async def read(self) -> None:
        """Parses the bytes that are replayed, and loads what they tell of. Before the first step; may be repeated.

        Raises RecordUnappliable, RecordUnknown, StoreUnavailable.
        """
        async with self._store.reading() as connection:
            await load_more(connection, self._ledger, self._entry, self._aside)

    def step(self) -> int | None:
        """Makes the decision that the call before announced, and tells the offset of the next event to decide, or None
        after the last. Raises RecordUnappliable, RecordUnknown.
        """
        try:
            return next(self._steps, None)
        except Exception as error:
            raise blame(self._ledger, self._entry, error) from error


async def load_all(connection: AsyncConnection, ledger: Ledger, entries: Sequence[LogEntry], aside: Aside) -> None:
    """What folding the entries can ask for, but for `load_more`. Raises RecordUnappliable, RecordUnknown,
    StoreUnavailable.
    """
    loading = load_ledger(connection, ledger, entries, last_log_ms=max(entry.log_ms for entry in entries), aside=aside)
    await _load(loading, ledger, entries)


async def load_more(connection: AsyncConnection, ledger: Ledger, entry: LogEntry, aside: Aside) -> None:
    """What the replay of a record asks for that could not be read when it was set aside, and perhaps can by now.

    To be called right before `entry` is folded: only then is it known whether those bytes will be parsed. Nobody has
    touched these rows in the batch so far, or they would be loaded. Raises as `load_all` does.
    """
    await _load(_load_replayed(connection, ledger, entry, aside), ledger, [entry])


async def _load_replayed(connection: AsyncConnection, ledger: Ledger, entry: LogEntry, aside: Aside) -> None:
    if not isinstance(entry, LoggedControl) or not isinstance(entry.record, ReplayRecord):
        return
    letter = letter_to_read(ledger, InHand(entry.offset, aside), entry.record)
    original = None if letter is None else letter.original()
    if letter is None or not isinstance(original, LoggedEvent) or original.order_key != letter.order_key:
        return
    uid = original.record.source.uid
    if uid not in ledger.held_by_source:
        ledger.held_by_source.update(await count_held(connection, ledger.partition, {uid}))
    if original.receipt_key not in ledger.receipts:
        await load_receipts(connection, ledger, {original.receipt_key})


async def _load(loading: Awaitable[None], ledger: Ledger, entries: Sequence[LogEntry]) -> None:
    try:
        await loading
    except (Unavailable, RecordUnknown):
        raise
    except Exception as error:
        first, last = entries[0].offset, entries[-1].offset
        raise RecordUnappliable(
            f"partition {ledger.partition}, offsets {first} to {last}: what they need cannot be loaded: "
            f"{describe(error)}",
            partition=ledger.partition,
            problem=describe(error),
        ) from error
