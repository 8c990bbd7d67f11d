"""When a batch fails: it is split until the record whose application fails is alone, and what lies around it goes on.

Most failures say at which offset they happened; where one does not (the store refused some row), halves are tried. The
record that is left alone is `consumers.lone_record`'s: it is tried again, and what fails too often is set aside.

A batch whose transaction the store does not finish within its limits is halved too (`consumers.heavy_transaction`).

Some records kill the process instead. Whoever finds that an owner before it was never heard of again, or left counts
behind, is careful with as many records as that owner can have had in hand: each goes alone, and its decisions are
rehearsed before they are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from backbone.eventlog.port import LogRecord
from backbone.metrics import Metrics
from consumers.applier import Applier
from consumers.attempts import AttemptRepository
from consumers.dead_letter_limits import DeadLetterLimits
from consumers.lone_record import Apply, LoneRecord
from consumers.patience import patiently
from schemas.errors import LogGap, PartitionStopped, RecordUnappliable, TransactionTooHeavy

_log = structlog.get_logger("mealtrail.consumers")


class Narrowing:
    """Applies one partition's fetched records, whatever becomes of them. `upcoming` tells the next offset to apply."""

    def __init__(
        self,
        *,
        applier: Applier,
        limits: DeadLetterLimits,
        metrics: Metrics,
        partition: int,
        apply: Apply,
        upcoming: Callable[[], int],
        stopping: asyncio.Event,
        careful: asyncio.Lock,
        pause_s: float,
    ) -> None:
        self._applier = applier
        self._limits = limits
        self._metrics = metrics
        self._partition = partition
        self._apply = apply
        self._upcoming = upcoming
        self._stopping = stopping
        self._careful = careful
        self._pause_s = pause_s
        self._careful_until = 0

    async def look_back(self, *, claims: int, batch_size: int) -> None:
        """Before the first batch of an owner: whether to be careful, by what the owners before it left behind."""
        start = self._upcoming()
        counts = AttemptRepository(self._applier.store, self._partition)
        if claims > 1 or await patiently(
            lambda: counts.is_any_at(start), doing="look for counts", partition=self._partition
        ):
            self._careful_until = start + batch_size
            _log.warning("partition_suspicious", partition=self._partition, offset=start, claims=claims)

    async def apply(self, records: Sequence[LogRecord]) -> None:
        """Applies the records, or as many of them as come before a stop or the loss of the partition.

        Raises PartitionStopped: LogGap, RecordUnknown, TooManyDeadLetters; RecordUnappliable where not even setting
        aside helps. PartitionLost.
        """
        pending = [records]
        while pending:
            part = pending.pop()
            if part[0].offset != self._upcoming() or self._stopping.is_set():
                return  # the partition moved on without us, or we are to stop: the rest is fetched again
            if part[0].offset < self._careful_until:
                await self._lone(part[0]).insist(rehearse=True)
                pending += [part[1:]] if len(part) > 1 else []
                continue
            try:
                await self._apply(part, None)
            except LogGap:
                raise
            except TransactionTooHeavy:
                pending += reversed(_split(part, None))
                _log.warning("batch_halved", partition=self._partition, offset=part[0].offset, records=len(part))
            except PartitionStopped as failure:
                if len(part) > 1:
                    pending += reversed(_split(part, failure.offset))
                elif isinstance(failure, RecordUnappliable):
                    await self._lone(part[0]).insist(failure)
                else:
                    raise

    def _lone(self, record: LogRecord) -> LoneRecord:
        return LoneRecord(
            record,
            applier=self._applier,
            apply=self._apply,
            upcoming=self._upcoming,
            limits=self._limits,
            metrics=self._metrics,
            stopping=self._stopping,
            careful=self._careful,
            pause_s=self._pause_s,
        )


def _split(records: Sequence[LogRecord], culprit: int | None) -> list[Sequence[LogRecord]]:
    """The records in two or three parts, the culprit alone where it is known."""
    at = -1 if culprit is None else culprit - records[0].offset
    if not 0 <= at < len(records):
        middle = len(records) // 2
        return [records[:middle], records[middle:]]
    return [part for part in (records[:at], records[at : at + 1], records[at + 1 :]) if part]
