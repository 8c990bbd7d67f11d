"""Contender: mealtrail's applier alone, driven over the topic through the event log port, partition after partition.

Beside the whole worker this leaves out the publishing of outcomes, metrics and log lines, and works on one partition
at a time.

    MEALTRAIL_…=… python -m benchmarks.apply.applier
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import uvloop

from backbone.collector import BATCHES, settle
from backbone.eventlog.opening import open_event_log
from backbone.logs import configure_logs
from backbone.settings import Settings, load_settings
from backbone.store.opening import open_store
from consumers.applier import Applier


class _Owned:
    """Knows when the group has given us all partitions."""

    def __init__(self, partitions: int) -> None:
        self._missing = set(range(partitions))
        self.all = asyncio.Event()

    def gained(self, partitions: Collection[int]) -> None:
        self._missing -= set(partitions)
        if not self._missing:
            self.all.set()

    async def lost(self, partitions: Collection[int]) -> None:
        self._missing |= set(partitions)


async def apply_all(settings: Settings) -> None:
    """Applies what the topic holds, batch after batch, then waits to be killed."""
    log, store = open_event_log(settings), open_store(settings, purpose="consumer")
    await log.start()
    try:
        owned = _Owned(settings.partitions)
        group = settings.topic_prefix + settings.consumer_group
        member = await log.join(settings.topics.received, group, owned)
        await owned.all.wait()
        applier = Applier(store)
        offsets = {partition: (await applier.claim(partition)).next for partition in range(settings.partitions)}
        bounds = await log.bounds(settings.topics.received, offsets)
        while left := {partition: start for partition, start in offsets.items() if start < bounds[partition].end}:
            for partition, start in left.items():
                records = await member.fetch(partition, start, max_records=settings.batch_size, timeout=1)
                if records:
                    applied = await applier.apply(partition, records, start=start, published=0)
                    offsets[partition] = applied.next
        await asyncio.Event().wait()
    finally:
        await log.stop()
        await store.close()


def main() -> None:
    """Reads the settings and works."""
    settings = load_settings()
    configure_logs(settings)
    settle(BATCHES)  # as a worker does
    uvloop.run(apply_all(settings))


if __name__ == "__main__":
    main()
