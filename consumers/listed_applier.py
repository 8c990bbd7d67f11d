"""An applier that follows a published list: what was set aside before is set aside again, and nothing else.

A store that is older than its topics meets records that were decided before. Decided anew, an event that had to be set
aside might be applied this time (by another release, or because its fault has gone), and all rows after it would carry
numbers and hashes that readers know otherwise. So while there are listed pairs ahead, every batch is applied with them,
and every trial too. Where that does not come out as listed the partition stops, with nothing more published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from backbone.eventlog.port import LogRecord
from backbone.store.engine import Store
from consumers.applier import Applied, Applier
from consumers.dead_letter import NOTHING_ASIDE, Aside
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
            aside = self._with_list(aside or {})
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

    async def rehearse(self, partition: int, record: LogRecord, aside: Aside) -> Callable[[], int | None]:
        """See `Applier.rehearse`."""
        return await super().rehearse(partition, record, self._with_list(aside))

    async def takes(self, partition: int, record: LogRecord, aside: Aside) -> bool:
        """See `Applier.takes`."""
        return await super().takes(partition, record, self._with_list(aside))

    def _with_list(self, aside: Aside) -> Aside:
        return {**aside, **self._listed} if self._listed else aside


def _history_lost(partition: int, problem: str) -> HistoryLost:
    return HistoryLost(
        f"partition {partition}: {problem}: this release decides otherwise than the one that published the list of "
        "dead letters. Install that one, or run `mealtrail rebuild` into an empty store. See docs/runbook.md, "
        "history_lost"
    )
