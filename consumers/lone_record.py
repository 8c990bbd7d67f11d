"""One record that failed, or may kill the process: tried until it is applied, with what must be set aside for it.

Failures count against a *pair*: the offset in hand, and where the event was logged that was being decided. A healthy
record may release a hold whose decision fails, and it is the hold that is set aside then. Each failure is counted in
the store before the next try. After the allowed number the pair joins those that are aside, and the record is applied
with them, in the one fenced transaction that passes it. One record may need several pairs.

Where the process may die, every decision is rehearsed first, on a ledger that is thrown away. It is counted before it
is begun, and the count is taken back once it went well; so if the process dies, the count stands and names the event
that killed it. Then the rows are written, which may kill the process as well: until they are committed that counts
against the record in hand, or where that is aside already, against the first of the others decided under it. Outages
of the store or the log count against nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from traceback import walk_tb

import structlog

from backbone.eventlog.port import LogRecord
from backbone.metrics import Metrics
from backbone.store.dead_letters import PairId
from consumers.applier import Applier, parse_records
from consumers.attempts import PROCESS_DIED, AttemptRepository, Counted
from consumers.culprit import find_culprit
from consumers.dead_letter import Aside, Failure, Pair
from consumers.dead_letter_limits import DeadLetterLimits, check_limits
from consumers.ledger_reading import order_key_of
from consumers.logged_event import LoggedControl
from consumers.patience import T, patiently
from schemas.errors import MealtrailError, RecordUnappliable, RecordUnknown, TooManyDeadLetters
from schemas.records import TickRecord

_log = structlog.get_logger("mealtrail.consumers")
LONGEST_PAUSE_S = 2.0
LEAVING_S = 1.0
"""How long taking a count back may hold up a worker that is being stopped."""
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
        self._pause_s = pause_s
        self._counts = AttemptRepository(applier.store, record.partition)
        self._failures: dict[int, Failure] = {}
        """What is counted, by the event's offset."""
        self._counted: RecordUnappliable | None = None
        """A failure that was counted before its decision was begun."""
        self._aside: dict[Pair, Failure] = {}
        self._decided: dict[int, None] = {}
        """The record in hand, and the others decided in the last rehearsal."""

    async def insist(self, failure: RecordUnappliable | None = None, *, rehearse: bool = False) -> None:
        """Tries until the record is applied, or the worker is to stop.

        `failure` is that of a try that was made already. Raises TooManyDeadLetters; RecordUnknown, LogGap;
        RecordUnappliable where not even setting aside helps; PartitionLost.
        """
        self._failures = await self._patiently(lambda: self._counts.of(self._in_hand))
        while self._upcoming() == self._in_hand:
            blamed = None if failure is None else await self._blame(failure)
            await self._give_up()
            if blamed is not None and blamed not in self._aside and await self._stopped_in_pause(blamed):
                return
            failure = None
            try:
                if rehearse:
                    await self._rehearse()
                    await self._apply_guarded()
                else:
                    await self._apply([self._record], self._aside)
            except RecordUnappliable as error:
                failure = error

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
        tries = self._tries_of(event_offset) + (failure is not self._counted)
        counted = self._failures[event_offset] = Failure(failure.problem, tries)
        await self._patiently(lambda: self._counts.note(pair, counted))
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
        aside = self._aside | {(self._in_hand, event_offset): _SUSPECTED for event_offset in event_offsets}
        return await self._applier.takes(self._partition, self._record, aside)

    async def _order_of(self, event_offset: int) -> str | None:
        """The order of an event decided under the record, for people."""
        if event_offset == self._in_hand:
            (entry,) = parse_records(self._partition, [self._record])
            key = order_key_of(entry)
            return None if key is None else key[1]
        return await self._patiently(lambda: self._counts.order_of(event_offset))

    def _name_of(self, pair: Pair) -> str:
        """As `mealtrail dead-letters show` takes it."""
        return str(PairId(self._partition, *pair))

    async def _give_up(self) -> None:
        """Puts the events aside that failed often enough. Raises TooManyDeadLetters instead, past the limit."""
        for event_offset, failure in self._failures.items():
            pair = self._in_hand, event_offset
            if failure.attempts < self._limits.attempts or pair in self._aside:
                continue
            if not _is_act(self._record):  # what a person does about dead letters makes no new ones
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
            await self._patiently(lambda: self._counts.forget(self._in_hand))  # the next release tries anew
            raise

    def _tries_of(self, event_offset: int) -> int:
        counted = self._failures.get(event_offset)
        return 0 if counted is None else counted.attempts

    async def _rehearse(self) -> None:
        """Makes every decision once for nothing, each counted before it is begun."""
        step = await self._patiently(lambda: self._applier.rehearse(self._partition, self._record, self._aside))
        begun: Counted | None = None
        self._decided = {self._in_hand: None}
        try:
            while (event_offset := step()) is not None:
                self._decided[event_offset] = None
                if (self._in_hand, event_offset) not in self._aside:
                    begun = await self._begin((self._in_hand, event_offset), begun)
        except RecordUnappliable as failure:
            if begun is not None and failure.event_offset == begun[0][1]:
                self._counted = failure
            raise
        if begun is not None:
            ended = begun
            await self._patiently(lambda: self._counts.restore(ended))
            self._restore(ended)

    async def _apply_guarded(self) -> None:
        """Applies the record with its writing counted before it is begun; the commit that passes it forgets that."""
        suspect = next((one for one in self._decided if (self._in_hand, one) not in self._aside), None)
        if suspect is None:
            await self._apply([self._record], self._aside)
            return
        guarded = (self._in_hand, suspect), self._failures.get(suspect)
        counted = Failure(PROCESS_DIED, self._tries_of(suspect) + 1)
        await self._patiently(lambda: self._counts.note(guarded[0], counted))
        try:
            await self._apply([self._record], self._aside)
        except RecordUnappliable:
            await self._patiently(lambda: self._counts.restore(guarded))
            raise
        except asyncio.CancelledError:  # to be stopped in an outage is no death
            with suppress(MealtrailError, TimeoutError):
                async with asyncio.timeout(LEAVING_S):
                    await self._counts.restore(guarded)
            raise

    async def _begin(self, pair: Pair, before: Counted | None) -> Counted:
        """Counts a decision that is about to be made, and no longer the one before it."""
        if before is not None and before[0] == pair:
            return before  # decided once more under the same record
        earlier = self._failures.get(pair[1])
        counted = Failure(PROCESS_DIED, self._tries_of(pair[1]) + 1)
        await self._patiently(lambda: self._counts.note(pair, counted, before=before))
        if before is not None:
            self._restore(before)
        self._failures[pair[1]] = counted
        return pair, earlier

    def _restore(self, counted: Counted) -> None:
        (_, event_offset), earlier = counted
        if earlier is None:
            del self._failures[event_offset]
        else:
            self._failures[event_offset] = earlier

    async def _stopped_in_pause(self, blamed: Pair) -> bool:
        """Waits a little before the event's next try, longer after each; whether the worker is to stop meanwhile."""
        seconds = min(self._pause_s * 2 ** (self._tries_of(blamed[1]) - 1), LONGEST_PAUSE_S)
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


def _is_act(record: LogRecord) -> bool:
    """Whether the record is what a person does about others, and brings no event of its own."""
    try:
        (entry,) = parse_records(record.partition, [record])
    except RecordUnknown:
        return False
    return isinstance(entry, LoggedControl) and not isinstance(entry.record, TickRecord)
