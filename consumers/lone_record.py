"""One record that failed, or may kill the process: tried until it is applied, with what must be set aside for it.

Failures count against a *pair*: the offset in hand, and where the event was logged that was being decided. A healthy
record may release a hold whose decision fails, and it is the hold that is set aside then. Each failure is counted in
the store before the next try. After the allowed number the pair joins those that are aside, and the record is applied
with them, in the one fenced transaction that passes it. One record may need several pairs.

Where the process may die, each step is counted before it is begun, and the count is taken back once it went well
(`consumers.tally`); so if the process dies, the count stands and names the event that killed it. It must name no other:
of a worker's partitions only one at a time does such things (the lock `careful`). First the record is parsed: until
then nothing looks into its bytes, and what is given up for that is set aside unread. Then every decision is rehearsed,
on a ledger that is thrown away (`consumers.rehearsal`). Then the rows are written, which may kill the process as well:
until they are committed that counts against the record in hand, or where that is aside already, against the first of
the others decided under it. Outages of the store or the log count against nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from traceback import walk_tb

import structlog

from backbone.eventlog.port import LogRecord
from backbone.metrics import Metrics
from backbone.store.dead_letters import PairId
from consumers.applier import Applier
from consumers.attempts import PROCESS_DIED, AttemptRepository
from consumers.culprit import find_culprit
from consumers.dead_letter import NOTHING_ASIDE, Aside, Failure, Pair
from consumers.dead_letter_limits import DeadLetterLimits, check_limits
from consumers.logged_event import LogEntry, LoggedControl, order_key_of
from consumers.patience import T, patiently
from consumers.tally import Tally
from schemas.dead_letters import PROCESS_DIED_READING
from schemas.errors import HistoryLost, PartitionStopped, RecordUnappliable, RecordUnknown, TooManyDeadLetters
from schemas.records import TickRecord

_log = structlog.get_logger("mealtrail.consumers")
LONGEST_PAUSE_S = 2.0
_SUSPECTED = Failure("suspected", 0)
_DECIDING = ("consumers", "schemas")
"""Packages that decisions are made of."""

Apply = Callable[[Sequence[LogRecord], Aside | None], Awaitable[None]]
"""Applies records, waiting out the store, and moves the worker's offset; None: nothing was counted against them. Raises
what Applier.apply does but StoreUnavailable, and for more than one record TransactionTooHeavy.
"""


class LoneRecord:
    """The tries of one record. `upcoming` tells the next offset to apply; once that moves, the tries are over."""

    def __init__(
        self,
        record: LogRecord,
        *,
        applier: Applier,
        apply: Apply,
        upcoming: Callable[[], int],
        limits: DeadLetterLimits,
        metrics: Metrics,
        stopping: asyncio.Event,
        careful: asyncio.Lock,
        pause_s: float,
    ) -> None:
        self._record = record
        self._in_hand = record.offset
        self._partition = record.partition
        self._applier = applier
        self._apply = apply
        self._upcoming = upcoming
        self._limits = limits
        self._metrics = metrics
        self._stopping = stopping
        self._careful = careful
        self._pause_s = pause_s
        self._tally = Tally(AttemptRepository(applier.store, record.partition), record.partition, record.offset)
        self._entry: LogEntry | None = None
        """The record, once it is understood."""
        self._counted: RecordUnappliable | None = None
        """A failure that was counted before its decision was begun."""
        self._aside: dict[Pair, Failure] = {}
        self._decided: dict[int, None] = {}
        """The record in hand, and the others decided in the last rehearsal."""

    async def insist(self, failure: RecordUnappliable | None = None, *, rehearse: bool = False) -> None:
        """Tries until the record is applied, or the worker is to stop.

        `failure` is that of a try that was made already. Raises TooManyDeadLetters; RecordUnknown, LogGap;
        RecordUnappliable where not even setting aside helps; HistoryLost; PartitionLost.
        """
        turn = self._careful if rehearse else nullcontext()
        try:
            async with turn:
                await self._tally.load()
                entry = self._entry = await self._understand(is_careful=rehearse)
            while self._upcoming() == self._in_hand:
                async with turn:
                    blamed = None if failure is None else await self._blame(failure)
                await self._give_up(entry)
                if blamed is not None and blamed not in self._aside and await self._stopped_in_pause(blamed):
                    return
                failure = None
                try:
                    if not rehearse:
                        await self._apply([self._record], self._aside)
                        continue
                    async with turn:
                        await self._rehearse(entry)
                        await self._apply_guarded()
                except RecordUnappliable as error:
                    failure = error
        except asyncio.CancelledError:
            await self._tally.leave()
            raise
        except HistoryLost:
            await self._tally.forget()  # the next release tries anew
            raise

    async def _understand(self, *, is_careful: bool) -> LogEntry:
        """The record, parsed; in careful mode counted before it is, and not parsed where that was given up."""
        own = self._tally.failures.get(self._in_hand)
        if own is not None and own.forbids_reading and own.attempts >= self._limits.attempts:
            return self._applier.understand(self._partition, self._record, {(self._in_hand, self._in_hand): own})
        if is_careful:
            await self._tally.begin(self._in_hand, PROCESS_DIED_READING)
        try:
            entry = self._applier.understand(self._partition, self._record, NOTHING_ASIDE)
        except RecordUnknown:
            await self._tally.end()
            raise
        await self._tally.end()
        return entry

    async def _blame(self, failure: RecordUnappliable) -> Pair:
        """Counts a failure against its event."""
        event_offset = failure.event_offset
        if event_offset is None:
            event_offset = await self._patiently(lambda: find_culprit(self._takes, failure.suspects))
        if event_offset is None:
            event_offset = self._in_hand
        pair = self._in_hand, event_offset
        if pair in self._aside:
            raise failure  # not even setting it aside helps
        tries = self._tally.tries_of(event_offset) + (failure is not self._counted)
        counted = Failure(failure.problem, tries)
        await self._tally.note(event_offset, counted)
        self._metrics.attempts.inc()
        _log.warning(
            "decision_failed",
            partition=self._partition,
            offset=self._in_hand,
            event_offset=event_offset,
            order_id=await self._order_of(event_offset),
            pair=self._name_of(pair),
            attempt=counted.attempts,
            problem=counted.error,
            where=_place_of(failure),
        )
        return pair

    async def _takes(self, event_offsets: Sequence[int]) -> bool:
        """Whether the store takes the record with these events aside too."""
        suspects = {(self._in_hand, event_offset): _SUSPECTED for event_offset in event_offsets}
        aside = suspects | self._aside  # what is aside unread stays so
        return await self._applier.takes(self._partition, self._record, aside)

    async def _order_of(self, event_offset: int) -> str | None:
        """The order of an event decided under the record, for people."""
        if event_offset == self._in_hand:
            key = None if self._entry is None else order_key_of(self._entry)
            return None if key is None else key[1]
        return await self._tally.order_of(event_offset)

    def _name_of(self, pair: Pair) -> str:
        """As `mealtrail dead-letters show` takes it."""
        return str(PairId(self._partition, *pair))

    async def _give_up(self, entry: LogEntry) -> None:
        """Puts the events aside that failed often enough. Raises TooManyDeadLetters instead, past the limit."""
        for event_offset, failure in self._tally.failures.items():
            pair = self._in_hand, event_offset
            if failure.attempts < self._limits.attempts or pair in self._aside:
                continue
            if not _is_act(entry):  # what a person does about dead letters makes no new ones
                await self._check_limits()
            self._aside[pair] = failure
            _log.error(
                "event_given_up",
                partition=self._partition,
                offset=self._in_hand,
                event_offset=event_offset,
                order_id=await self._order_of(event_offset),
                pair=self._name_of(pair),
                attempts=failure.attempts,
                problem=failure.error,
            )

    async def _check_limits(self) -> None:
        store, already = self._applier.store, len(self._aside)
        try:
            await self._patiently(
                lambda: check_limits(store, self._limits, self._partition, self._in_hand, already=already)
            )
        except TooManyDeadLetters:
            await self._tally.forget()  # the next release tries anew
            raise

    async def _rehearse(self, entry: LogEntry) -> None:
        """Makes every decision once for nothing, each counted before it is begun."""
        rehearsal = await self._patiently(lambda: self._applier.rehearse(self._partition, entry, self._aside))
        self._decided = {self._in_hand: None}
        try:
            if rehearsal.replayed is not None:
                await self._tally.begin(rehearsal.replayed, PROCESS_DIED_READING)
                await self._patiently(rehearsal.read)
                await self._tally.end()
            while (event_offset := rehearsal.step()) is not None:
                self._decided[event_offset] = None
                if (self._in_hand, event_offset) not in self._aside:
                    await self._tally.begin(event_offset, PROCESS_DIED)
        except PartitionStopped as failure:
            if isinstance(failure, RecordUnappliable) and failure.event_offset == self._tally.begun is not None:
                self._counted = failure
            else:
                await self._tally.end()
            raise
        await self._tally.end()

    async def _apply_guarded(self) -> None:
        """Applies the record with its writing counted before it is begun; the commit that passes it forgets that."""
        suspect = next((one for one in self._decided if (self._in_hand, one) not in self._aside), None)
        if suspect is not None:
            await self._tally.begin(suspect, PROCESS_DIED)
        try:
            await self._apply([self._record], self._aside)
        except RecordUnappliable:
            await self._tally.end()
            raise
        self._tally.passed()

    async def _stopped_in_pause(self, blamed: Pair) -> bool:
        """Waits a little before the event's next try, longer after each; whether the worker is to stop meanwhile."""
        seconds = min(self._pause_s * 2 ** (self._tally.tries_of(blamed[1]) - 1), LONGEST_PAUSE_S)
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _patiently(self, act: Callable[[], Awaitable[T]]) -> T:
        return await patiently(act, doing="apply one record", partition=self._partition)


def _place_of(failure: RecordUnappliable) -> str:
    """The line of ours that failed: the innermost one, whatever it called. Of the rest of a traceback nothing may be
    logged: it shows the event's data.
    """
    error = failure if failure.__cause__ is None else failure.__cause__
    places = [(frame.f_globals.get("__name__", ""), line, frame) for frame, line in walk_tb(error.__traceback__)]
    ours = [place for place in places if place[0].partition(".")[0] in _DECIDING]
    if not ours:
        return ""
    module, line, frame = ours[-1]
    return f"{module.replace('.', '/')}.py:{line} in {frame.f_code.co_name}"


def _is_act(entry: LogEntry) -> bool:
    """Whether the record is what a person does about others, and brings no event of its own."""
    return isinstance(entry, LoggedControl) and not isinstance(entry.record, TickRecord)
