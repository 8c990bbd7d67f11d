"""The event log on Apache Kafka (see `backbone.eventlog.port`), put together from its rooms.

kafka_connection   addresses, security, time limits
kafka_append       lanes: one open batch per partition, behind the bounded window
kafka_producer     the idempotent producer, replaced by itself when it is broken or stuck
kafka_reader       reading from offsets the caller names, and noticing silence
kafka_member       a group member, its rebalances and its supervisor
kafka_tail         reading without a group
kafka_admin        topics, brokers, bounds
kafka_topic_id     which topic it is, of all that had its name
kafka_teardown     ending aiokafka's clients within a bound
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from backbone.eventlog.kafka_admin import KafkaAdmin, KafkaBounds
from backbone.eventlog.kafka_append import KafkaAppender
from backbone.eventlog.kafka_connection import KafkaLogConfig
from backbone.eventlog.kafka_member import KafkaGroupMember
from backbone.eventlog.kafka_tail import KafkaTail
from backbone.eventlog.port import Bounds, NewRecord, OwnershipListener, Position
from schemas.topics import TopicSpec


class KafkaEventLog:
    """See `EventLog`. Construct it inside the event loop it will be used in."""

    def __init__(self, config: KafkaLogConfig) -> None:
        self._config = config
        self._appender = KafkaAppender(config)
        self._admin = KafkaAdmin(config)
        self._bounds = KafkaBounds(config)
        self._readers: set[KafkaGroupMember | KafkaTail] = set()

    @property
    def unresolved(self) -> int:
        """Records whose outcome is not known yet (a metric)."""
        return self._appender.window.records

    async def start(self) -> None:
        """See `EventLog.start`."""
        await self._appender.start()

    async def stop(self) -> None:
        """See `EventLog.stop`. Members and tails that are still open are stopped too."""
        # Readers first: a listener that loses its partitions may finish a batch, and publish what it decided.
        await asyncio.gather(*(reader.stop() for reader in list(self._readers)))
        await asyncio.gather(self._appender.stop(), self._bounds.stop())

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """See `EventLog.create_topics`."""
        await self._admin.create_topics(specs)

    async def check_topics(self, specs: Sequence[TopicSpec], *, may_have_grown: bool = False) -> None:
        """See `EventLog.check_topics`."""
        await self._admin.check_topics(specs, may_have_grown=may_have_grown)

    async def append(self, topic: str, records: Sequence[NewRecord]) -> list[Position]:
        """See `EventLog.append`. Raises RecordTooLarge for a record over the topic's limit."""
        return await self._appender.append(topic, records)

    async def bounds(self, topic: str, partitions: Collection[int]) -> Mapping[int, Bounds]:
        """See `EventLog.bounds`."""
        return await self._bounds.look_up(topic, partitions)

    async def identity(self, topic: str) -> str | None:
        """See `EventLog.identity`."""
        return await self._bounds.identity(topic)

    async def join(self, topic: str, group: str, listener: OwnershipListener) -> KafkaGroupMember:
        """See `EventLog.join`. Raises LogUnavailable when Kafka does not answer within the connect limit."""
        member = KafkaGroupMember(self._config, topic, group, listener, self.bounds, self._readers.discard)
        self._readers.add(member)
        await member.start()
        return member

    async def tail(self, topic: str, start: Mapping[int, int]) -> KafkaTail:
        """See `EventLog.tail`. Raises LogUnavailable when Kafka does not answer within the connect limit."""
        tail = KafkaTail(self._config, topic, start, self.bounds, self._readers.discard)
        self._readers.add(tail)
        await tail.start()
        return tail
