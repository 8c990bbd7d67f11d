"""One partition from gaining it to losing it: the tasks that run side by side while a worker owns it.

    applying     takes records through the applier (`consumers.partition`)
    publishing   sends committed rows to the outcomes and the dead-letters topic (`consumers.relay`), one task each
    expiring     looks for old data (`consumers.expiry`), where anything is to be kept for a while only

Applying ends first, whatever the reason; the relays then publish what is committed, as far as the log takes it, and the
claim in the store is let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from backbone.eventlog.port import GroupMember
from backbone.store.engine import Store
from consumers.expiry import Expiry
from consumers.offset_rows import Cursor
from consumers.partition import PartitionParts, PartitionWorker
from consumers.patience import patiently
from consumers.relay import Publication, Relay, Relays
from schemas.errors import PartitionStopped, Unavailable
from schemas.records import Erasable

_log = structlog.get_logger("mealtrail.consumers")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnershipParts:
    """What all partitions of a worker share."""

    partition: PartitionParts
    store: Store
    outcomes: Publication
    dead_letters: Publication
    turns: asyncio.Semaphore
    """Relays that may have a batch at the log at once."""
    keep_ms: Mapping[Erasable, int]
    """How long each class of data is kept; for good where it is not named."""


class Ownership:
    """One partition's tasks. `run` is called once."""

    def __init__(
        self, parts: OwnershipParts, partition: int, *, mark_stopped: Callable[[int, Exception], None]
    ) -> None:
        self._parts = parts
        self._partition = partition
        self._mark_stopped = mark_stopped
        self._stopping = False
        self.worker: PartitionWorker | None = None
        """Who applies; None before the claim and after the end."""

    def stop(self) -> None:
        """Ends `run` after the batch in hand. Returns at once, may be repeated."""
        self._stopping = True
        if self.worker is not None:
            self.worker.stop()

    async def run(self, member: GroupMember) -> None:
        """Claims the partition and works until `stop`, waiting out a store that does not answer.

        A partition that stops by itself is told to `mark_stopped` and stays owned, so that what is committed is still
        published. Raises what is a fault of ours.
        """

        async def claim() -> Cursor:
            return await self._parts.partition.applier.claim(self._partition)

        cursor = await patiently(claim, doing="claim the partition", partition=self._partition)
        relays = Relays(
            outcomes=self._relay(self._parts.outcomes, cursor.published),
            dead_letters=self._relay(self._parts.dead_letters, cursor.dead_published),
        )
        worker = PartitionWorker(self._parts.partition, partition=self._partition, relays=relays, cursor=cursor)
        if self._stopping:
            worker.stop()
        self.worker = worker
        try:
            await self._work(worker, relays, member)
        finally:
            self.worker = None
        try:
            await relays.dead_letters.drain()
            await relays.outcomes.drain()
        except Unavailable as error:
            published = relays.outcomes.published
            _log.info("outcomes_left_to_successor", partition=self._partition, published=published, code=error.code)
        await self._let_go(worker)

    async def _work(self, worker: PartitionWorker, relays: Relays, member: GroupMember) -> None:
        """Everything side by side, until the worker or a relay ends."""
        applying = asyncio.create_task(self._apply(worker, member), name=f"apply-{self._partition}")
        publishing = [
            asyncio.create_task(relay.run(), name=f"relay-{self._partition}")
            for relay in (relays.outcomes, relays.dead_letters)
        ]
        expiring = asyncio.create_task(self._expire(), name=f"expiry-{self._partition}")
        try:
            await asyncio.wait((applying, *publishing), return_when=asyncio.FIRST_COMPLETED)
            for ended in publishing:
                if ended.done():
                    ended.result()
            await applying
        finally:
            for task in (applying, *publishing, expiring):
                task.cancel()
            await asyncio.gather(applying, *publishing, expiring, return_exceptions=True)

    async def _apply(self, worker: PartitionWorker, member: GroupMember) -> None:
        """Applies until the end, or until the partition stops and is given up."""
        try:
            await worker.run(member)
        except PartitionStopped as error:
            self._mark_stopped(self._partition, error)
            await worker.wait_stopped()

    async def _expire(self) -> None:
        """Looks for old data until cancelled."""
        if self._parts.keep_ms:
            shared = self._parts.partition
            await Expiry(
                log=shared.log,
                store=self._parts.store,
                topic=shared.received_topic,
                partition=self._partition,
                keep_ms=self._parts.keep_ms,
                clock=shared.clock,
                metrics=shared.metrics,
            ).run()

    def _relay(self, publication: Publication, published: int) -> Relay:
        return Relay(
            log=self._parts.partition.log,
            publication=publication,
            store=self._parts.store,
            partition=self._partition,
            published=published,
            turns=self._parts.turns,
        )

    async def _let_go(self, worker: PartitionWorker) -> None:
        """This owner leaves alive: whatever it had in hand has not killed it."""
        try:
            await self._parts.partition.applier.let_go(self._partition, worker.next_offset)
        except Unavailable as error:
            _log.info("claim_left_standing", partition=self._partition, code=error.code)
