"""Making and checking topics, and looking up what a cluster and its partitions hold. Each call connects anew: they
are rare, and a fresh bootstrap finds a cluster that has moved.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from backbone.eventlog import kafka_teardown as inside
from backbone.eventlog.kafka_connection import KafkaLogConfig, client_options
from backbone.eventlog.kafka_topic_id import TopicIdRequest, topic_id_of
from backbone.eventlog.port import Bounds
from schemas.errors import LogUnavailable, TopicMisconfigured
from schemas.topics import TopicSpec

log = structlog.get_logger("mealtrail.eventlog")

_CLOSE_BOUND = 2.0
_LOOK_AGAIN = 0.1  # seconds between looks at topics that are being made


class KafkaAdmin:
    """Administration of one cluster."""

    def __init__(self, config: KafkaLogConfig) -> None:
        self._config = config
        self._limit = config.connect_timeout_ms / 1000

    async def broker_count(self) -> int:
        """How many brokers the cluster has now. Raises LogUnavailable."""
        async with self._client() as client:
            return len((await client.describe_cluster())["brokers"])

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """See `EventLog.create_topics`. Returns when every partition has a leader."""
        async with self._client() as client:
            present = await _described(client, specs)
            missing = [spec for spec in specs if spec.name not in present]
            if missing:
                await self._create(client, missing)
            await _wait_for_leaders(client, specs)
            await _check(client, specs)

    async def check_topics(self, specs: Sequence[TopicSpec], *, may_have_grown: bool = False) -> None:
        """See `EventLog.check_topics`."""
        async with self._client() as client:
            await _check(client, specs, may_have_grown=may_have_grown)

    async def settings_of(self, topics: Sequence[str]) -> dict[str, dict[str, str | None]]:
        """All settings that are in force for these topics, by name. Raises LogUnavailable, also when one is missing."""
        async with self._client() as client:
            return await _settings(client, topics)

    async def _create(self, client: AIOKafkaAdminClient, missing: Sequence[TopicSpec]) -> None:
        topics = [
            NewTopic(spec.name, spec.partitions, spec.replication, topic_configs=dict(spec.settings))
            for spec in missing
        ]
        answer = await client.create_topics(topics, timeout_ms=self._config.request_timeout_ms)
        for name, code, *message in answer.topic_errors:
            error = for_code(code)
            if code == 0:
                log.info("topic_made", topic=name)
            elif error is TopicAlreadyExistsError:
                log.info("topic_made_by_another", topic=name)
            elif getattr(error, "retriable", False):
                raise LogUnavailable(f"topic {name} could not be made now: {error.__name__}")
            else:
                reason = " ".join([error.__name__, *map(str, message)])
                raise TopicMisconfigured(f"topic {name} could not be made: {reason}")

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[AIOKafkaAdminClient]:
        client = AIOKafkaAdminClient(**client_options(self._config))
        try:
            async with asyncio.timeout(self._limit):
                await client.start()
                yield client
        except (KafkaError, OSError, TimeoutError) as error:
            raise LogUnavailable(f"Kafka at {self._config.bootstrap_servers} does not answer: {error!r}") from error
        finally:
            await inside.close_client(client._client)  # noqa: SLF001 (its own close has no bound)


async def _described(client: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> dict[str, dict[str, Any]]:
    """The topics that exist, by name."""
    topics = await client.describe_topics([spec.name for spec in specs])
    return {topic["topic"]: topic for topic in topics if topic["error_code"] == 0}


async def _wait_for_leaders(client: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    """Returns when all topics are known and led; the caller bounds the time."""
    while True:
        topics = await _described(client, specs)
        parts = [part for topic in topics.values() for part in topic["partitions"]]
        if len(topics) == len(specs) and all(part["error_code"] == 0 and part["leader"] >= 0 for part in parts):
            return
        await asyncio.sleep(_LOOK_AGAIN)


async def _check(client: AIOKafkaAdminClient, specs: Sequence[TopicSpec], *, may_have_grown: bool = False) -> None:
    present = await _described(client, specs)
    settings = await _settings(client, sorted(present))
    problems = []
    for spec in specs:
        topic = present.get(spec.name)
        if topic is None:
            problems.append(f"topic {spec.name} is missing")
            continue
        parts = topic["partitions"]
        if len(parts) != spec.partitions and not (may_have_grown and len(parts) > spec.partitions):
            problems.append(f"topic {spec.name} has {len(parts)} partitions instead of {spec.partitions}")
        copies = min(len(part["replicas"]) for part in parts)
        if copies < spec.replication:
            problems.append(f"topic {spec.name} has replication {copies} instead of {spec.replication}")
        for name, value in spec.settings:
            actual = settings[spec.name].get(name)
            if actual != value:
                problems.append(f"topic {spec.name} has {name}={actual} instead of {value}")
    if problems:
        raise TopicMisconfigured("; ".join(problems))


async def _settings(client: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str | None]]:
    if not names:
        return {}
    wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    settings: dict[str, dict[str, str | None]] = {}
    for answer in await client.describe_configs(wanted):
        for code, _, _, name, entries in answer.resources:
            if code != 0:
                raise for_code(code)(f"settings of topic {name}")
            settings[name] = {entry[0]: entry[1] for entry in entries}
    return settings


class KafkaBounds:
    """Looks up where partitions begin and end, and which topic it is, over one connection, replaced when it fails."""

    def __init__(self, config: KafkaLogConfig) -> None:
        self._config = config
        self._limit = config.request_timeout_ms / 1000
        self._consumer: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()
        self._stopped = False

    async def look_up(self, topic: str, partitions: Collection[int]) -> Mapping[int, Bounds]:
        """See `EventLog.bounds`."""
        if not partitions:
            return {}
        wanted = [TopicPartition(topic, number) for number in partitions]
        try:
            async with asyncio.timeout(self._limit), self._lock:
                if self._stopped:
                    raise LogUnavailable("the event log is stopped")
                starts, ends = await self._ask(wanted)
        except (KafkaError, OSError, TimeoutError) as error:
            raise LogUnavailable(f"the bounds of {topic} cannot be looked up: {error!r}") from error
        return {part.partition: Bounds(starts[part], ends[part]) for part in wanted}

    async def identity(self, topic: str) -> str | None:
        """See `EventLog.identity`."""
        try:
            async with asyncio.timeout(self._limit), self._lock:
                if self._stopped:
                    raise LogUnavailable("the event log is stopped")
                code, topic_id = await self._ask_topic_id(topic)
        except (KafkaError, OSError, TimeoutError) as error:
            raise LogUnavailable(f"the id of {topic} cannot be looked up: {error!r}") from error
        if code != 0:
            raise LogUnavailable(f"the id of {topic} cannot be looked up: {for_code(code).__name__}")
        return topic_id

    async def stop(self) -> None:
        """Lets go of the connection. May be repeated."""
        self._stopped = True
        await self._disconnect()

    async def _ask(self, wanted: list[TopicPartition]) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        async with self._connection() as consumer:
            # The start first: pruning in between then cannot make it pass the end.
            starts = await consumer.beginning_offsets(wanted)
            return starts, await consumer.end_offsets(wanted)

    async def _ask_topic_id(self, topic: str) -> tuple[int, str | None]:
        async with self._connection() as consumer:
            client = inside.client_of(consumer)
            try:
                return topic_id_of(await client.send(client.get_random_node(), TopicIdRequest(topic)))
            except NotImplementedError:
                return 0, None  # brokers from before topic ids

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[AIOKafkaConsumer]:
        """The consumer that asks, connected; replaced next time when asking fails."""
        answered = False
        try:
            if self._consumer is None:
                self._consumer = AIOKafkaConsumer(
                    group_id=None, enable_auto_commit=False, auto_offset_reset="none", **client_options(self._config)
                )
                await self._consumer.start()
            yield self._consumer
            answered = True
        finally:
            if not answered:
                await self._disconnect()

    async def _disconnect(self) -> None:
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            await inside.close_consumer(consumer, bound=_CLOSE_BOUND)
