"""The worker: takes its share of the received topic's partitions and keeps one task for each it owns.

Assignment may be wrong for a while (a frozen worker still believes in its own), which does no harm: the fence in the
store decides who applies. What this file adds is liveness: partitions start when they are gained, finish the batch in
hand when they are lost, and a partition that had to stop leaves the others alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

import structlog

from backbone.clocks import SYSTEM_CLOCK, Clock
from backbone.eventlog.port import EventLog, GroupMember
from backbone.metrics import Metrics
from backbone.store.engine import Store
from consumers.applier import Applier
from consumers.dead_letter_limits import DEFAULT_LIMITS, DeadLetterLimits
from consumers.dead_letter_relay import dead_letters_publication
from consumers.log_identity import LogIdentity
from consumers.ownership import Ownership, OwnershipParts
from consumers.partition import RETRY_PAUSE_S, PartitionParts, PartitionWorker
from consumers.patience import patiently
from consumers.published_topics import PublishedTopics
from consumers.relay import TURNS, outcomes_publication
from schemas.errors import (
    ConfigurationError,
    LogGap,
    LogReplaced,
    MealtrailError,
    PartitionStopped,
    RecordUnappliable,
    RecordUnknown,
    TooManyDeadLetters,
    Unavailable,
)
from schemas.records import Erasable
from schemas.topics import TopicNames

_log = structlog.get_logger("mealtrail.consumers")


STOP_CODES = (
    LogGap.code,
    LogReplaced.code,
    RecordUnknown.code,
    RecordUnappliable.code,
    TooManyDeadLetters.code,
    ConfigurationError.code,
    MealtrailError.code,
)
"""What a partition can stop with; anything else counts as the last, a fault of ours."""


LAG_EVERY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfig:
    """Names and bounds of a worker."""

    topics: TopicNames
    group: str
    batch_size: int = 1000
    idle_s: float = 1.0
    stop_timeout_s: float = 10.0
    """How long a partition may take to finish its batch and publish it when it is lost or the worker stops."""
    limits: DeadLetterLimits = DEFAULT_LIMITS
    retry_pause_s: float = RETRY_PAUSE_S
    retention: tuple[tuple[Erasable, int], ...] = ()
    """How long each class of data is kept, in milliseconds; for good where it is not named."""


@dataclass(frozen=True, slots=True)
class RunnerStatus:
    """The partitions a worker owns, and those of them that stopped, with the code of why.

    `heavy` has the partitions that stand at a record whose transaction the store does not finish, with its offset.
    """

    owned: tuple[int, ...]
    stopped: dict[int, str]
    heavy: dict[int, int] = field(default_factory=dict)
    is_log_replaced: bool = False
    """Whether the received topic is another one than the store remembers; seen also while no partition is owned."""


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
        self._config = config
        self._metrics = metrics
        self._identity = LogIdentity(log, store, config.topics)
        self._parts = PartitionParts(
            log=log,
            applier=Applier(store),
            identity=self._identity,
            published=PublishedTopics(log, store, config.topics),
            metrics=metrics,
            clock=clock,
            received_topic=config.topics.received,
            batch_size=config.batch_size,
            idle_s=config.idle_s,
            limits=config.limits,
            retry_pause_s=config.retry_pause_s,
        )
        self._shared = OwnershipParts(
            partition=self._parts,
            store=store,
            outcomes=outcomes_publication(config.topics.outcomes, metrics),
            dead_letters=dead_letters_publication(config.topics.dead_letters, metrics),
            turns=asyncio.Semaphore(TURNS),
            keep_ms=dict(config.retention),
        )
        self._member: asyncio.Future[GroupMember] | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ownerships: dict[int, Ownership] = {}
        self._stopped: dict[int, str] = {}
        self._is_log_replaced = False
        self._stopping = asyncio.Event()
        self._count_stopped()

    async def run(self) -> None:
        """Joins the group and works until `stop`; waits out a log that does not answer. Runs once."""
        self._member = asyncio.get_running_loop().create_future()

        async def join() -> GroupMember:
            return await self._log.join(self._config.topics.received, self._config.group, self)

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
        for ownership in self._ownerships.values():
            ownership.stop()

    def status(self) -> RunnerStatus:
        """What this worker owns and what stopped; for /readyz."""
        workers = sorted(self._workers().items())
        heavy = {partition: at for partition, one in workers if (at := one.too_heavy_offset) is not None}
        return RunnerStatus(
            tuple(sorted(self._tasks)), dict(sorted(self._stopped.items())), heavy, self._is_log_replaced
        )

    def gained(self, partitions: Collection[int]) -> None:
        """Starts a task for each partition (called by the log)."""
        for partition in partitions:
            before = self._tasks.get(partition)
            if before is None or before.done():
                self._stopped.pop(partition, None)
                ownership = Ownership(self._shared, partition, mark_stopped=self._mark_stopped)
                if self._stopping.is_set():
                    ownership.stop()
                self._ownerships[partition] = ownership
                self._tasks[partition] = asyncio.create_task(
                    self._own(partition, ownership), name=f"partition-{partition}"
                )
        self._metrics.partitions_owned.set(len(self._tasks))
        _log.info("partitions_gained", partitions=sorted(partitions))

    async def lost(self, partitions: Collection[int]) -> None:
        """Lets each partition finish the batch in hand, bounded in time (called by the log)."""
        tasks = {p: task for p in partitions if (task := self._tasks.pop(p, None)) is not None}
        for partition in tasks:
            self._ownerships.pop(partition).stop()
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

    async def _own(self, partition: int, ownership: Ownership) -> None:
        """One partition from gaining it to losing it."""
        try:
            await ownership.run(await self._joined())
        except Exception as error:  # noqa: BLE001 - whatever it is stops this partition, loudly, and no other
            self._mark_stopped(partition, error)

    async def _joined(self) -> GroupMember:
        if self._member is None:
            raise RuntimeError("the runner is not running")
        return await asyncio.shield(self._member)

    def _workers(self) -> dict[int, PartitionWorker]:
        """Who applies, by partition."""
        return {number: one.worker for number, one in self._ownerships.items() if one.worker is not None}

    async def _watch_lag(self, stopping: asyncio.Task[Literal[True]]) -> None:
        """Until the stop, every few seconds: whether the topic is still the same one, and how many records lie behind
        each owned partition's offset, for the metrics.
        """
        while not stopping.done():
            try:
                owned = sorted(self._workers())
                self._note_topic(is_same=await self._identity.is_same_topic())
                bounds = await self._log.bounds(self._config.topics.received, owned) if owned else {}
                for partition, known in bounds.items():
                    if (worker := self._workers().get(partition)) is not None:
                        self._metrics.log_lag.labels(str(partition)).set(max(0, known.end - worker.next_offset))
            except Unavailable as error:
                _log.debug("lag_unknown", code=error.code)
            await asyncio.wait((stopping,), timeout=LAG_EVERY_S)

    def _note_topic(self, *, is_same: bool) -> None:
        """A topic that was made anew makes every partition look for itself; a worker without any can only say so."""
        if not is_same:
            for doubtful in self._workers().values():
                doubtful.doubt()
            if not self._is_log_replaced:
                topic = self._config.topics.received
                _log.error("log_replaced", topic=topic, owned=len(self._tasks), see="docs/runbook.md")
        self._is_log_replaced = not is_same

    def _mark_stopped(self, partition: int, error: Exception) -> None:
        own = error.code if isinstance(error, MealtrailError) else MealtrailError.code
        kind = ConfigurationError.code if isinstance(error, ConfigurationError) else MealtrailError.code
        code = own if own in STOP_CODES else kind
        self._stopped[partition] = code
        self._count_stopped()
        offset = error.offset if isinstance(error, PartitionStopped) else None
        _log.error("partition_stopped", partition=partition, offset=offset, code=own, exc_info=error)

    def _count_stopped(self) -> None:
        stopped = list(self._stopped.values())
        for code in STOP_CODES:
            self._metrics.partitions_stopped.labels(code).set(stopped.count(code))
