"""Whether a partition's store and the topics that it is published to have come apart, looked at before its first batch.

They do when a store comes back from a backup, or was made by a rebuild some time ago: then the topics are ahead. And
when a topic lost its end, or was deleted and made anew: then it is behind. What is done about it:

    dead letters ahead   the log must not be decided anew where something was set aside, or the trail would fork under
                         numbers that readers have seen. So the listed pairs are set aside again (`listed_applier`),
                         under the numbers that they have
    outcomes ahead       nothing: the same rows come again under the same numbers, and readers drop them
    either behind        published again from what the topic has: the rows are in the store

Each topic's id is kept per partition, as partitions find out on their own. A topic with another id than the remembered
one that does not begin with the first row is published again from there, since nobody knows what is missing within.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog
from sqlalchemy import update

from backbone.eventlog.port import EventLog
from backbone.store.engine import Store
from backbone.store.kept_settings import OUTCOMES_TOPIC_ID, forget_within, keep_within, kept_setting
from backbone.store.tables import offsets
from consumers.dead_letter import NOTHING_ASIDE, Aside
from consumers.offset_rows import Cursor, read_cursor
from consumers.published_tails import first_number, highest_number
from consumers.rebuild_list import read_list
from schemas.errors import HistoryLost, LogGap, RebuildRefused
from schemas.topics import TopicNames

_log = structlog.get_logger("mealtrail.consumers")
NEAR_END = 100
"""Dead letters among which repeats cannot hide the last one: several batches of a relay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a partition stands between store and topics."""

    cursor: Cursor
    """As the store has it now."""
    outcomes: int
    """The last row that the outcomes topic has for sure."""
    dead_letters: int
    """The last dead letter that the dead-letters topic has for sure."""
    listed: Aside = field(default_factory=lambda: NOTHING_ASIDE)
    """Pairs that were set aside further on, in the order of their numbers, which follow the cursor's."""


class PublishedTopics:
    """Looks at one log and one store. Remembers nothing itself."""

    def __init__(self, log: EventLog, store: Store, names: TopicNames) -> None:
        self._log = log
        self._store = store
        self._names = names

    async def look(self, partition: int, cursor: Cursor) -> Standing:
        """For a partition that has `cursor`, once its log is known to be the right one. May be repeated.

        Raises HistoryLost where the list of dead letters cannot be followed; LogUnavailable, StoreUnavailable.
        """
        outcomes = await self._outcomes(partition, cursor.published)
        last = await highest_number(self._log, self._names.dead_letters, partition, near_end=NEAR_END)
        # The topic first, the store after: what another owner published by then had been committed before.
        async with self._store.reading() as connection:
            now = await read_cursor(connection, partition)
        if now is None:
            raise LogGap(f"partition {partition} has no offset row; was the store replaced while this worker ran?")
        dead = cursor.dead_published if last is None else min(cursor.dead_published, last)
        if dead < cursor.dead_published:
            _warn("dead_letters_topic_behind", partition, cursor.dead_published, dead)
        listed = NOTHING_ASIDE
        if last is not None and last > now.dead_seq:
            listed = await self._listed(partition, now, last)
        return Standing(cursor=now, outcomes=outcomes, dead_letters=dead, listed=listed)

    async def _listed(self, partition: int, cursor: Cursor, last: int) -> Aside:
        """The pairs that the topic has and the store not yet. All of them must lie ahead."""
        try:
            listed = await read_list(self._log, self._names.dead_letters, partition, after=cursor.dead_seq)
        except RebuildRefused as error:
            raise _history_lost(partition, str(error)) from error
        if passed := [in_hand for in_hand, _ in listed if in_hand < cursor.next]:
            raise _history_lost(
                partition,
                f"the store has applied offset {passed[0]}, where something was set aside as the published list of "
                "dead letters has it, without setting it aside",
            )
        _log.warning(
            "dead_letters_followed",
            partition=partition,
            next=cursor.next,
            first=cursor.dead_seq + 1,
            last=last,
            until=max(in_hand for in_hand, _ in listed),
        )
        return listed

    async def _outcomes(self, partition: int, published: int) -> int:
        """How far the outcomes topic has the partition's rows for sure."""
        topic, name = self._names.outcomes, f"{OUTCOMES_TOPIC_ID}.{partition}"
        found = await self._log.identity(topic)
        known = await kept_setting(self._store, name)
        last = await highest_number(self._log, topic, partition, enough=published)
        there = published if last is None else min(published, last)
        if found is not None and known is not None and known != found:
            if await first_number(self._log, topic, partition) != 1:
                there = 0
            _log.warning(
                "outcomes_topic_replaced", partition=partition, known=known, found=found, published_again_after=there
            )
        elif there < published:
            _warn("outcomes_topic_behind", partition, published, there)
        if found is not None and known != found:
            await self._remember(partition, name, found, there)
        return there

    async def _remember(self, partition: int, name: str, topic_id: str, there: int) -> None:
        """The topic's id, together with how far that topic has the rows: a worker that dies now leaves both or none."""
        async with self._store.transaction() as connection:
            await forget_within(connection, name)
            await keep_within(connection, self._store, name, topic_id)
            ahead = (offsets.c.partition == partition, offsets.c.published > there)
            await connection.execute(update(offsets).where(*ahead).values(published=there))


def _warn(event: str, partition: int, published: int, there: int) -> None:
    _log.warning(event, partition=partition, acknowledged=published, published_again_after=there)


def _history_lost(partition: int, problem: str) -> HistoryLost:
    return HistoryLost(
        f"partition {partition}: {problem}. The store is an older one than its topics, and going on could decide "
        "otherwise than what was published. Run `mealtrail rebuild` into an empty store. See docs/runbook.md, "
        "history_lost"
    )
