"""The list of what was set aside, read back from the dead-letters topic before a rebuild reads the log.

The trail depends on this list as it does on the log, so it must be whole: numbered from 1 without gaps in every
partition. The topic holds a row twice where a publish was repeated; the first one counts.
"""

from __future__ import annotations

from contextlib import aclosing

import orjson

from backbone.eventlog.port import EventLog
from backbone.eventlog.topic_reading import read_stretch
from consumers.dead_letter import Failure, Pair
from schemas.errors import RebuildRefused


async def read_list(log: EventLog, topic: str, partition: int, *, after: int = 0) -> dict[Pair, Failure]:
    """The pairs of one partition with numbers above `after`, in the order of their numbers. Erased ones count too.

    Raises RebuildRefused for a list with gaps or an entry that cannot be read, LogUnavailable, LogGap.
    """
    bounds = (await log.bounds(topic, [partition]))[partition]
    pairs: dict[Pair, Failure] = {}
    last = after
    if bounds.start > 0 and bounds.start == bounds.end:
        raise _refused(topic, partition, f"its {bounds.end} entries expired or were deleted")
    async with aclosing(read_stretch(log, topic, partition, bounds)) as batches:
        async for records in batches:
            for record in records:
                seq, pair, failure = _read_entry(topic, partition, record.offset, record.value)
                if seq <= last:
                    continue
                if seq != last + 1:
                    raise _refused(topic, partition, f"after number {last} comes {seq}")
                pairs[pair], last = failure, seq
    return pairs


def _read_entry(topic: str, partition: int, offset: int, value: bytes) -> tuple[int, Pair, Failure]:
    try:
        entry = orjson.loads(value)
        seq, pair = int(entry["seq"]), (int(entry["in_hand_offset"]), int(entry["event_offset"]))
        return seq, pair, Failure(str(entry["error"]), int(entry["attempts"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise _refused(topic, partition, f"the entry at offset {offset} cannot be read") from error


def _refused(topic: str, partition: int, what: str) -> RebuildRefused:
    return RebuildRefused(
        f"the list of dead letters of partition {partition} ({topic}) is not whole: {what}. Without it the log would "
        "be applied otherwise than it was. Restore the database from a backup instead"
    )
