"""Reading Kafka from offsets that the caller names, on one aiokafka consumer.

aiokafka keeps positions, prefetches and resets; we want none of that to decide anything. So each read compares the
consumer's position with the wanted offset and seeks when they differ (which drops what was prefetched), and what comes
back must begin at exactly that offset and be contiguous. Offsets outside the log raise, as nothing is ever reset.

aiokafka is silent when Kafka does not answer: a read just returns nothing. The reader therefore notes when it was last
answered, for each partition and in all; its owner replaces the consumer when the silence is too long (`trouble`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import cast

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError, OffsetOutOfRangeError

from backbone.eventlog import kafka_teardown as inside
from backbone.eventlog.port import Bounds, LogRecord
from schemas.cloudevents import Headers
from schemas.errors import LogGap, LogUnavailable, PartitionLost

LookUpBounds = Callable[[str, Collection[int]], Awaitable[Mapping[int, Bounds]]]

_LONE_SILENCE = 4  # a single silent partition may be Kafka's trouble: be slower to disturb the others


class OffsetDoubted(LogUnavailable):
    """Kafka says that the wanted offset lies outside the log; `confirm` looks up the bounds."""

    def __init__(self, topic: str, partition: int, offset: int) -> None:
        super().__init__(f"{topic}/{partition}: Kafka says that offset {offset} is outside the log")
        self.topic = topic
        self.partition = partition
        self.offset = offset

    async def confirm(self, look_up: LookUpBounds) -> None:
        """Raises LogGap with the bounds. Returns when the offset is inside after all (a leader that just took over),
        so that reading may be tried again. Raises LogUnavailable.
        """
        now = (await look_up(self.topic, [self.partition]))[self.partition]
        if not now.start <= self.offset <= now.end:
            raise LogGap(
                f"{self.topic}/{self.partition}: offset {self.offset} is outside the log, "
                f"which holds {now.start} to {now.end}",
                partition=self.partition,
                offset=self.offset,
            ) from self


class _Silence:
    """How long something has been read without an answer: only time spent reading counts."""

    def __init__(self) -> None:
        self.stamp: int | None = None
        self.readers = 0
        self._before = 0.0
        self._began = 0.0

    def begin(self, now: float) -> None:
        if self.readers == 0:
            self._began = now
        self.readers += 1

    def end(self, now: float) -> None:
        self.readers -= 1
        if self.readers == 0:
            self._before += now - self._began

    def break_(self, now: float) -> None:
        """An answer came."""
        self._before, self._began = 0.0, now

    def length(self, now: float) -> float:
        return self._before + (now - self._began if self.readers else 0.0)


class KafkaReader:
    """Reads partitions of one topic; several reads of different partitions may run side by side."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, *, unanswered_after: float, stall_after: float) -> None:
        self.consumer = consumer
        self._topic = topic
        self._unanswered_after = unanswered_after
        self._stall_after = stall_after
        self._silences: dict[TopicPartition, _Silence] = {}
        self._silence = _Silence()
        self._failure: str | None = None

    async def read(self, wanted: Mapping[int, int], *, max_records: int, timeout: float) -> list[LogRecord]:
        """Records from the wanted offsets on, each partition in order; an empty list when none came in `timeout`.

        Raises PartitionLost, OffsetDoubted, LogGap, LogUnavailable. A cancelled read loses nothing.
        """
        partitions = [TopicPartition(self._topic, number) for number in wanted]
        try:
            for partition in partitions:
                offset = wanted[partition.partition]
                if inside.position_of(self.consumer, partition) != offset:
                    self.consumer.seek(partition, offset)
            self.consumer.resume(*partitions)
            with self._listening(partitions):
                found = await self.consumer.getmany(
                    *partitions, timeout_ms=int(timeout * 1000), max_records=max_records
                )
        except IllegalStateError as error:
            raise PartitionLost(f"{self._topic}: {sorted(wanted)} is not assigned to this member") from error
        except OffsetOutOfRangeError as error:
            partition = next(iter(error.args[0]))
            self.consumer.pause(partition)
            raise OffsetDoubted(self._topic, partition.partition, wanted[partition.partition]) from error
        except KafkaError as error:
            self._failure = repr(error)
            raise LogUnavailable(f"reading {self._topic} failed: {error!r}") from error
        records = [
            record for partition in partitions for record in self._checked(partition, wanted, found.get(partition, ()))
        ]
        if not records:
            self._complain_of_silence(partitions)
        return records

    def trouble(self) -> str | None:
        """Why the consumer should be replaced, or None while it is well."""
        return self.fault() or self.silence()

    def fault(self) -> str | None:
        """What has gone wrong inside the consumer, which will not mend by itself."""
        if self._failure is not None:
            return self._failure
        if (dead := inside.dead_task(self.consumer)) is not None:
            return dead
        if (error := inside.pending_error(self.consumer)) is not None:
            return repr(error)
        return None

    def silence(self) -> str | None:
        """Whether Kafka has not answered for too long: its fault or the consumer's, which cannot be told from here."""
        now = asyncio.get_running_loop().time()
        self._listen(list(self._silences), now)
        if (length := self._silence.length(now)) > self._stall_after:
            return f"Kafka has answered no fetch in {length:.0f} s"
        for partition, silence in self._silences.items():
            if silence.length(now) > self._stall_after * _LONE_SILENCE and inside.has_leader(self.consumer, partition):
                return f"no fetch of {partition.topic}/{partition.partition} was answered for a long time"
        return None

    @contextlib.contextmanager
    def _listening(self, partitions: Sequence[TopicPartition]) -> Iterator[None]:
        silences = [self._silence, *(self._silences.setdefault(partition, _Silence()) for partition in partitions)]
        now = asyncio.get_running_loop().time()
        for silence in silences:
            silence.begin(now)
        try:
            yield
        finally:
            now = asyncio.get_running_loop().time()
            self._listen(partitions, now)
            for silence in silences:
                silence.end(now)

    def _listen(self, partitions: Sequence[TopicPartition], now: float) -> None:
        """Notes which partitions were answered since the last look."""
        for partition in partitions:
            silence = self._silences[partition]
            stamp = inside.heard_stamp(self.consumer, partition)
            if stamp is not None and stamp != silence.stamp:
                silence.stamp = stamp
                silence.break_(now)
                self._silence.break_(now)

    def _complain_of_silence(self, partitions: Sequence[TopicPartition]) -> None:
        now = asyncio.get_running_loop().time()
        quiet = min(self._silences[partition].length(now) for partition in partitions)
        if quiet > self._unanswered_after:
            names = sorted(partition.partition for partition in partitions)
            raise LogUnavailable(f"Kafka has not answered a fetch of {self._topic} {names} for {quiet:.1f} s")

    def _checked(
        self, partition: TopicPartition, wanted: Mapping[int, int], found: Sequence[ConsumerRecord]
    ) -> list[LogRecord]:
        """The records as ours. Raises LogGap where an offset is missing: it was there, and vanished."""
        offset = wanted[partition.partition]
        records = []
        for record in found:
            if record.offset != offset:
                raise LogGap(
                    f"{self._topic}/{partition.partition}: offset {offset} was wanted, {record.offset} came",
                    partition=partition.partition,
                    offset=offset,
                )
            offset += 1
            records.append(
                LogRecord(
                    partition.partition,
                    record.offset,
                    record.timestamp,
                    record.key,
                    record.value if record.value is not None else b"",
                    _headers(record.headers),
                )
            )
        position = inside.position_of(self.consumer, partition)
        if not records and position is not None and position > offset:
            raise LogGap(
                f"{self._topic}/{partition.partition}: nothing lies between offsets {offset} and {position}",
                partition=partition.partition,
                offset=offset,
            )
        return records


def _headers(found: Sequence[tuple[str, bytes | None]]) -> Headers:
    """The headers as they came; one without a value has an empty one."""
    for _, value in found:
        if value is None:
            return tuple((name, value or b"") for name, value in found)
    return cast("Headers", tuple(found))
