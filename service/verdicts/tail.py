"""Reading the outcomes topic in every ingress process: all partitions, from their present ends, without a group.

The positions are kept here, so a reader that fails is replaced by one that goes on where it was and no outcome is
missed. Only at the start, and when the log no longer has what comes next, are the ends taken anew. Whenever reading
begins or ends, whoever waits is told: until it begins again the receipts alone can answer, and in between some outcomes
may have passed by.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from backbone.eventlog.port import EventLog, LogRecord, TailReader
from schemas.errors import LogGap, LogUnavailable

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
_READ_WAIT_S = 1.0
_MOST_RECORDS = 1000
_STOP_BOUND_S = 3.0
_log = structlog.get_logger("mealtrail.verdicts")


class OutcomesTail:
    """Feeds `deliver` with every outcome from now on. Calls `found` when reading begins, `lost` when it ends, in turn.

    `ready` is what they said last: whether outcomes are being read. Belongs to one event loop.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        topic: str,
        partitions: int,
        deliver: Callable[[LogRecord], None],
        found: Callable[[], None],
        lost: Callable[[], None],
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        self._event_log = log
        self._topic = topic
        self._partitions = range(partitions)
        self._deliver = deliver
        self._found = found
        self._lost = lost
        self._first_pause_s = first_pause_s
        self._next: dict[int, int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self.ready = False

    def start(self) -> None:
        """Begins to read. Returns at once; outages are waited out."""
        self._task = asyncio.create_task(self._read_for_ever(), name="read outcomes")

    async def stop(self) -> None:
        """Ends reading, within a few seconds. May be repeated."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,), timeout=_STOP_BOUND_S)
        self._turn(ready=False)

    async def _read_for_ever(self) -> None:
        pause = self._first_pause_s
        while True:
            tail: TailReader | None = None
            try:
                tail = await self._open()
                while True:
                    records = await tail.read(max_records=_MOST_RECORDS, timeout=_READ_WAIT_S)
                    self._recover()
                    pause = self._first_pause_s
                    self._take(records)
            except LogGap as gap:
                _log.warning("outcomes_skipped", problem=str(gap))
                self._next = None
            except LogUnavailable as error:
                self._fail(error)
            except Exception as error:  # noqa: BLE001 - waiting must outlive a bug in one reader; receipts still answer
                _log.error("outcomes_not_read", exc_info=error)
            finally:
                self._turn(ready=False)
                if tail is not None:
                    await _stop_bounded(tail)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _open(self) -> TailReader:
        if self._next is None:
            bounds = await self._event_log.bounds(self._topic, self._partitions)
            self._next = {partition: bounds[partition].end for partition in self._partitions}
        tail = await self._event_log.tail(self._topic, self._next)
        self._turn(ready=True)
        return tail

    def _turn(self, *, ready: bool) -> None:
        if ready is not self.ready:
            self.ready = ready
            (self._found if ready else self._lost)()

    def _take(self, records: list[LogRecord]) -> None:
        for record in records:
            if self._next is not None:
                self._next[record.partition] = record.offset + 1
            self._deliver(record)

    def _fail(self, error: LogUnavailable) -> None:
        if not self._failing:
            _log.warning("outcomes_not_read", code=error.code, problem=str(error))
        self._failing = True

    def _recover(self) -> None:
        if self._failing:
            _log.info("outcomes_read_again")
        self._failing = False


async def _stop_bounded(tail: TailReader) -> None:
    with contextlib.suppress(TimeoutError, LogUnavailable):
        async with asyncio.timeout(_STOP_BOUND_S):
            await tail.stop()
