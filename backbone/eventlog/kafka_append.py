"""Appending to Kafka: one open batch per partition.

Every partition has a *lane*: a queue of records and, while there are any, one task that fills a batch from the queue,
sends it, and on its acknowledgement tells every record its position, all from one answer. Meanwhile newcomers queue up
and make the next batch. So batches grow with the load by themselves, order within a partition is the order of the
queue, and a partition never has more than one batch under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka.errors import KafkaError

from backbone.eventlog.kafka_connection import KafkaLogConfig
from backbone.eventlog.kafka_producer import ProducerKeeper
from backbone.eventlog.port import NewRecord, Position
from backbone.eventlog.publishing import Append, PublishLimit, PublishWindow
from schemas.errors import LogUnavailable


class _Waiting(NamedTuple):
    call: Append
    place: int
    record: NewRecord
    size: int


class KafkaAppender:
    """All lanes, behind one window. Belongs to one event loop."""

    def __init__(self, config: KafkaLogConfig) -> None:
        self._config = config
        self._keeper = ProducerKeeper(config)
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._limit = PublishLimit(config.publish_timeout_ms / 1000)
        self._open = False
        self.window = PublishWindow(
            records=config.publish_window, size=config.publish_window_bytes, record_limit=config.max_batch_bytes
        )

    async def start(self) -> None:
        """Connects. Raises LogUnavailable."""
        await self._keeper.start()
        self._open = True

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """See `EventLog.append`."""
        if not self._open:
            raise LogUnavailable("the event log is not running")
        if not records:
            return []
        sizes = self.window.take(records)
        call = Append(len(records), self._limit)
        for index, (record, size) in enumerate(zip(records, sizes, strict=True)):
            key = (topic, record.partition)
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = _Lane(topic, record.partition, self._keeper, self.window)
            lane.put(_Waiting(call, index, record, size))
        return await call.result()

    async def stop(self) -> None:
        """Waits for what is under way, up to the publish and shutdown limits, then fails the rest. Repeatable."""
        self._open = False
        grace = min(self._config.publish_timeout_ms, self._config.shutdown_timeout_ms) / 1000
        loop = asyncio.get_running_loop()
        give_up = loop.time() + grace
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=grace)
        await self._keeper.stop(max(0.0, give_up - loop.time()))
        if tasks := self._tasks():
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [lane.task for lane in self._lanes.values() if lane.task is not None]


class _Lane:
    """The records on their way to one partition."""

    def __init__(self, topic: str, partition: int, keeper: ProducerKeeper, window: PublishWindow) -> None:
        self._topic = topic
        self._partition = partition
        self._keeper = keeper
        self._window = window
        self._queue: deque[_Waiting] = deque()
        self.task: asyncio.Task[None] | None = None

    def put(self, waiting: _Waiting) -> None:
        self._queue.append(waiting)
        if self.task is None:
            self.task = asyncio.create_task(self._drain(), name=f"kafka-lane-{self._topic}-{self._partition}")

    async def _drain(self) -> None:
        try:
            while self._queue:
                await self._send_one_batch()
        except LogUnavailable as error:
            self._fail(list(self._queue), error)
            self._queue.clear()
        finally:
            self.task = None
            if self._queue:  # cancelled by stop
                self._fail(list(self._queue), LogUnavailable("the event log is stopped"))
                self._queue.clear()

    async def _send_one_batch(self) -> None:
        session = await self._keeper.session()
        batch = session.new_batch()
        taken: list[_Waiting] = []
        while self._queue:
            waiting = self._queue[0]
            if not waiting.call.abandoned:
                record = waiting.record
                room = batch.append(timestamp=None, key=record.key, value=record.value, headers=list(record.headers))
                if room is None:
                    break
                taken.append(waiting)
            else:
                self._window.give_back(waiting.size)
            self._queue.popleft()
        if not taken:
            return
        try:
            stored = await session.send(batch, self._topic, self._partition)
        except (KafkaError, LogUnavailable, LookupError) as error:
            self._fail(taken, LogUnavailable(f"publishing to {self._topic} failed: {error}"))
        except BaseException:
            self._fail(taken, LogUnavailable("publishing was interrupted; the outcome is unknown"))
            raise
        else:
            self._resolve(taken, stored.offset, stored.timestamp)

    def _resolve(self, taken: list[_Waiting], offset: int, log_ms: int | None) -> None:
        if offset < 0:
            # Kafka knew the batch from an earlier try but no longer where it lies.
            self._fail(taken, LogUnavailable("the records are stored, but Kafka does not say where"))
            return
        if log_ms is None or log_ms < 0:
            self._fail(taken, LogUnavailable(f"topic {self._topic} does not stamp LogAppendTime"))
            return
        for step, waiting in enumerate(taken):
            self._window.give_back(waiting.size)
            waiting.call.place(waiting.place, Position(self._partition, offset + step, log_ms))

    def _fail(self, entries: list[_Waiting], error: LogUnavailable) -> None:
        for waiting in entries:
            self._window.give_back(waiting.size)
            waiting.call.fail(error)
