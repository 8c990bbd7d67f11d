"""Reading partitions without a group, from explicit offsets. The offsets it returned last are its only state, so a
consumer in trouble is simply replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from backbone.eventlog import kafka_teardown as inside
from backbone.eventlog.kafka_connection import KafkaLogConfig, client_options
from backbone.eventlog.kafka_reader import KafkaReader, LookUpBounds, OffsetDoubted
from backbone.eventlog.port import LogRecord
from schemas.errors import LogUnavailable

log = structlog.get_logger("mealtrail.eventlog")

_CLOSE_BOUND = 2.0


class KafkaTail:
    """See `TailReader`. Made by `KafkaEventLog.tail`. One read at a time."""

    def __init__(
        self,
        config: KafkaLogConfig,
        topic: str,
        start: Mapping[int, int],
        bounds: LookUpBounds,
        on_stop: Callable[[KafkaTail], None],
    ) -> None:
        self._config = config
        self._topic = topic
        self._next = dict(start)
        self._bounds = bounds
        self._on_stop = on_stop
        self._reader: KafkaReader | None = None
        self._stopped = False

    async def start(self) -> None:
        """Connects. Raises LogUnavailable."""
        self._reader = await self._open()

    async def read(self, *, max_records: int, timeout: float) -> list[LogRecord]:
        """See `TailReader.read`."""
        if self._stopped:
            raise LogUnavailable("this reader is stopped")
        if self._reader is not None and (trouble := self._reader.trouble()) is not None:
            log.warning("tail_reader_replaced", topic=self._topic, reason=trouble)
            reader, self._reader = self._reader, None
            await inside.close_consumer(reader.consumer, bound=_CLOSE_BOUND)
        if self._reader is None:
            self._reader = await self._open()
        try:
            records = await self._reader.read(self._next, max_records=max_records, timeout=timeout)
        except OffsetDoubted as error:
            await error.confirm(self._bounds)
            return []
        for record in records:
            self._next[record.partition] = record.offset + 1
        return records

    async def stop(self) -> None:
        """See `TailReader.stop`."""
        self._stopped = True
        self._on_stop(self)
        if self._reader is not None:
            reader, self._reader = self._reader, None
            await inside.close_consumer(reader.consumer, bound=_CLOSE_BOUND)

    async def _open(self) -> KafkaReader:
        consumer = AIOKafkaConsumer(
            group_id=None,
            auto_offset_reset="none",
            enable_auto_commit=False,
            fetch_max_wait_ms=200,
            fetch_max_bytes=16 * 1024 * 1024,
            **client_options(self._config),
        )
        try:
            async with asyncio.timeout(self._config.connect_timeout_ms / 1000):
                await consumer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await inside.close_consumer(consumer, bound=_CLOSE_BOUND)
            raise LogUnavailable(f"Kafka cannot be reached to read {self._topic}: {error!r}") from error
        except asyncio.CancelledError:
            await inside.close_consumer(consumer, bound=_CLOSE_BOUND)
            raise
        partitions = [TopicPartition(self._topic, number) for number in self._next]
        consumer.assign(partitions)
        for partition in partitions:  # in the same step of the loop: nothing can be read in between
            consumer.seek(partition, self._next[partition.partition])
        return KafkaReader(
            consumer,
            self._topic,
            unanswered_after=self._config.request_timeout_ms / 1000,
            stall_after=self._config.stall_after_ms / 1000,
        )
