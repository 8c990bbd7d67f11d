"""Ending aiokafka clients within a bound, and the few facts about them that nothing public tells.

aiokafka's own `stop` waits for what cannot end while Kafka is down: idempotent batches never expire, a leaving member
awaits an answer, a closing socket flushes to a frozen peer. So every end here is a task with a bound; what is left
over is then taken apart by hand. All knowledge of aiokafka's insides (0.14) is in this file, and the tests in
`tests/integration/test_kafka_outage.py` hold it.
"""
# ruff: noqa: SLF001 (this is the one place that may look inside aiokafka)

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient

from schemas.errors import LogUnavailable

log = structlog.get_logger("mealtrail.eventlog")

_CLOSE_BOUND = 1.0  # seconds for sockets to close by themselves


async def close_producer(producer: AIOKafkaProducer, *, bound: float) -> None:
    """Ends a producer; what it still holds fails with LogUnavailable. Takes little more than `bound` seconds.

    The sender goes first, so that no batch is touched while it is failed: its requests end when their connections do,
    and after a broken connection it waits for metadata that nobody fetches any more, hence `_release_metadata`.
    """
    loop = asyncio.get_running_loop()
    give_up = loop.time() + bound
    sender = producer._sender.sender_task
    if sender is not None:
        sender.cancel()
        while not sender.done() and loop.time() < give_up:
            for connection in list(producer.client._conns.values()):
                connection.close()
            _release_metadata(producer.client)
            await asyncio.wait([sender], timeout=0.05)
        await _end([sender])
    accumulator = producer._message_accumulator
    held = [batch for batches in accumulator._batches.values() for batch in batches]
    # A batch that waits to be sent again left the pending ones, where the callback of its future looks for it.
    accumulator._pending_batches.update(batch for batch in held if batch.retry_count)
    for batch in {*held, *accumulator._pending_batches}:
        batch.failure(LogUnavailable("the producer was given up"))
        if batch._drain_waiter.done() and not batch._drain_waiter.cancelled():
            batch._drain_waiter.exception()  # nobody waits for it: taken here, so that nothing is logged
    await _bounded(producer.stop(), _CLOSE_BOUND)
    producer._closed = True
    await close_client(producer.client)


async def close_consumer(consumer: AIOKafkaConsumer, *, bound: float) -> None:
    """Ends a consumer, leaving its group if Kafka answers within `bound` seconds."""
    await _bounded(consumer.stop(), bound)
    consumer._closed = True
    tasks: list[asyncio.Task[Any] | None] = []
    if (coordinator := consumer._coordinator) is not None:
        names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")
        tasks += [getattr(coordinator, name, None) for name in names]
    if (fetcher := consumer._fetcher) is not None:
        tasks += [fetcher._fetch_task, *fetcher._pending_tasks]
    await _end(task for task in tasks if task is not None)
    await close_client(consumer._client)


def client_of(consumer: AIOKafkaConsumer) -> AIOKafkaClient:
    """The connections under a consumer, for requests that it has no method for."""
    return consumer._client


async def close_client(client: AIOKafkaClient) -> None:
    """Closes a client's connections; those that would flush to a frozen peer are cut."""
    transports = [conn._writer.transport for conn in client._conns.values() if conn._writer is not None]
    _release_metadata(client)
    if await _bounded(client.close(), _CLOSE_BOUND):
        return
    for transport in transports:
        transport.abort()
    if client._sync_task is not None:
        await _end([client._sync_task])


def _release_metadata(client: AIOKafkaClient) -> None:
    waiting = client._md_update_fut
    if waiting is not None and not waiting.done():
        waiting.set_result(False)
        client._md_update_fut = None


async def _bounded(ending: Coroutine[Any, Any, object], bound: float) -> bool:
    """Runs to the end if that takes no longer than `bound` seconds. In a task of its own, because aiokafka lets
    cancellations of its inner tasks escape, which must not look like ours.
    """
    task = asyncio.ensure_future(ending)
    try:
        await asyncio.wait([task], timeout=bound)
    finally:
        ended = task.done()
        if not ended:
            task.cancel()
    if not ended:
        await asyncio.wait([task], timeout=_CLOSE_BOUND)
    if not task.done() or task.cancelled():
        return False
    if (error := task.exception()) is not None:
        log.debug("client_end_failed", problem=repr(error))
        return False
    return ended


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits a little for them."""
    unfinished = {task for task in tasks if not task.done()}
    for task in unfinished:
        task.cancel()
    if unfinished:
        done, _ = await asyncio.wait(unfinished, timeout=_CLOSE_BOUND)
        for task in done:
            with contextlib.suppress(asyncio.CancelledError):
                task.exception()


# --- What a consumer does not tell ------------------------------------------------------------------------


def position_of(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """The offset it reads next, or None when the partition is not assigned or has no position."""
    state = _state(consumer, partition)
    return int(state.position) if state is not None and state.has_valid_position else None


def heard_stamp(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """A value that changes whenever the broker has answered a fetch of the partition."""
    state = _state(consumer, partition)
    return None if state is None else state.timestamp


def has_leader(consumer: AIOKafkaConsumer, partition: TopicPartition) -> bool:
    """Whether the consumer knows a broker to read the partition from."""
    return consumer._client.cluster.leader_for_partition(partition) not in {None, -1}


def knows_coordinator(consumer: AIOKafkaConsumer) -> bool:
    """Whether the group's coordinator is known and believed alive."""
    return consumer._coordinator is not None and consumer._coordinator.coordinator_id is not None


def pending_error(consumer: AIOKafkaConsumer) -> BaseException | None:
    """An error (a refused group, say) after which coordination waits until a read takes it, if ever one comes."""
    error: BaseException | None = getattr(consumer._coordinator, "_pending_exception", None)
    return error


def dead_task(consumer: AIOKafkaConsumer) -> str | None:
    """Which background task of the consumer has ended, if one has: it will do nothing more, silently."""
    if consumer._fetcher is not None and consumer._fetcher._fetch_task.done():
        return "its fetch task has ended"
    coordination = getattr(consumer._coordinator, "_coordination_task", None)
    if coordination is not None and coordination.done():
        return "its coordination task has ended"
    return None


def _state(consumer: AIOKafkaConsumer, partition: TopicPartition) -> Any:
    subscription = consumer._subscription.subscription
    if subscription is None or subscription.assignment is None:
        return None
    return subscription.assignment.state_value(partition)
