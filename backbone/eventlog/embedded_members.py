"""Who reads the embedded log: the one group member, and tail readers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from backbone.eventlog.embedded_reader import EmbeddedReader
from backbone.eventlog.port import LogRecord, OwnershipListener
from schemas.errors import LogUnavailable, PartitionLost

log = structlog.get_logger("mealtrail.eventlog")

_LOST_BOUND = 15.0  # seconds that the listener's `lost` may take


class EmbeddedGroupMember:
    """See `GroupMember`. Owns all partitions from `start` to `stop`."""

    def __init__(
        self, reader: EmbeddedReader, topic: str, group: str, partitions: list[int], listener: OwnershipListener
    ) -> None:
        self._reader = reader
        self._topic = topic
        self._group = group
        self._partitions = partitions
        self._listener = listener
        self._owning = False
        self._stopping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Gains everything."""
        self._owning = True
        log.info("partitions_gained", group=self._group, topic=self._topic, partitions=self._partitions)
        try:
            self._listener.gained(self._partitions)
        except Exception:
            log.exception(
                "listener_failed_to_take", partitions=self._partitions, note="they are owned and not worked on"
            )

    async def fetch(self, partition: int, offset: int, *, max_records: int, timeout: float) -> list[LogRecord]:
        """See `GroupMember.fetch`."""
        self._check_owned(partition)
        key = (self._topic, partition)
        loop = asyncio.get_running_loop()
        give_up = loop.time() + timeout
        while True:
            with self._reader.watch([key]) as changed:
                records: list[LogRecord] = []
                if loop.time() >= give_up or not self._reader.is_at_end(key, offset):
                    records = await self._reader.records([(key, offset)], max_records)
                    self._check_owned(partition)
                left = give_up - loop.time()
                if records or left <= 0:
                    return records
                await asyncio.wait([changed], timeout=left)
            self._check_owned(partition)

    async def stop(self) -> None:
        """See `GroupMember.stop`."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(), name=f"embedded-member-stop-{self._group}")
        await asyncio.shield(self._stopping)

    async def _stop(self) -> None:
        self._owning = False
        self._reader.wake([(self._topic, partition) for partition in self._partitions])
        try:
            async with asyncio.timeout(_LOST_BOUND):
                await self._listener.lost(self._partitions)
        except TimeoutError:
            log.error("listener_cut_off", partitions=self._partitions, problem="it does not let go in time")  # noqa: TRY400
        except Exception:
            log.exception("listener_failed_to_let_go", partitions=self._partitions)

    def _check_owned(self, partition: int) -> None:
        if not self._owning or partition not in self._partitions:
            raise PartitionLost(f"{self._topic}/{partition} is not ours")


class EmbeddedTail:
    """See `TailReader`. One read at a time."""

    def __init__(self, reader: EmbeddedReader, topic: str, start: Mapping[int, int]) -> None:
        self._reader = reader
        self._topic = topic
        self._next = dict(start)
        self._stopped = False

    async def read(self, *, max_records: int, timeout: float) -> list[LogRecord]:
        """See `TailReader.read`."""
        keys = [(self._topic, partition) for partition in self._next]
        loop = asyncio.get_running_loop()
        give_up = loop.time() + timeout
        while True:
            with self._reader.watch(keys) as changed:
                self._check_reading()
                wanted = [((self._topic, partition), offset) for partition, offset in self._next.items()]
                if loop.time() < give_up:
                    wanted = [one for one in wanted if not self._reader.is_at_end(*one)]
                records = await self._reader.records(wanted, max_records) if wanted else []
                left = give_up - loop.time()
                if records or left <= 0:
                    self._remember(records)
                    return records
                await asyncio.wait([changed], timeout=left)

    async def stop(self) -> None:
        """See `TailReader.stop`."""
        self._stopped = True
        self._reader.wake([(self._topic, partition) for partition in self._next])

    def _check_reading(self) -> None:
        if self._stopped:
            raise LogUnavailable("this reader is stopped")

    def _remember(self, records: list[LogRecord]) -> None:
        for record in records:
            # Put in again at the end: a partition that was read waits for the others the next time.
            self._next.pop(record.partition)
            self._next[record.partition] = record.offset + 1
