"""An applier that follows a published list: what was set aside before is set aside again, and nothing else.

A store that is older than its topics meets records that were decided before. Decided anew, an event that had to be set
aside might be applied this time (by another release, or because its fault has gone), and all rows after it would carry
numbers and hashes that readers know otherwise. So while there are listed pairs ahead, every batch is applied with them,
and every trial too. Where that does not come out as listed the partition stops, with nothing more published.
"""

from __future__ import annotations

from collections.abc import Sequence

from backbone.eventlog.port import LogRecord
from backbone.store.engine import Store
from consumers.applier import Applied, Applier
from consumers.dead_letter import NOTHING_ASIDE, Aside, is_unread
from consumers.logged_event import LogEntry
from consumers.rehearsal import Rehearsal
from schemas.errors import HistoryLost


class ListedApplier(Applier):
    """The applier of one partition. Without a list it is an ordinary one."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._listed: Aside = NOTHING_ASIDE
        self._after = 0

    def follow(self, listed: Aside, *, after: int) -> None:
        """From now on these pairs are to be set aside, in this order, with the numbers that follow `after`."""
        self._listed, self._after = listed, after

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
        """See `Applier.apply`. Also raises HistoryLost: before the batch where another pair is to be set aside than the
        list has ahead, after it where a listed pair was not met.
        """
        if all(in_hand < start for in_hand, _ in self._listed):
            self._listed = NOTHING_ASIDE
        if self._listed:
            for pair in aside or ():
                if pair not in self._listed:
                    raise _history_lost(partition, f"offset {pair[0]} fails now and did not before")
            aside = self._with_list(partition, aside or {})
        applied = await super().apply(
            partition, records, start=start, published=published, dead_published=dead_published, aside=aside
        )
        if self._listed:
            expected = self._after + sum(1 for in_hand, _ in self._listed if in_hand < applied.next)
            if applied.dead_seq != expected:
                raise _history_lost(
                    partition,
                    f"up to offset {applied.next} {expected} events are listed as set aside, now it is "
                    f"{applied.dead_seq}",
                )
        return applied

    def understand(self, partition: int, record: LogRecord, aside: Aside) -> LogEntry:
        """See `Applier.understand`. Also raises HistoryLost, as `rehearse` and `takes` do."""
        return super().understand(partition, record, self._with_list(partition, aside))

    async def rehearse(self, partition: int, entry: LogEntry, aside: Aside) -> Rehearsal:
        """See `Applier.rehearse`."""
        return await super().rehearse(partition, entry, self._with_list(partition, aside))

    async def takes(self, partition: int, record: LogRecord, aside: Aside) -> bool:
        """See `Applier.takes`."""
        return await super().takes(partition, record, self._with_list(partition, aside))

    def _with_list(self, partition: int, aside: Aside) -> Aside:
        """All that is aside. Raises HistoryLost where the list has it that an event's bytes could be parsed, and now
        they killed the process.
        """
        if not self._listed:
            return aside
        for pair, failure in aside.items():
            if failure.forbids_reading and pair in self._listed and not is_unread(self._listed, pair):
                raise _history_lost(partition, f"what was logged at offset {pair[1]} now kills whoever parses it")
        return {**aside, **self._listed}


def _history_lost(partition: int, problem: str) -> HistoryLost:
    return HistoryLost(
        f"partition {partition}: {problem}: this release decides otherwise than the one that published the list of "
        "dead letters. Install that one, or run `mealtrail rebuild` into an empty store. See docs/runbook.md, "
        "history_lost"
    )
