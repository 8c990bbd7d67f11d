"""One open batch a partition: while one is on its way, whatever comes gathers in the next, and all who wait for a batch
wait for its one future. So a request costs neither a task nor a future of its own, and batches grow with the load.
"""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from aiokafka.producer.message_accumulator import BatchBuilder


class _Open:
    """A batch that still takes records, and the moment when it is stored."""

    def __init__(self, builder: BatchBuilder) -> None:
        self.builder = builder
        self.stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class OpenBatches:
    """Appends to one topic. A failed batch fails everyone who waits for it."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        self._waiting: list[list[_Open]] = [[] for _ in range(partitions)]
        self._senders: dict[int, asyncio.Task[None]] = {}

    async def append(self, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """Returns when the record is stored. Raises KafkaError."""
        partition = (murmur2(key) & 0x7FFFFFFF) % len(self._waiting)
        waiting = self._waiting[partition]
        if not waiting or waiting[-1].builder.append(timestamp=None, key=key, value=value, headers=headers) is None:
            fresh = _Open(self._producer.create_batch())
            fresh.builder.append(timestamp=None, key=key, value=value, headers=headers)
            waiting.append(fresh)
        batch = waiting[-1]
        if partition not in self._senders:
            self._senders[partition] = asyncio.create_task(self._send(partition))
        await batch.stored  # not shielded, which would cost a future each: this server cancels no handler

    async def _send(self, partition: int) -> None:
        """Sends batch after batch, each when the one before is stored, until none is left."""
        waiting = self._waiting[partition]
        while waiting:
            batch = waiting.pop(0)
            batch.builder.close()
            try:
                sent = await self._producer.send_batch(batch.builder, self._topic, partition=partition)
                await sent
            except KafkaError as error:
                batch.stored.set_exception(error)
            else:
                batch.stored.set_result(None)
        del self._senders[partition]
