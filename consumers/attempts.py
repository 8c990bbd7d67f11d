"""Failed tries of a decision, counted in the store before each further one: one that kills the process counts too.

Counting is a transaction of its own: it must outlive the failure of the one that applies. It moves no offset, so it is
no fence; instead every count asks, in the same statement, that the partition's offset still is the one in hand, and
holds that row until it commits. A worker that lost its partition counts nothing.

Counts are written as they are to be and never added to, so that one whose answer was lost can be written again.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Text, delete, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.bulk import delete_rows, insert_into
from backbone.store.engine import Store
from backbone.store.tables import attempts, dead_letters, held_events, offsets
from consumers.dead_letter import Failure, Pair
from schemas.errors import PartitionLost

PROCESS_DIED = "process_died"
"""The error of a try of which nothing was heard again."""


class Begun(NamedTuple):
    """What is counted against a pair before it is begun, and what it goes back to once that went well."""

    pair: Pair
    counted: Failure
    earlier: Failure | None
    """None: nothing."""


class AttemptRepository:
    """The counted tries of one partition. All methods raise StoreUnavailable and may be repeated."""

    def __init__(self, store: Store, partition: int) -> None:
        self._store = store
        self._partition = partition

    async def of(self, in_hand: int) -> dict[int, Failure]:
        """What was counted while the record at `in_hand` was applied, by the event's offset."""
        query = select(attempts.c.event_offset, attempts.c.attempts, attempts.c.error).where(
            attempts.c.partition == self._partition, attempts.c.in_hand_offset == in_hand
        )
        async with self._store.reading() as connection:
            return {row[0]: Failure(row[2] or PROCESS_DIED, row[1]) for row in await connection.execute(query)}

    async def order_of(self, event_offset: int) -> str | None:
        """The order of an event that waits or was set aside, for people; None where none is known at that offset."""
        held, letters = held_events.c, dead_letters.c
        waiting = select(held.order_id).where(held.partition == self._partition, held.offset == event_offset)
        aside = select(letters.order_id).where(
            letters.partition == self._partition, letters.event_offset == event_offset
        )
        async with self._store.reading() as connection:
            found: str | None = await connection.scalar(waiting)
            return found if found is not None else await connection.scalar(aside.limit(1))

    async def is_any_at(self, upcoming: int) -> bool:
        """Whether tries were counted at this offset or later ones: somebody was stopped in the middle of them."""
        query = select(attempts.c.in_hand_offset).where(
            attempts.c.partition == self._partition, attempts.c.in_hand_offset >= upcoming
        )
        async with self._store.reading() as connection:
            return await connection.scalar(query.limit(1)) is not None

    async def note(self, pair: Pair, failure: Failure, *, ended: Begun | None = None) -> None:
        """Writes what counts against the pair from now on, and takes back in the same transaction what has `ended`.

        Raises PartitionLost when the partition's offset is not the one in hand: nothing is changed then.
        """
        async with self._store.transaction() as connection:
            if ended is not None:
                await self._take_back(connection, ended)
            await self._write(connection, pair, failure)

    async def take_back(self, *begun: Begun) -> None:
        """What was counted beforehand counts no longer, unless somebody else has counted since."""
        async with self._store.transaction() as connection:
            for one in begun:
                await self._take_back(connection, one)

    async def forget(self, in_hand: int) -> None:
        """Whoever tries the record at `in_hand` next starts counting anew."""
        own = {"partition": self._partition}
        async with self._store.transaction() as connection:
            await delete_rows(connection, attempts, fixed=own, many=("in_hand_offset", [in_hand]))

    async def _take_back(self, connection: AsyncConnection, begun: Begun) -> None:
        """Whoever owned the partition and thawed takes back nothing that its successor counts: another number."""
        stands = (
            *self._is(begun.pair),
            attempts.c.attempts == begun.counted.attempts,
            attempts.c.error == begun.counted.error,
        )
        if begun.earlier is None:
            await connection.execute(delete(attempts).where(*stands))
            return
        values = {"attempts": begun.earlier.attempts, "error": begun.earlier.error}
        await connection.execute(update(attempts).where(*stands).values(values))

    async def _write(self, connection: AsyncConnection, pair: Pair, failure: Failure) -> None:
        numbers = (literal(number, BigInteger) for number in (self._partition, *pair, failure.attempts))
        still_ours = (
            select(*numbers, literal(failure.error, Text))
            .where(offsets.c.partition == self._partition, offsets.c.next == pair[0])
            .with_for_update(read=True, of=offsets)  # left out on SQLite, which has one writer at a time
        )
        names = ["partition", "in_hand_offset", "event_offset", "attempts", "error"]
        statement = insert_into(attempts, connection.dialect.name).from_select(names, still_ours)
        written = statement.on_conflict_do_update(
            index_elements=list(attempts.primary_key),
            set_={"attempts": statement.excluded.attempts, "error": statement.excluded.error},
        )
        if await connection.scalar(written.returning(attempts.c.attempts)) is None:
            raise PartitionLost(f"partition {self._partition}: another worker has moved past offset {pair[0]}")

    def _is(self, pair: Pair) -> tuple[ColumnElement[bool], ...]:
        return (
            attempts.c.partition == self._partition,
            attempts.c.in_hand_offset == pair[0],
            attempts.c.event_offset == pair[1],
        )


async def forget_passed(connection: AsyncConnection, partition: int, upcoming: int) -> None:
    """Deletes what was counted at offsets before `upcoming`, in a transaction that holds the offset row."""
    await connection.execute(
        delete(attempts).where(attempts.c.partition == partition, attempts.c.in_hand_offset < upcoming)
    )
