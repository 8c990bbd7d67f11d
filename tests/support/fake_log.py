"""An event log in memory that keeps the port's promises, and can be told to be down or slow.

It stands in where a test is about something else; the contract suite holds it against the same promises as the real
ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from backbone.eventlog.port import Bounds, LogRecord, NewRecord, OwnershipListener, Position
from backbone.eventlog.publishing import MAX_RECORD_BYTES, PUBLISH_WINDOW_BYTES, PublishWindow
from schemas.errors import LogUnavailable, PartitionLost, TopicMisconfigured
from schemas.topics import TopicSpec
from tests.support.fake_topics import FakeTopics

_log = structlog.get_logger("tests.fake_log")


class FakeLog:
    """`down` refuses everything; `stalled` lets appends wait for the publish limit, after which they are unknown.

    Logs on the same `topics` see the same records; groups are each log's own.
    """

    def __init__(
        self,
        *,
        now_ms: Callable[[], int],
        publish_limit_s: float = 3.0,
        publish_window: int = 4096,
        topics: FakeTopics | None = None,
    ) -> None:
        self._now_ms = now_ms
        self._publish_limit_s = publish_limit_s
        self._window = PublishWindow(records=publish_window, size=PUBLISH_WINDOW_BYTES, record_limit=MAX_RECORD_BYTES)
        self.topics = topics if topics is not None else FakeTopics()
        self._groups: dict[tuple[str, str], list[FakeMember]] = {}
        self._running = False
        self.down = False
        self.stalled = False

    @property
    def unresolved(self) -> int:
        """See the port."""
        return self._window.records

    def check_up(self) -> None:
        """Raises LogUnavailable unless it runs and is not down."""
        if self.down or not self._running:
            raise LogUnavailable("the fake log is down")

    async def start(self) -> None:
        """See the port."""
        if self.down:
            raise LogUnavailable("the fake log is down")
        self._running = True

    async def stop(self) -> None:
        """See the port."""
        self._running = False
        self.topics.wake()
        for member in [member for members in self._groups.values() for member in members]:
            await member.stop()

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """See the port."""
        self.check_up()
        for spec in specs:
            self.topics.make(spec)
        await self.check_topics(specs)

    async def check_topics(self, specs: Sequence[TopicSpec], *, may_have_grown: bool = False) -> None:
        """See the port."""
        self.check_up()
        for spec in specs:
            there = self.topics.specs.get(spec.name)
            if there is None:
                raise TopicMisconfigured(f"topic {spec.name} is missing")
            has_grown = may_have_grown and there.partitions > spec.partitions
            if there.partitions != spec.partitions and not has_grown:
                raise TopicMisconfigured(
                    f"topic {spec.name} has {there.partitions} partitions instead of {spec.partitions}"
                )
            if there.settings != spec.settings or there.replication != spec.replication:
                raise TopicMisconfigured(f"topic {spec.name} has other settings")

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """See the port; a call is atomic."""
        if not self.stalled:
            self.check_up()
        if not records:
            return []
        sizes = self._window.take(records)
        try:
            if self.stalled:
                await asyncio.sleep(self._publish_limit_s)
                raise LogUnavailable("no acknowledgement in time")
            await asyncio.sleep(0)  # others get their turn while a call is under way, as with a real log
            return self.topics.append(topic, records, self._now_ms())
        finally:
            for size in sizes:
                self._window.give_back(size)

    def records(self, topic: str) -> list[LogRecord]:
        """Everything in a topic, partition by partition."""
        return self.topics.all_records(topic)

    async def bounds(self, topic: str, partitions: Collection[int]) -> Mapping[int, Bounds]:
        """See the port."""
        self.check_up()
        return {partition: self.topics.partition(topic, partition).bounds for partition in partitions}

    async def identity(self, topic: str) -> str | None:
        """See the port."""
        self.check_up()
        if topic not in self.topics.ids:
            raise LogUnavailable(f"there is no topic {topic}")
        return self.topics.ids[topic]

    async def join(self, topic: str, group: str, listener: OwnershipListener) -> FakeMember:
        """See the port."""
        self.check_up()
        if topic not in self.topics.specs:
            raise TopicMisconfigured(f"topic {topic} is missing")
        member = FakeMember(self, topic, group, listener)
        self._groups.setdefault((topic, group), []).append(member)
        await self._rebalance(topic, group)
        return member

    async def leave(self, member: FakeMember) -> None:
        """Takes a member out of its group and shares its partitions among the others."""
        members = self._groups[member.topic, member.group]
        if member in members:
            members.remove(member)
            await member.give(frozenset())
            await self._rebalance(member.topic, member.group)

    async def _rebalance(self, topic: str, group: str) -> None:
        """Shares the partitions evenly; what moves is lost before it is gained."""
        members = self._groups[topic, group]
        count = self.topics.specs[topic].partitions
        shares = [frozenset(range(index, count, len(members))) for index in range(len(members))]
        for member, share in zip(members, shares, strict=True):
            await member.give(member.owned & share)
        for member, share in zip(members, shares, strict=True):
            await member.give(share)

    async def tail(self, topic: str, start: Mapping[int, int]) -> FakeTail:
        """See the port."""
        self.check_up()
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
        self._log.topics.wake()
        if lost:
            try:
                await self._listener.lost(lost)
            except Exception:  # noqa: BLE001 - as the real ones: whatever it is, it is logged
                _log.exception("listener_failed_to_let_go", partitions=sorted(lost))
        if gained:
            try:
                self._listener.gained(gained)
            except Exception:  # noqa: BLE001
                _log.exception("listener_failed_to_take", partitions=sorted(gained))

    async def fetch(self, partition: int, offset: int, *, max_records: int, timeout: float) -> list[LogRecord]:
        """See the port."""

        def check() -> None:
            if partition not in self.owned:
                raise PartitionLost(f"partition {partition} is not ours")
            self._log.check_up()

        wanted = {partition: offset}
        return await self._log.topics.read(self.topic, wanted, max_records=max_records, timeout=timeout, check=check)

    async def stop(self) -> None:
        """See the port."""
        await self._log.leave(self)


class FakeTail:
    """A tail reader of the fake log."""

    def __init__(self, log: FakeLog, topic: str, start: Mapping[int, int]) -> None:
        self._log = log
        self._topic = topic
        self._next = dict(start)
        self._stopped = False

    async def read(self, *, max_records: int, timeout: float) -> list[LogRecord]:
        """See the port."""
        found = await self._log.topics.read(
            self._topic, self._next, max_records=max_records, timeout=timeout, check=self._check
        )
        for record in found:
            self._next[record.partition] = record.offset + 1
        return found

    async def stop(self) -> None:
        """See the port."""
        self._stopped = True
        self._log.topics.wake()

    def _check(self) -> None:
        if self._stopped:
            raise LogUnavailable("this reader is stopped")
        self._log.check_up()
