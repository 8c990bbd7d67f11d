"""Whether the log is the one that this store was filled from, looked at from all sides before anything is applied.

A store remembers its log in three ways, and each catches what the others cannot. The *topic's own id* (kept from the
first sight of it) changes when the topic is deleted and made anew, whatever is in it. The *bounds* must contain `next`:
a log that is shorter lost its end, one that begins later lost records that nobody applied. The *record before `next`*,
where the log still has it, must carry the remembered event id: a topic that kept its id may have lost its tail and
grown another one, or come back from an older backup.

Beside that, nobody works on a store whose rebuild has not ended, nor on an empty one whose outcomes were published:
its database was lost, and applying the log again without the dead letters could decide otherwise. docs/runbook.md has
a section for each of these.
"""

from __future__ import annotations

from sqlalchemy import select

from backbone.eventlog.port import Bounds, EventLog, GroupMember
from backbone.eventlog.received import event_id_of
from backbone.store.engine import Store
from backbone.store.kept_settings import PARTITIONS, REBUILD, RECEIVED_TOPIC_ID, all_kept_within, keep_setting
from backbone.store.tables import offsets
from consumers.offset_rows import Cursor
from schemas.errors import (
    HistoryLost,
    LogGap,
    LogMismatch,
    LogReplaced,
    LogUnavailable,
    PartitionSetInvalid,
    StoreRebuilding,
)
from schemas.topics import TopicNames

READ_S = 1.0


class LogIdentity:
    """Compares one log with one store. Remembers nothing itself: the store does."""

    def __init__(self, log: EventLog, store: Store, names: TopicNames) -> None:
        self._log = log
        self._store = store
        self._names = names

    async def check_process(self, partitions: int) -> None:
        """For a process that starts, and for readiness: the log as a whole. May be repeated.

        A store that does not know its log yet takes this one for its own. Raises StoreRebuilding, LogMismatch,
        HistoryLost; LogUnavailable, StoreUnavailable.
        """
        kept = await self._kept()
        _refuse_rebuilding(kept)
        found = await self._log.identity(self._names.received)
        if found is not None:
            known = kept.get(RECEIVED_TOPIC_ID) or await keep_setting(self._store, RECEIVED_TOPIC_ID, found)
            if known != found:
                raise LogMismatch(
                    f"the topic {self._names.received} is not the one that this store was filled from (it is {found}, "
                    f"the store remembers {known}): the topic was made anew, or log and store belong to two "
                    "deployments. Correct the settings, or see docs/runbook.md, log_replaced and log_mismatch"
                )
        # The topic first, the store after: what was published by then had been committed before.
        published = await self._log.bounds(self._names.outcomes, range(partitions))
        async with self._store.reading() as connection:
            rows = await connection.execute(select(offsets.c.partition, offsets.c.next).where(offsets.c.next > 0))
            begun = {row.partition for row in rows}
        lost = [number for number, bounds in sorted(published.items()) if bounds.end > 0 and number not in begun]
        if lost:
            raise _history_lost(lost)

    async def is_same_topic(self) -> bool:
        """Whether the received topic is still the remembered one; true where that cannot be told. For a look now and
        then. Raises LogUnavailable, StoreUnavailable.
        """
        known = (await self._kept()).get(RECEIVED_TOPIC_ID)
        return known is None or await self._log.identity(self._names.received) in {None, known}

    async def check_partition(self, member: GroupMember, partition: int, cursor: Cursor) -> None:
        """For a partition before its first batch, and whenever log or worker were away. May be repeated.

        Raises LogGap, LogReplaced, PartitionSetInvalid, StoreRebuilding, HistoryLost; LogUnavailable, StoreUnavailable.
        """
        kept = await self._kept()
        _refuse_rebuilding(kept)
        _refuse_partition(kept, partition)
        found = await self._log.identity(self._names.received)
        known = kept.get(RECEIVED_TOPIC_ID)
        if known is not None and found is not None and found != known:
            raise LogReplaced(
                f"partition {partition}: the topic {self._names.received} was made anew (it is {found}, the store "
                f"remembers {known}). Nothing of it was applied. See docs/runbook.md, log_replaced and log_mismatch",
                partition=partition,
            )
        bounds = (await self._log.bounds(self._names.received, [partition]))[partition]
        _refuse_gap(partition, cursor, bounds)
        if cursor.next == 0:
            await self._refuse_lost_history(partition)
        elif cursor.next - 1 >= bounds.start and cursor.last_event_id is not None:
            await self._compare_record(member, partition, cursor)

    async def _compare_record(self, member: GroupMember, partition: int, cursor: Cursor) -> None:
        before = await member.fetch(partition, cursor.next - 1, max_records=1, timeout=READ_S)
        if not before:
            raise LogUnavailable("the record before the next one did not come")
        if event_id_of(before[0].headers) != cursor.last_event_id:
            raise LogReplaced(
                f"partition {partition}: the record at offset {cursor.next - 1} is not the one that was applied. The "
                "topic was refilled, or its tail was lost and written again. See docs/runbook.md, log_replaced and "
                "log_mismatch",
                partition=partition,
                offset=cursor.next - 1,
            )

    async def _refuse_lost_history(self, partition: int) -> None:
        if (await self._log.bounds(self._names.outcomes, [partition]))[partition].end == 0:
            return
        async with self._store.reading() as connection:  # another owner may have begun since our cursor was read
            begun = await connection.scalar(select(offsets.c.next).where(offsets.c.partition == partition))
        if not begun:
            raise _history_lost([partition])

    async def _kept(self) -> dict[str, str]:
        async with self._store.reading() as connection:
            return await all_kept_within(connection)


def _refuse_rebuilding(kept: dict[str, str]) -> None:
    if REBUILD in kept:
        raise StoreRebuilding(
            "a rebuild of this store was begun and has not ended: wait for it, or run `mealtrail rebuild` again, which "
            "goes on where it stopped. See docs/runbook.md, store_rebuilding"
        )


def _refuse_partition(kept: dict[str, str], partition: int) -> None:
    count = kept.get(PARTITIONS)
    if count is not None and partition >= int(count):
        raise PartitionSetInvalid(
            f"partition {partition}: the log was made with {count} partitions, and the topic has more now. Orders live "
            "in a partition for good. See docs/runbook.md, partition_set_invalid"
        )


def _refuse_gap(partition: int, cursor: Cursor, bounds: Bounds) -> None:
    if bounds.start <= cursor.next <= bounds.end:
        return
    if cursor.next > bounds.end:
        what = (
            "the log is shorter than what was applied: it lost its end, came back from an older backup or was made anew"
        )
    else:
        what = f"{bounds.start - cursor.next} records expired or were deleted before they were applied"
    raise LogGap(
        f"partition {partition}: the store wants offset {cursor.next}, the log holds {bounds.start} to {bounds.end}: "
        f"{what}; or the store is another deployment's. See docs/runbook.md, log_gap",
        partition=partition,
        offset=cursor.next,
    )


def _history_lost(partitions: list[int]) -> HistoryLost:
    names = ", ".join(map(str, partitions))
    return HistoryLost(
        f"the store has applied nothing of partitions {names}, and their outcomes were published: its database was "
        "lost, or this is another one's. Run `mealtrail rebuild`. See docs/runbook.md, history_lost"
    )
