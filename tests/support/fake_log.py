"""An event log in memory that keeps the port's promises, and can be told to be down or slow.

It stands in where a test is about something else; the contract suite holds it against the real ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from backbone.eventlog.port import Bounds, LogRecord, NewRecord, OwnershipListener, Position
from schemas.errors import LogGap, LogUnavailable, PartitionLost, TopicMisconfigured
from schemas.topics import TopicSpec


class FakeLog:
    """`down` refuses everything; `stalled` lets appends wait for the publish limit, after which they are unknown."""

    def __init__(self, *, now_ms: Callable[[], int], publish_limit_s: float = 3.0) -> None:
        self._now_ms = now_ms
        self._publish_limit_s = publish_limit_s
        self._specs: dict[str, TopicSpec] = {}
        self._records: dict[str, list[list[LogRecord]]] = {}
        self._arrived = asyncio.Condition()
        self._groups: dict[tuple[str, str], list[FakeMember]] = {}
        self.down = False
        self.stalled = False

    def _check_up(self) -> None:
        if self.down:
            raise LogUnavailable("the fake log is down")

    def _topic(self, topic: str) -> list[list[LogRecord]]:
        if topic not in self._records:
            raise LogUnavailable(f"there is no topic {topic}")
        return self._records[topic]

    async def start(self) -> None:
        """See the port."""
        self._check_up()

    async def stop(self) -> None:
        """See the port."""

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """See the port."""
        self._check_up()
        for spec in specs:
            if self._specs.get(spec.name, spec) != spec:
                raise TopicMisconfigured(f"topic {spec.name} exists with other settings")
        for spec in specs:
            self._specs[spec.name] = spec
            self._records.setdefault(spec.name, [[] for _ in range(spec.partitions)])

    async def check_topics(self, specs: Sequence[TopicSpec]) -> None:
        """See the port."""
        self._check_up()
        for spec in specs:
            if self._specs.get(spec.name) != spec:
                raise TopicMisconfigured(f"topic {spec.name} is missing or differs")

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """See the port."""
        if self.stalled:
            await asyncio.sleep(self._publish_limit_s)
            raise LogUnavailable("no acknowledgement in time")
        self._check_up()
        partitions = self._topic(topic)
        positions = []
        for new in records:
            stored = partitions[new.partition]
            log_ms = max(self._now_ms(), stored[-1].log_ms if stored else 0)
            stored.append(LogRecord(new.partition, len(stored), log_ms, new.key, new.value, new.headers))
            positions.append(Position(new.partition, len(stored) - 1, log_ms))
        async with self._arrived:
            self._arrived.notify_all()
        return positions

    def records(self, topic: str) -> list[LogRecord]:
        """Everything in a topic, partition by partition."""
        return [record for partition in self._records.get(topic, []) for record in partition]

    async def bounds(self, topic: str, partitions: Collection[int]) -> Mapping[int, Bounds]:
        """See the port."""
        self._check_up()
        stored = self._topic(topic)
        return {partition: Bounds(0, len(stored[partition])) for partition in partitions}

    async def read_from(
        self, topic: str, wanted: Mapping[int, int], *, max_records: int, timeout: float
    ) -> list[LogRecord]:
        """Records from the wanted offsets on, waiting for the first."""
        stored = self._topic(topic)
        for partition, offset in wanted.items():
            if not 0 <= offset <= len(stored[partition]):
                raise LogGap(f"offset {offset} lies outside 0 to {len(stored[partition])} of partition {partition}")

        def ready() -> bool:
            return any(len(stored[partition]) > offset for partition, offset in wanted.items())

        try:
            async with asyncio.timeout(timeout), self._arrived:
                await self._arrived.wait_for(ready)
        except TimeoutError:
            return []
        self._check_up()
        found = [record for partition, offset in wanted.items() for record in stored[partition][offset:]]
        return found[:max_records]

    async def join(self, topic: str, group: str, listener: OwnershipListener) -> FakeMember:
        """See the port."""
        self._check_up()
        self._topic(topic)
        member = FakeMember(self, topic, group, listener)
        self._groups.setdefault((topic, group), []).append(member)
        await self.rebalance(topic, group)
        return member

    async def leave(self, member: FakeMember) -> None:
        """Takes a member out of its group and shares its partitions among the others."""
        members = self._groups[member.topic, member.group]
        if member in members:
            members.remove(member)
            await member.give(frozenset())
            await self.rebalance(member.topic, member.group)

    async def rebalance(self, topic: str, group: str) -> None:
        """Shares the partitions evenly; what moves is lost before it is gained."""
        members = self._groups[topic, group]
        count = len(self._topic(topic))
        shares = [frozenset(range(index, count, len(members))) for index in range(len(members))]
        for member, share in zip(members, shares, strict=True):
            await member.give(member.owned & share)
        for member, share in zip(members, shares, strict=True):
            await member.give(share)

    async def tail(self, topic: str, start: Mapping[int, int]) -> FakeTail:
        """See the port."""
        self._check_up()
        return FakeTail(self, topic, start)


class FakeMember:
    """A group member of the fake log."""

    def __init__(self, log: FakeLog, topic: str, group: str, listener: OwnershipListener) -> None:
        self._log = log
        self._listener = listener
        self.topic = topic
        self.group = group
        self.owned: frozenset[int] = frozenset()

    async def give(self, share: frozenset[int]) -> None:
        """Makes the member own exactly this share."""
        lost, gained = self.owned - share, share - self.owned
        self.owned = share
        if lost:
            await self._listener.lost(lost)
        if gained:
            self._listener.gained(gained)

    async def fetch(self, partition: int, offset: int, *, max_records: int, timeout: float) -> list[LogRecord]:
        """See the port."""
        if partition not in self.owned:
            raise PartitionLost(f"partition {partition} is not ours")
        found = await self._log.read_from(self.topic, {partition: offset}, max_records=max_records, timeout=timeout)
        if partition not in self.owned:
            raise PartitionLost(f"partition {partition} is not ours any more")
        return found

    async def stop(self) -> None:
        """See the port."""
        await self._log.leave(self)


class FakeTail:
    """A tail reader of the fake log."""

    def __init__(self, log: FakeLog, topic: str, start: Mapping[int, int]) -> None:
        self._log = log
        self._topic = topic
        self._next = dict(start)

    async def read(self, *, max_records: int, timeout: float) -> list[LogRecord]:
        """See the port."""
        found = await self._log.read_from(self._topic, self._next, max_records=max_records, timeout=timeout)
        for record in found:
            self._next[record.partition] = record.offset + 1
        return found

    async def stop(self) -> None:
        """See the port."""
