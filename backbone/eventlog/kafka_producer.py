"""The idempotent producer, kept alive: a broken or stuck one is replaced in the background, by itself.

Why replace at all? An idempotent producer numbers its batches. One that failed for good leaves a hole in the numbers,
after which Kafka refuses everything that follows; one whose brokers have all moved never asks the bootstrap addresses
again; and a sender task that died stays dead. A fresh producer with a fresh bootstrap cures all three, and what the
old one had in hand has an unknown outcome, which `EventLog.append` says anyway.

A producer that is replaced is *retired*: it takes no new batches, those it has in hand get a last while to succeed
(the fault may be one partition's only), then it is taken apart and the rest fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata

from backbone.eventlog.kafka_connection import KafkaLogConfig, client_options
from backbone.eventlog.kafka_teardown import close_producer
from schemas.errors import LogUnavailable

log = structlog.get_logger("mealtrail.eventlog")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds between attempts to connect
_CLOSE_BOUND = 2.0


class ProducerSession:
    """One producer from its start to its retirement."""

    def __init__(
        self, producer: AIOKafkaProducer, retire_after: float, on_retired: Callable[[ProducerSession], None]
    ) -> None:
        self._producer = producer
        self._retire_after = retire_after
        self._on_retired = on_retired
        self._retired = False
        self._in_flight: set[asyncio.Future[RecordMetadata]] = set()

    def new_batch(self) -> Any:
        """An empty batch (aiokafka's BatchBuilder)."""
        return self._producer.create_batch()

    async def send(self, batch: Any, topic: str, partition: int) -> RecordMetadata:
        """Sends a batch and returns where it lies. Waits as long as it takes, which the session's retirement ends.

        A batch that fails retires the session. Raises KafkaError or LogUnavailable (outcome unknown);
        LookupError when there is no such partition (nothing was sent, the session stays).
        """
        try:
            known = await self._producer.partitions_for(topic)
        except KafkaError as error:
            raise LookupError(f"topic {topic} is unknown to Kafka ({error!r})") from error
        if partition not in known:
            raise LookupError(f"topic {topic} has no partition {partition}")
        stuck = asyncio.get_running_loop().call_later(
            self._retire_after, self.retire, f"a batch for {topic}/{partition} is unacknowledged for too long"
        )
        try:
            sent = await self._producer.send_batch(batch, topic, partition=partition)
            self._in_flight.add(sent)
            sent.add_done_callback(self._in_flight.discard)
            return await sent
        except Exception as error:
            self.retire(f"a batch for {topic}/{partition} failed: {error!r}")
            raise
        finally:
            stuck.cancel()

    def retire(self, reason: str) -> None:
        """Takes no more batches; the keeper brings a new session. May be repeated."""
        if not self._retired:
            self._retired = True
            log.warning("producer_replaced", reason=reason)
            self._on_retired(self)

    async def close(self, grace: float) -> None:
        """Gives batches in hand `grace` seconds, then ends the producer; what is left fails."""
        if self._in_flight and grace > 0:
            await asyncio.wait(set(self._in_flight), timeout=grace)
        await close_producer(self._producer, bound=_CLOSE_BOUND)


class ProducerKeeper:
    """Always has a producer, or is about to have one."""

    def __init__(self, config: KafkaLogConfig) -> None:
        self._config = config
        self._options: dict[str, Any] = {}
        self._grace = config.publish_timeout_ms / 1000
        self._retire_after = max(config.retire_after_ms, config.publish_timeout_ms) / 1000
        self._current: asyncio.Future[ProducerSession] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def start(self) -> None:
        """Connects. Raises LogUnavailable when that does not succeed within the connect limit, SettingsInvalid."""
        self._options = client_options(self._config)
        self._stopped = False
        current = self._renew()
        limit = self._config.connect_timeout_ms / 1000
        await asyncio.wait([current], timeout=limit)
        if not current.done():
            await self.stop(0)
            raise LogUnavailable(
                f"Kafka at {self._config.bootstrap_servers} does not answer, or does not let us in, within {limit:g} s"
            )

    async def session(self) -> ProducerSession:
        """The session to send by; waits while there is none. Raises LogUnavailable once stopped."""
        if self._stopped or self._current is None:
            raise LogUnavailable("the event log is stopped")
        if self._current.done():
            return self._current.result()
        return await asyncio.shield(self._current)

    async def stop(self, grace: float) -> None:
        """Ends everything; batches in hand get `grace` seconds. May be repeated."""
        if self._stopped or self._current is None:
            return
        self._stopped = True
        if self._current.done():
            self._close(self._current.result(), grace)
        else:
            self._current.set_exception(LogUnavailable("the event log is stopped"))
            self._current.exception()  # there need not be anyone waiting
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting], timeout=_CLOSE_BOUND * 2)
        if self._closing:
            await asyncio.wait(set(self._closing), timeout=grace + _CLOSE_BOUND * 2)

    def _renew(self) -> asyncio.Future[ProducerSession]:
        current: asyncio.Future[ProducerSession] = asyncio.get_running_loop().create_future()
        self._current = current
        self._connecting = asyncio.create_task(self._connect(current), name="kafka-producer-connect")
        return current

    def _replace(self, session: ProducerSession) -> None:
        if not self._stopped:
            self._renew()
            self._close(session, self._grace)

    def _close(self, session: ProducerSession, grace: float) -> None:
        task = asyncio.create_task(session.close(grace), name="kafka-producer-close")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _connect(self, current: asyncio.Future[ProducerSession]) -> None:
        pause = _FIRST_PAUSE
        while True:
            producer = AIOKafkaProducer(
                acks="all", enable_idempotence=True, max_batch_size=self._config.max_batch_bytes, **self._options
            )
            try:
                async with asyncio.timeout(self._config.connect_timeout_ms / 1000):
                    await producer.start()
                if not current.done():
                    current.set_result(ProducerSession(producer, self._retire_after, self._replace))
                    return
            except Exception as error:  # noqa: BLE001 (whatever it is, the next attempt may succeed; it is logged)
                log.warning("kafka_not_reached", problem=repr(error))
            finally:
                if not current.done() or current.exception() is not None:
                    await close_producer(producer, bound=_CLOSE_BOUND)
            if self._stopped:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
