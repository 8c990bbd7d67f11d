"""A stretch of one partition, read from beginning to end without owning it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from backbone.eventlog.port import Bounds, EventLog, LogRecord
from schemas.errors import LogUnavailable

_WAIT_S = 5.0
_MOST_SILENCES = 6


async def read_stretch(
    log: EventLog, topic: str, partition: int, stretch: Bounds, *, max_records: int = 2000
) -> AsyncGenerator[list[LogRecord], None]:
    """The records from `stretch.start` to before `stretch.end`, in batches of at most `max_records`, none empty.

    Close it when leaving early (`contextlib.aclosing`). Raises LogUnavailable, also when the log answers and nothing
    comes for half a minute; LogGap.
    """
    if stretch.start >= stretch.end:
        return
    reader = await log.tail(topic, {partition: stretch.start})
    try:
        upcoming, silences = stretch.start, 0
        while upcoming < stretch.end:
            wanted = min(max_records, stretch.end - upcoming)
            records = await reader.read(max_records=wanted, timeout=_WAIT_S)
            if records:
                upcoming, silences = records[-1].offset + 1, 0
                yield records
                continue
            silences += 1
            if silences >= _MOST_SILENCES:
                raise LogUnavailable(f"{topic}/{partition}: the record at offset {upcoming} does not come")
    finally:
        await reader.stop()
