"""The log as one process sees it, and the group that deals out its partitions, wrongly where the plan says so.

Records lie in the same topics for all (tests.support.fake_topics). What is added is what a broker and a network add:
appends that fail, or are stored and unanswered, or stored late; fetches that bring less than there is. The group tells
its members one thing after the other, as Kafka does, but may give a partition away long before the one who had it
learns of it, and the store's fence is then all that stands between the two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING

from backbone.eventlog.port import Bounds, LogRecord, NewRecord, OwnershipListener, Position
from schemas.errors import LogUnavailable, PartitionLost
from tests.simulation.scheduler import Process
from tests.support.fake_log import FakeLog, FakeMember
from tests.support.fake_topics import FakeTopics

if TYPE_CHECKING:
    from tests.simulation.world import World

PUBLISH_LIMIT_S = 3.0
SESSION_S = 4.0
"""A member of whom nothing is heard for so long loses its partitions to others."""
REBALANCE_S = 10.0
"""How long the group waits for a member to let go."""


class SimulatedTopics(FakeTopics):
    """Topics whose time goes back where the log's clock does, as Kafka's may when another broker takes over."""

    def append(self, topic: str, records: Sequence[NewRecord], now_ms: int) -> list[Position]:
        """Stores all records."""
        positions = []
        for new in records:
            partition = self.partition(topic, new.partition)
            at = Position(new.partition, partition.bounds.end, now_ms)
            partition.records.append(LogRecord(at.partition, at.offset, now_ms, new.key, new.value, new.headers))
            positions.append(at)
        self.wake()
        return positions


class SimulatedLog(FakeLog):
    """One process's client."""

    def __init__(self, world: World, process: Process) -> None:
        super().__init__(now_ms=world.log_ms, publish_limit_s=PUBLISH_LIMIT_S, topics=world.topics)
        self._world = world
        self._process = process
        self._running = True

    def check_up(self) -> None:
        """See the base class."""
        if self._world.log_down or self._world.over:
            raise LogUnavailable("the log is down")

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """See the port."""
        world = self._world
        fault = await world.faults.point("append")
        if world.log_down:
            await asyncio.sleep(PUBLISH_LIMIT_S)
        self.check_up()
        if not records:
            return []
        if fault is not None and fault.effect == "late":
            world.loop.call_later(
                fault.for_s, self._append_late, topic, list(records), context=world.loop.world.context
            )
        if fault is not None and fault.effect != "lose_answer":
            raise LogUnavailable("no acknowledgement in time")
        positions = world.topics.append(topic, records, world.log_ms())
        if fault is not None:
            raise LogUnavailable("no acknowledgement in time")
        await world.faults.point("appended")
        return positions

    def _append_late(self, topic: str, records: list[NewRecord]) -> None:
        self._world.note(self._process, f"what it sent to {topic} is stored now")
        self._world.topics.append(topic, records, self._world.log_ms())

    async def bounds(self, topic: str, partitions: Collection[int]) -> Mapping[int, Bounds]:
        """See the port."""
        if await self._world.faults.point("bounds") is not None:
            raise LogUnavailable("the log does not answer")
        return await super().bounds(topic, partitions)

    async def join(self, topic: str, group: str, listener: OwnershipListener) -> FakeMember:
        """See the port."""
        self.check_up()
        member = SimulatedMember(self._world, self, topic, group, listener, self._process)
        self._world.group.join(member)
        return member

    async def leave(self, member: FakeMember) -> None:
        """See the base class."""
        if isinstance(member, SimulatedMember) and not self._world.over:
            await self._world.group.leave(member)


