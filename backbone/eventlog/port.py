"""What mealtrail asks of an event log. Apache Kafka and the embedded log both give it, and one contract suite
(`tests/contract/test_eventlog.py`) runs on both, and on the fake that stands in for them in tests.

The shape in one paragraph. A topic has a fixed number of partitions; a partition is a list of records with
contiguous offsets from 0, each stamped with the log's own append time in whole milliseconds. Appending names the
partition (we compute it: `partition_of`), is batched, and returns positions only when the log has stored the records
for good. Reading comes in two kinds: a *group member* is given partitions to own and reads each from an offset that the
caller names (offsets live in the store, never in the log), and a *tail reader* reads any partitions without owning
them. Nothing here commits an offset or resets one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from schemas.cloudevents import Headers
from schemas.topics import TopicSpec


class NewRecord(NamedTuple):
    """A record to append. The log stamps offset and time."""

    partition: int
    key: bytes | None
    value: bytes
    headers: Headers = ()


class Position(NamedTuple):
    """Where an appended record lies."""

    partition: int
    offset: int
    log_ms: int


class LogRecord(NamedTuple):
    """A record as read back. A tuple, since they are made by the thousand."""

    partition: int
    offset: int
    log_ms: int
    key: bytes | None
    value: bytes
    headers: Headers


@dataclass(frozen=True, slots=True)
class Bounds:
    """The offsets a partition holds now: from `start` (inclusive) to `end` (exclusive)."""

    start: int
    end: int


class OwnershipListener(Protocol):
    """Told which partitions this group member owns. Both are called from inside the group's rebalance."""

    def gained(self, partitions: Collection[int]) -> None:
        """Partitions this member now owns. Must return at once (start tasks, await nothing)."""

    async def lost(self, partitions: Collection[int]) -> None:
        """Partitions it owns no more. May finish a batch in hand; awaited up to the rebalance timeout, no longer."""


class GroupMember(Protocol):
    """This process's share in a topic's partitions."""

    async def fetch(self, partition: int, offset: int, *, max_records: int, timeout: float) -> list[LogRecord]:
        """Records of an owned partition from exactly `offset` on, in order, at most `max_records`.

        Waits up to `timeout` seconds for the first record, then returns what is there: an empty list when nothing
        came. Partitions may be fetched side by side, one fetch a partition at a time. Repeatable: the same offset gives
        the same records. A cancelled fetch loses nothing.
        Raises PartitionLost when the partition is not ours (any more), LogGap when `offset` lies outside the log
        (the message has the bounds), LogUnavailable when the log does not answer.
        """

    async def stop(self) -> None:
        """Leaves the group (calling `lost`), bounded in time. May be repeated."""


class TailReader(Protocol):
    """Reads partitions without owning them."""

    async def read(self, *, max_records: int, timeout: float) -> list[LogRecord]:
        """Next records of all its partitions, each partition in order, at most `max_records`; waits up to `timeout`
        seconds for the first. Raises LogUnavailable, LogGap.
        """

    async def stop(self) -> None:
        """Ends reading. May be repeated."""


class EventLog(Protocol):
    """One event log. `start` before anything else; `stop` is bounded in time and may be repeated."""

    async def start(self) -> None:
        """Connects. Does not wait for topics. Raises LogUnavailable when the log does not answer in time."""

    async def stop(self) -> None:
        """Flushes what can be flushed within its bound and lets go."""

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Makes the missing topics with every setting explicit. Repeatable. Raises TopicMisconfigured where one
        exists with another number of partitions or settings, LogUnavailable.
        """

    async def check_topics(self, specs: Sequence[TopicSpec], *, may_have_grown: bool = False) -> None:
        """Raises TopicMisconfigured unless all topics are there as specified (settings too), LogUnavailable.

        With `may_have_grown` a topic may have more partitions than specified: what was to lie in those specified does.
        """

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """Stores records for good and returns their positions, in the order given.

        Records of one call that go to one partition keep their order there; a call is not atomic across partitions.
        Any number of callers may append at once; they share batches. Raises LogUnavailable when the acknowledgement
        does not come within the publish limit or the window of unresolved records is full: the outcome is then
        *unknown* (records may be stored, some or all), and the caller's event ids absorb the repeat. A cancelled
        call is unknown likewise. Raises RecordTooLarge at once, with none of the call's records stored, when one is
        over the log's size limit and could never be.
        """

    @property
    def unresolved(self) -> int:
        """Records whose append has not ended: stored, failed or given up. The publish window bounds it, but for a
        single call larger than the window. Does not block.
        """

    async def bounds(self, topic: str, partitions: Collection[int]) -> Mapping[int, Bounds]:
        """Present bounds of partitions. Raises LogUnavailable."""

    async def identity(self, topic: str) -> str | None:
        """What tells this topic from any other that ever had its name: another one once it is deleted and made anew,
        the same for all processes and for as long as it lives. None where the log cannot tell (a Kafka before 3.1).
        Raises LogUnavailable, also when there is no such topic (it may be about to be made).
        """

    async def join(self, topic: str, group: str, listener: OwnershipListener) -> GroupMember:
        """Becomes a member of the group that shares the topic's partitions."""

    async def tail(self, topic: str, start: Mapping[int, int]) -> TailReader:
        """A reader from the given offset of each partition named; ready (positions fixed) when this returns."""
