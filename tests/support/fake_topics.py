"""Where fake logs keep their records: shared by all that are opened on it, as a broker is by processes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence

from backbone.eventlog.port import Bounds, LogRecord, NewRecord, Position
from schemas.errors import LogGap, LogUnavailable
from schemas.topics import TopicSpec


class FakePartition:
    """Records with contiguous offsets; the first ones may be gone."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.first = 0
        self.records: list[LogRecord] = []

    @property
    def bounds(self) -> Bounds:
        """From the first record kept to one past the last."""
        return Bounds(self.first, self.first + len(self.records))

    def append(self, new: NewRecord, now_ms: int) -> Position:
        """Stores one record; time does not go back."""
        at = Position(new.partition, self.bounds.end, max(now_ms, self.records[-1].log_ms if self.records else 0))
        self.records.append(LogRecord(at.partition, at.offset, at.log_ms, new.key, new.value, new.headers))
        return at

    def trim(self, before: int) -> None:
        """Forgets what lies before an offset."""
        self.records = self.records[max(0, before - self.first) :]
        self.first = max(self.first, before)

    def read(self, offset: int, max_records: int) -> list[LogRecord]:
        """Records from an offset on. Raises LogGap outside the bounds."""
        start, end = self.bounds.start, self.bounds.end
        if not start <= offset <= end:
            raise LogGap(
                f"offset {offset} is outside the log, which holds {start} to {end}",
                partition=self.number,
                offset=offset,
            )
        return self.records[offset - start :][:max_records]


class FakeTopics:
    """Topics by name, and an event that is set whenever something changes."""

    def __init__(self) -> None:
        self.specs: dict[str, TopicSpec] = {}
        self.ids: dict[str, str] = {}
        self._partitions: dict[str, list[FakePartition]] = {}
        self._changed = asyncio.Event()

    def make(self, spec: TopicSpec) -> None:
        """Makes a topic that is not there yet."""
        self.specs.setdefault(spec.name, spec)
        self.ids.setdefault(spec.name, uuid.uuid4().hex)
        self._partitions.setdefault(spec.name, [FakePartition(number) for number in range(spec.partitions)])

    def delete(self, topic: str) -> None:
        """Removes a topic with all it holds."""
        del self.specs[topic], self.ids[topic], self._partitions[topic]
        self.wake()

    def partition(self, topic: str, number: int) -> FakePartition:
        """One partition. Raises LogUnavailable where there is none."""
        partitions = self._partitions.get(topic, [])
        if number >= len(partitions):
            raise LogUnavailable(f"there is no partition {number} of topic {topic}")
        return partitions[number]

    def append(self, topic: str, records: Sequence[NewRecord], now_ms: int) -> list[Position]:
        """Stores all records or none."""
        targets = [self.partition(topic, new.partition) for new in records]
        positions = [partition.append(new, now_ms) for partition, new in zip(targets, records, strict=True)]
        self.wake()
        return positions

    def all_records(self, topic: str) -> list[LogRecord]:
        """Everything in a topic, partition by partition."""
        return [record for partition in self._partitions.get(topic, []) for record in partition.records]

    def wake(self) -> None:
        """Makes everybody who waits look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def read(
        self, topic: str, wanted: Mapping[int, int], *, max_records: int, timeout: float, check: Callable[[], None]
    ) -> list[LogRecord]:
        """Records from the wanted offsets on, waiting for the first. `check` is called at every look and may raise."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + timeout
        while True:
            check()
            found: list[LogRecord] = []
            for number, offset in wanted.items():
                found += self.partition(topic, number).read(offset, max_records - len(found))
            left = give_up - loop.time()
            if found or left <= 0:
                return found
            waiter = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait([waiter], timeout=left)
            finally:
                waiter.cancel()
