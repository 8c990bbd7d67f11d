"""The worker: takes its share of the received topic's partitions and keeps one task for each it owns.

Assignment may be wrong for a while (a frozen worker still believes in its own), which does no harm: the fence in the
store decides who applies. What this file adds is liveness: partitions start when they are gained, finish the batch in
hand when they are lost, and a partition that had to stop leaves the others alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import structlog

from backbone.clocks import SYSTEM_CLOCK, Clock
from backbone.eventlog.port import EventLog, GroupMember
from backbone.metrics import Metrics
from backbone.store.engine import Store
from consumers.applier import Applier
from consumers.offset_rows import Cursor
from consumers.partition import PartitionParts, PartitionWorker
from consumers.patience import patiently
from consumers.relay import TURNS, Relay
from schemas.errors import (
    ConfigurationError,
    LogGap,
    LogReplaced,
    MealtrailError,
    PartitionStopped,
    RecordUnappliable,
    RecordUnknown,
    Unavailable,
)

_log = structlog.get_logger("mealtrail.consumers")


STOP_CODES = (
    LogGap.code,
    LogReplaced.code,
    RecordUnknown.code,
    RecordUnappliable.code,
    ConfigurationError.code,
    MealtrailError.code,
)
"""What a partition can stop with; anything else counts as the last, a fault of ours."""


LAG_EVERY_S = 5.0


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


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """The partitions a worker owns, and those of them that stopped, with the code of why."""

    owned: tuple[int, ...]
    stopped: dict[int, str]


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
        self._relay_turns = asyncio.Semaphore(TURNS)
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
        self._count_stopped()

    async def run(self) -> None:
        """Joins the group and works until `stop`; waits out a log that does not answer. Runs once."""
        self._member = asyncio.get_running_loop().create_future()

        async def join() -> GroupMember:
            return await self._log.join(self._config.received_topic, self._config.group, self)

        joining = asyncio.ensure_future(patiently(join, doing="join the group"))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((joining, stopping), return_when=asyncio.FIRST_COMPLETED)
            if joining.done():
                self._member.set_result(joining.result())
                await self._watch_lag(stopping)
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

    def status(self) -> RunnerStatus:
        """What this worker owns and what stopped; for /readyz."""
        return RunnerStatus(tuple(sorted(self._tasks)), dict(sorted(self._stopped.items())))

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
            for partition in tasks:
                self._metrics.forget_partition(partition)
            _log.info("partitions_released", partitions=sorted(tasks), late=len(late))
        self._metrics.partitions_owned.set(len(self._tasks))

    async def _own(self, partition: int) -> None:
        """One partition from gaining it to losing it."""
        try:
            await self._work(partition)
        except Exception as error:  # noqa: BLE001 - whatever it is stops this partition, loudly, and no other
            self._mark_stopped(partition, error)

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
            turns=self._relay_turns,
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
            self._mark_stopped(partition, error)
            await worker.wait_stopped()

    async def _watch_lag(self, stopping: asyncio.Task[Literal[True]]) -> None:
        """Until the stop: how many records lie behind each owned partition's offset, for the metrics."""
        while not stopping.done():
            try:
                owned = sorted(self._workers)
                bounds = await self._log.bounds(self._config.received_topic, owned) if owned else {}
                for partition, known in bounds.items():
                    if (worker := self._workers.get(partition)) is not None:
                        self._metrics.log_lag.labels(str(partition)).set(max(0, known.end - worker.next_offset))
            except Unavailable as error:
                _log.debug("lag_unknown", code=error.code)
            await asyncio.wait((stopping,), timeout=LAG_EVERY_S)

    def _mark_stopped(self, partition: int, error: Exception) -> None:
        own = error.code if isinstance(error, MealtrailError) else MealtrailError.code
        code = own if own in STOP_CODES else MealtrailError.code
        self._stopped[partition] = code
        self._count_stopped()
        offset = error.offset if isinstance(error, PartitionStopped) else None
        _log.error("partition_stopped", partition=partition, offset=offset, code=own, exc_info=error)

    def _count_stopped(self) -> None:
        stopped = list(self._stopped.values())
        for code in STOP_CODES:
            self._metrics.partitions_stopped.labels(code).set(stopped.count(code))
