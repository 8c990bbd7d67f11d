"""What both logs share when they append: the bounded window, and the call that waits for its positions.

An `Append` is one call of `EventLog.append`. Its records are stored a batch at a time; each stored record fills its
place, and the call's future resolves when all are there, when one has failed, or when the publish limit is over. A
call that was given up (limit, error, cancelled caller) is `abandoned`: records of it that have not left yet never do.
The `PublishLimit` ends those that take too long. All calls have the same limit, so they fall due in the order in which
they began, and one timer does for all of them.

The `PublishWindow` counts records (and bytes) from the moment they are taken until what became of them is known or
their connection was abandoned, however long the callers have been gone. So memory stays bounded while the log is down
and callers keep coming.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from backbone.eventlog.port import NewRecord, Position
from schemas.errors import LogUnavailable, RecordTooLarge
from schemas.topics import MAX_MESSAGE_BYTES

# What a record costs beside its own bytes: lengths, batch header and bookkeeping, generously.
RECORD_OVERHEAD = 128
MAX_RECORD_BYTES = MAX_MESSAGE_BYTES - 64 * 1024
"""The largest record (and batch) either log takes; the rest is room for what the protocol adds."""
PUBLISH_WINDOW_BYTES = 128 * 1024 * 1024


def record_size(record: NewRecord) -> int:
    """An upper bound, in bytes, of what a record takes in a batch."""
    size = RECORD_OVERHEAD + len(record.value) + (len(record.key) if record.key is not None else 0)
    for name, value in record.headers:
        size += len(name) * 4 + len(value) + 10
    return size


class PublishWindow:
    """Bounds the records and bytes that await the log. Not thread-safe: belongs to one event loop."""

    def __init__(self, *, records: int, size: int, record_limit: int) -> None:
        self._max_records = records
        self._max_size = size
        self._record_limit = record_limit
        self.records = 0
        self.size = 0

    def take(self, records: Sequence[NewRecord]) -> list[int]:
        """Counts the records in and returns their sizes.

        A call larger than the whole window passes when nothing else waits, as it could never pass otherwise.
        Raises LogUnavailable when the window is full, RecordTooLarge when a record can never be stored.
        """
        sizes = [record_size(record) for record in records]
        largest = total = sizes[0]
        if len(sizes) > 1:
            largest, total = max(sizes), sum(sizes)
        if largest > self._record_limit:
            raise RecordTooLarge(f"a record of {largest} bytes is over the log's limit of {self._record_limit}")
        full = self.records + len(records) > self._max_records or self.size + total > self._max_size
        if full and self.records:
            raise LogUnavailable(
                f"{self.records} records ({self.size} bytes) await the log already; "
                f"the window holds {self._max_records} ({self._max_size} bytes)"
            )
        self.records += len(records)
        self.size += total
        return sizes

    def give_back(self, size: int) -> None:
        """Counts one record of that size out."""
        self.records -= 1
        self.size -= size


class PublishLimit:
    """Ends calls that are not done within so many seconds. Belongs to the event loop that it is made in."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.loop = asyncio.get_running_loop()
        self._due: dict[Append, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, call: Append) -> None:
        """Ends the call when its time is over, unless it is forgotten before."""
        self._due[call] = self.loop.time() + self.seconds
        if self._timer is None:
            self._timer = self.loop.call_later(self.seconds, self._end_those_due)

    def forget(self, call: Append) -> None:
        """The call has ended."""
        self._due.pop(call, None)

    def _end_those_due(self) -> None:
        self._timer = None
        now = self.loop.time()
        for call, due in list(self._due.items()):
            if due > now:
                self._timer = self.loop.call_at(due, self._end_those_due)
                break
            del self._due[call]
            call.fail(LogUnavailable(f"the log did not acknowledge within {self.seconds:g} s; the outcome is unknown"))


class Append:
    """One call of append: collects positions, ends by the publish limit at the latest."""

    __slots__ = ("_limit", "_missing", "_positions", "abandoned", "future")

    def __init__(self, count: int, limit: PublishLimit) -> None:
        self._positions: list[Position | None] = [None] * count
        self._missing = count
        self._limit = limit
        self.abandoned = False
        self.future: asyncio.Future[None] = limit.loop.create_future()
        limit.watch(self)

    def place(self, index: int, position: Position) -> None:
        """The record at `index` is stored."""
        self._positions[index] = position
        self._missing -= 1
        if self._missing == 0 and not self.future.done():
            self.future.set_result(None)

    def fail(self, error: Exception) -> None:
        """Some record's outcome is unknown: the call ends with the error (the first one counts)."""
        self.abandoned = True
        if not self.future.done():
            self.future.set_exception(error)

    async def result(self) -> list[Position]:
        """Positions in the order given. Raises LogUnavailable; a cancelled wait abandons the call."""
        try:
            await self.future
        except asyncio.CancelledError:
            self.abandoned = True
            raise
        finally:
            self._limit.forget(self)
        return [position for position in self._positions if position is not None]
