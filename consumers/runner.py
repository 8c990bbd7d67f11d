"""The worker: takes its share of the received topic's partitions and keeps one task for each it owns.

Assignment may be wrong for a while (a frozen worker still believes in its own), which does no harm: the fence in the
store decides who applies. What this file adds is liveness: partitions start when they are gained, finish the batch in
hand when they are lost, and a partition that had to stop leaves the others alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

import structlog

from backbone.clocks import SYSTEM_CLOCK, Clock
from backbone.eventlog.port import EventLog, GroupMember
from backbone.metrics import Metrics
from backbone.store.engine import Store
from consumers.applier import Applier
from consumers.offset_rows import Cursor
from consumers.partition import PartitionParts, PartitionWorker
from consumers.patience import patiently
from consumers.relay import Relay
from schemas.errors import MealtrailError, PartitionStopped, Unavailable

_log = structlog.get_logger("mealtrail.consumers")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfig:
    """Names and bounds of a worker."""

    received_topic: str
    outcomes_topic: str
    group: str
    batch_size: int = 1000
    idle_s: float = 1.0
    stop_timeout_s: float = 10.0
    """How long a partition may take to finish its batch and publish it when it is lost or the worker stops."""


class Runner:
    """One worker process's share of the log. Use: `await runner.run()` until `stop`."""

    def __init__(
        self,
        *,
        log: EventLog,
        store: Store,
        config: RunnerConfig,
        metrics: Metrics,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._log = log
        self._store = store
        self._config = config
        self._metrics = metrics
        self._applier = Applier(store)
        self._parts = PartitionParts(
            log=log,
            applier=self._applier,
            metrics=metrics,
            clock=clock,
            received_topic=config.received_topic,
            batch_size=config.batch_size,
            idle_s=config.idle_s,
        )
        self._member: asyncio.Future[GroupMember] | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._workers: dict[int, PartitionWorker] = {}
        self._stopped: dict[int, str] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Joins the group and works until `stop`; waits out a log that does not answer. Runs once."""
        self._member = asyncio.get_running_loop().create_future()

        async def join() -> GroupMember:
            return await self._log.join(self._config.received_topic, self._config.group, self)

        joining = asyncio.ensure_future(patiently(join, doing="join the group", partition=-1))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((joining, stopping), return_when=asyncio.FIRST_COMPLETED)
            if joining.done():
                self._member.set_result(joining.result())
                await stopping
        finally:
            stopping.cancel()
            joining.cancel()
            await asyncio.gather(stopping, joining, return_exceptions=True)
            if self._member.done() and not self._member.cancelled():
                await self._member.result().stop()
            self._member.cancel()
            await self.lost(list(self._tasks))

    def stop(self) -> None:
        """Ends `run` after the batches in hand. Returns at once, may be repeated."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.stop()

    def status(self) -> dict[str, object]:
        """What this worker owns and which partitions stopped, with the stop's code; for /readyz."""
        return {"owned": sorted(self._tasks), "stopped": dict(sorted(self._stopped.items()))}

    def gained(self, partitions: Collection[int]) -> None:
        """Starts a task for each partition (called by the log)."""
        for partition in partitions:
            before = self._tasks.get(partition)
            if before is None or before.done():
                self._stopped.pop(partition, None)
                self._tasks[partition] = asyncio.create_task(self._own(partition), name=f"partition-{partition}")
        self._metrics.partitions_owned.set(len(self._tasks))
        _log.info("partitions_gained", partitions=sorted(partitions))

    async def lost(self, partitions: Collection[int]) -> None:
        """Lets each partition finish the batch in hand, bounded in time (called by the log)."""
        tasks = {p: task for p in partitions if (task := self._tasks.pop(p, None)) is not None}
        for partition in tasks:
            if (worker := self._workers.get(partition)) is not None:
                worker.stop()
            self._stopped.pop(partition, None)
        self._count_stopped()
        if tasks:
            _, late = await asyncio.wait(tasks.values(), timeout=self._config.stop_timeout_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
            _log.info("partitions_released", partitions=sorted(tasks), late=len(late))
        self._metrics.partitions_owned.set(len(self._tasks))

    async def _own(self, partition: int) -> None:
        """One partition from gaining it to losing it."""
        try:
            await self._work(partition)
        except MealtrailError as error:
            self._mark_stopped(partition, error.code, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours stops this partition, loudly, and no other
            self._mark_stopped(partition, "internal_error", error)

    async def _work(self, partition: int) -> None:
        if self._member is None:
            raise RuntimeError("the runner is not running")
        member = await asyncio.shield(self._member)

        async def claim() -> Cursor:
            return await self._applier.claim(partition)

        cursor = await patiently(claim, doing="claim the partition", partition=partition)
        relay = Relay(
            log=self._log,
            topic=self._config.outcomes_topic,
            store=self._store,
            metrics=self._metrics,
            partition=partition,
            published=cursor.published,
        )
        worker = self._workers[partition] = PartitionWorker(
            self._parts, partition=partition, relay=relay, cursor=cursor
        )
        if self._stopping.is_set():
            worker.stop()
        applying = asyncio.create_task(self._apply(worker, member, partition), name=f"apply-{partition}")
        publishing = asyncio.create_task(relay.run(), name=f"relay-{partition}")
        try:
            await asyncio.wait((applying, publishing), return_when=asyncio.FIRST_COMPLETED)
            if publishing.done():
                publishing.result()
            await applying
        finally:
            applying.cancel()
            publishing.cancel()
            await asyncio.gather(applying, publishing, return_exceptions=True)
            self._workers.pop(partition, None)
        try:
            await relay.drain()
        except Unavailable as error:
            _log.info("outcomes_left_to_successor", partition=partition, published=relay.published, code=error.code)

    async def _apply(self, worker: PartitionWorker, member: GroupMember, partition: int) -> None:
        """Applies until the end; a stopped partition stays owned, so that what is committed is still published."""
        try:
            await worker.run(member)
        except PartitionStopped as error:
            self._mark_stopped(partition, error.code, error)
            await worker.wait_stopped()

    def _mark_stopped(self, partition: int, code: str, error: Exception) -> None:
        self._stopped[partition] = code
        self._count_stopped()
        _log.error("partition_stopped", partition=partition, code=code, exc_info=error)

    def _count_stopped(self) -> None:
        self._metrics.partitions_stopped.clear()
        for code in set(self._stopped.values()):
            self._metrics.partitions_stopped.labels(code).set(list(self._stopped.values()).count(code))
