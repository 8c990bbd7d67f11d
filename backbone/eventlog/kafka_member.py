"""A member of a Kafka consumer group that commits nothing and is told every offset.

Kafka's group is used for one thing: who owns which partition. A newly assigned partition is paused in the callback's
first statement, before anything could be read from it, and given a position of no meaning, so that aiokafka does not
ask Kafka for committed offsets. The first fetch seeks and resumes.

The supervisor keeps one consumer alive for as long as the member lives. When its consumer is in trouble (dead tasks,
errors, Kafka silent, the coordinator unknown for long), it takes the partitions away from the listener as a rebalance
would, ends the consumer within a bound, and joins anew from a fresh bootstrap.

Silence has two causes, and the remedy of one makes the other worse. A consumer that lost its way is replaced. But while
Kafka itself is away a new one helps nobody, and the old one cannot say that it leaves: Kafka, once back, would keep the
partitions for it until its session times out. So silence counts only while somebody else, who connects anew, is
answered; and a consumer that Kafka's return found in its place is the one that goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from backbone.eventlog import kafka_teardown as inside
from backbone.eventlog.kafka_admin import KafkaAdmin
from backbone.eventlog.kafka_connection import KafkaLogConfig, client_options
from backbone.eventlog.kafka_reader import KafkaReader, LookUpBounds, OffsetDoubted
from backbone.eventlog.port import LogRecord, OwnershipListener
from schemas.errors import LogUnavailable, PartitionLost

log = structlog.get_logger("mealtrail.eventlog")

_LEAVE_BOUND = 3.0  # seconds for the coordinator to answer a leaving member
_WATCH_EVERY = 0.25
_ASK_EVERY = 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 3.0
_FIND_BACK = 4.0  # seconds in which a consumer finds back to a Kafka that answers others
_REASSIGNMENT_SLACK = 1.0  # aiokafka ignores a read's timeout while partitions are reassigned


class _Holding:
    """One owned partition."""

    def __init__(self, reader: KafkaReader) -> None:
        self.reader = reader
        self.lost = False
        self.limit: asyncio.Timeout | None = None

    async def read(self, partition: int, offset: int, max_records: int, timeout: float) -> list[LogRecord]:
        """See `KafkaReader.read`; ends early, with nothing, when the partition is lost."""
        try:
            async with asyncio.timeout(timeout + _REASSIGNMENT_SLACK) as self.limit:
                return await self.reader.read({partition: offset}, max_records=max_records, timeout=timeout)
        except TimeoutError:
            return []
        finally:
            self.limit = None

    def lose(self) -> None:
        """Ends the read under way, if there is one."""
        self.lost = True
        if self.limit is not None:
            self.limit.reschedule(asyncio.get_running_loop().time())


class _Callbacks(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka ships no types
    """What aiokafka calls, for one consumer."""

    def __init__(self, member: KafkaGroupMember, reader: KafkaReader) -> None:
        self._member = member
        self._reader = reader

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:  # noqa: ARG002 (eager: all)
        await self._member._let_go(self._reader)  # noqa: SLF001 (two halves of one thing)

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._reader.consumer.pause(*assigned)
        for partition in assigned:
            self._reader.consumer.seek(partition, 0)
        self._member._take(self._reader, sorted(partition.partition for partition in assigned))  # noqa: SLF001


class KafkaGroupMember:
    """See `GroupMember`. Made by `KafkaEventLog.join`."""

    def __init__(
        self,
        config: KafkaLogConfig,
        topic: str,
        group: str,
        listener: OwnershipListener,
        bounds: LookUpBounds,
        on_stop: Callable[[KafkaGroupMember], None],
    ) -> None:
        self._config = config
        self._topic = topic
        self._group = group
        self._listener = listener
        self._bounds = bounds
        self._admin = KafkaAdmin(config)
        self._on_stop = on_stop
        self._held: dict[int, _Holding] = {}
        self._reader: KafkaReader | None = None
        self._connected = asyncio.Event()
        self._stopping = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None
        self._connecting = False

    async def start(self) -> None:
        """Connects and begins to join. Raises LogUnavailable when Kafka does not answer in time."""
        client_options(self._config)
        self._supervisor = asyncio.create_task(self._supervise(), name=f"kafka-member-{self._group}")
        limit = self._config.connect_timeout_ms / 1000
        try:
            async with asyncio.timeout(limit):
                await self._connected.wait()
        except TimeoutError as error:
            await self.stop()
            raise LogUnavailable(f"Kafka does not let us join {self._group} within {limit:g} s") from error

    async def fetch(self, partition: int, offset: int, *, max_records: int, timeout: float) -> list[LogRecord]:
        """See `GroupMember.fetch`."""
        holding = self._held.get(partition)
        if holding is None:
            raise PartitionLost(f"{self._topic}/{partition} is not ours")
        if holding.limit is not None:
            raise RuntimeError(f"{self._topic}/{partition} is being fetched already")
        records: list[LogRecord] = []
        try:
            records = await holding.read(partition, offset, max_records, timeout)
        except OffsetDoubted as error:
            if not holding.lost:
                await error.confirm(self._bounds)
        if holding.lost:
            raise PartitionLost(f"{self._topic}/{partition} was taken away")
        return records

    async def stop(self) -> None:
        """See `GroupMember.stop`: takes no longer than `lost` may take plus a few seconds."""
        self._stopping.set()
        self._on_stop(self)
        if self._supervisor is not None:
            if self._connecting:
                self._supervisor.cancel()  # it holds nothing yet
            await asyncio.wait([self._supervisor], timeout=self._config.rebalance_ms / 1000 + _LEAVE_BOUND * 3)
            if not self._supervisor.done():
                log.error("member_cut_off", group=self._group, problem="it does not end")
                self._supervisor.cancel()

    # --- Ownership: called from inside the group's rebalance ------------------------------------------

    def _take(self, reader: KafkaReader, partitions: list[int]) -> None:
        if reader is not self._reader or self._stopping.is_set():
            return
        for partition in partitions:
            self._held[partition] = _Holding(reader)
        log.info("partitions_gained", group=self._group, topic=self._topic, partitions=partitions)
        try:
            self._listener.gained(partitions)
        except Exception:
            log.exception("listener_failed_to_take", partitions=partitions, note="they are owned and not worked on")

    async def _let_go(self, reader: KafkaReader) -> None:
        if reader is not self._reader or not self._held:
            return
        partitions = sorted(self._held)
        for holding in self._held.values():
            holding.lose()
        self._held = {}
        log.info("partitions_given_up", group=self._group, topic=self._topic, partitions=partitions)
        task = asyncio.ensure_future(self._listener.lost(partitions))
        try:
            await asyncio.wait([task], timeout=self._config.rebalance_ms / 1000 * 0.8)
        finally:
            ended = task.done()
            if not ended:
                task.cancel()
        if not ended:
            log.error("listener_cut_off", partitions=partitions, problem="it does not let go in time")
            await asyncio.wait([task], timeout=1)
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            log.error("listener_failed_to_let_go", partitions=partitions, exc_info=error)

    # --- One consumer at a time -----------------------------------------------------------------------

    async def _supervise(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            reader = self._new_reader()
            try:
                await self._connect(reader)
                self._reader = reader
                reader.consumer.subscribe([self._topic], listener=_Callbacks(self, reader))
                self._connected.set()
                began = asyncio.get_running_loop().time()
                reason = await self._watch(reader)
                if asyncio.get_running_loop().time() - began > self._config.stall_after_ms / 1000:
                    pause = _FIRST_PAUSE
                if not self._stopping.is_set():
                    log.warning("consumer_replaced", group=self._group, reason=reason)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next attempt may succeed; it is logged)
                log.warning("kafka_not_joined", group=self._group, problem=repr(error))
            finally:
                await self._let_go(reader)
                self._reader = None
                await inside.close_consumer(reader.consumer, bound=_LEAVE_BOUND)
            await self._sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _connect(self, reader: KafkaReader) -> None:
        self._connecting = True
        try:
            async with asyncio.timeout(self._config.connect_timeout_ms / 1000):
                await reader.consumer.start()
        finally:
            self._connecting = False

    async def _watch(self, reader: KafkaReader) -> str | None:
        """Returns why the consumer should be replaced; None when the member stops."""
        loop = asyncio.get_running_loop()
        coordinated_at = loop.time()
        answered_since: float | None = None
        silence: str | None = None
        while not await self._sleep(_WATCH_EVERY if silence is None else _ASK_EVERY):
            if (fault := reader.fault()) is not None:
                return fault
            silence = reader.silence()
            if inside.knows_coordinator(reader.consumer):
                coordinated_at = loop.time()
            elif loop.time() - coordinated_at > self._config.stall_after_ms / 1000:
                silence = silence or "the group's coordinator is unknown for too long"
            if silence is None or not await self._others_are_answered():
                answered_since = None
            elif answered_since is None:
                answered_since = loop.time()
            elif loop.time() - answered_since > _FIND_BACK:
                return silence
        return None

    async def _others_are_answered(self) -> bool:
        """Whether Kafka answers a client that connects anew. Ends early, with yes, when the member stops."""
        asking = asyncio.ensure_future(self._admin.broker_count())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((asking, stopping), return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                asking.result()
        except LogUnavailable:
            return False
        else:
            return True
        finally:
            for task in (asking, stopping):
                task.cancel()
            await asyncio.gather(asking, stopping, return_exceptions=True)

    async def _sleep(self, seconds: float) -> bool:
        """Whether the member is stopping."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    def _new_reader(self) -> KafkaReader:
        session_ms = self._config.session_timeout_ms
        consumer = AIOKafkaConsumer(
            group_id=self._group,
            auto_offset_reset="none",
            enable_auto_commit=False,
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=min(1000, session_ms // 5),
            rebalance_timeout_ms=self._config.rebalance_ms,
            # Heartbeats alone say that we live: a partition that stopped must not cost us the others.
            max_poll_interval_ms=2**31 - 1,
            fetch_max_wait_ms=200,
            fetch_max_bytes=16 * 1024 * 1024,
            # A join is answered when all members have joined, so a request may take that long.
            **client_options(self._config, request_timeout_ms=self._config.rebalance_ms + 3000),
        )
        return KafkaReader(
            consumer,
            self._topic,
            unanswered_after=self._config.request_timeout_ms / 1000,
            stall_after=self._config.stall_after_ms / 1000,
        )