class SimulatedMember(FakeMember):
    """A member as its process knows it: `owned` is what it believes."""

    def __init__(
        self, world: World, log: SimulatedLog, topic: str, group: str, listener: OwnershipListener, process: Process
    ) -> None:
        super().__init__(log, topic, group, listener)
        self._world = world
        self.process = process
        self.gone = False
        self._orders: asyncio.Queue[tuple[frozenset[int], asyncio.Future[None]]] = asyncio.Queue()
        self._listening = world.loop.spawn(process, self._obey())

    def tell(self, share: Callable[[frozenset[int]], frozenset[int]]) -> asyncio.Future[None]:
        """What it owns from now on, made from what it owned by what it was told before. Done when it has let go."""
        done = self._world.loop.create_future()
        self.told = share(getattr(self, "told", frozenset()))
        self._orders.put_nowait((self.told, done))
        return done

    async def _obey(self) -> None:
        while True:
            share, done = await self._orders.get()
            await self.give(share)
            if not done.done():
                done.set_result(None)

    async def fetch(self, partition: int, offset: int, *, max_records: int, timeout: float) -> list[LogRecord]:
        """See the port."""
        if await self._world.faults.point("fetch") is not None:
            raise LogUnavailable("the log does not answer")
        most = min(max_records, self._world.rng.choice((1, 2, 1000)))
        if partition not in self.owned:
            raise PartitionLost(f"partition {partition} is not ours")
        return await super().fetch(partition, offset, max_records=most, timeout=timeout)

    def end(self) -> None:
        """It hears no more."""
        self.gone = True
        self._listening.cancel()


class Group:
    """Deals the partitions out. All its doing is the world's."""

    def __init__(self, world: World, partitions: int, rng: Random) -> None:
        self._world = world
        self._rng = rng
        self.members: list[SimulatedMember] = []
        self.owner: dict[int, SimulatedMember | None] = dict.fromkeys(range(partitions))

    def join(self, member: SimulatedMember) -> None:
        """A new member gets what nobody has, and sometimes what somebody has."""
        self.members.append(member)
        for partition, owner in self.owner.items():
            if owner is None or (not self._world.healed and self._rng.random() < 0.4):
                self.move(partition, member)

    async def leave(self, member: SimulatedMember) -> None:
        """An orderly farewell: it lets go first."""
        if member not in self.members:
            return
        self.members.remove(member)
        await member.tell(lambda _: frozenset())
        member.end()
        self._share_out(member)

    def evict(self, process: Process) -> None:
        """Nothing is heard of the process: others get what it has. It learns of that when it can."""
        for member in [member for member in self.members if member.process is process]:
            if process.dead:
                self.members.remove(member)
                member.gone = True
            if not process.dead and len(self.members) == 1:
                continue
            self._share_out(member)

    def _share_out(self, member: SimulatedMember) -> None:
        for partition in [partition for partition, owner in self.owner.items() if owner is member]:
            others = [other for other in self.members if other is not member and not other.process.dead]
            if others:
                self.move(partition, self._rng.choice(others), believes_s=self._rng.choice((0.1, 1.0, 5.0)))
            else:
                self.owner[partition] = None

    def move(self, partition: int, to: SimulatedMember, *, believes_s: float = 0.0) -> None:
        """Gives a partition away. With `believes_s` the old owner learns of it so much later, else first."""
        before = self.owner[partition]
        if before is to:
            return
        self.owner[partition] = to
        loop = self._world.loop
        if before is None or before.gone:
            to.tell(lambda told: told | {partition})
        elif believes_s:
            to.tell(lambda told: told | {partition})
            loop.call_later(believes_s, self._tell_lost, partition, before, context=loop.world.context)
        else:
            loop.spawn(loop.world, self._move_orderly(partition, before, to))

    async def _move_orderly(self, partition: int, before: SimulatedMember, to: SimulatedMember) -> None:
        await asyncio.wait((before.tell(lambda told: told - {partition}),), timeout=REBALANCE_S)
        if self.owner[partition] is to and not to.gone:
            to.tell(lambda told: told | {partition})

    def _tell_lost(self, partition: int, member: SimulatedMember) -> None:
        if not member.gone and self.owner[partition] is not member:
            member.tell(lambda told: told - {partition})

    def heal(self) -> None:
        """Every partition has one owner that runs, and nobody else believes to be it."""
        alive = [member for member in self.members if not member.process.dead and not member.gone]
        for partition, owner in self.owner.items():
            if owner not in alive and alive:
                self.owner[partition] = self._rng.choice(alive)
        for member in alive:
            own = frozenset(partition for partition, owner in self.owner.items() if owner is member)
            member.tell(lambda _, own=own: own)  # type: ignore[misc]
