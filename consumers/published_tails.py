"""The ends of the topics that a partition's rows are published to, read without trusting who wrote there.

A relay numbers what it publishes without gaps, but may repeat it, and whoever was sent late may come after what was
sent later. So the highest number near the end is looked for, and not that of the very last record. Anything that is no
row of the partition is passed over: some stranger with the right to write put it there.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import orjson

from backbone.eventlog.port import Bounds, EventLog, LogRecord
from backbone.eventlog.topic_reading import read_stretch
from schemas.errors import LogGap, LogUnavailable

NEAR_END = 3000
"""Records among which repeats and latecomers cannot hide the highest number: two batches of a relay."""
_FIRST_LOOK = 50


def read_document(record: LogRecord) -> dict[str, Any] | None:
    """A published row's document; None for anything that is no numbered row of the record's partition."""
    try:
        document = orjson.loads(record.value)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or document.get("partition") != record.partition:
        return None
    seq = document.get("seq")
    return document if type(seq) is int and 1 <= seq < 2**63 else None


async def highest_number(
    log: EventLog, topic: str, partition: int, *, enough: int | None = None, near_end: int = NEAR_END
) -> int | None:
    """The highest number of the partition's last records; 0 where nothing was ever written, None where no row is left.

    The very last record will do if its number is `enough`. Raises LogUnavailable, also when the topic is cut meanwhile.
    """
    bounds = (await log.bounds(topic, [partition]))[partition]
    if bounds.end == 0:
        return 0
    reaches = (near_end, bounds.end) if enough is None else (1, near_end, bounds.end)
    for reach in reaches:
        stretch = Bounds(max(bounds.start, bounds.end - reach), bounds.end)
        numbers = await _numbers(log, topic, partition, stretch)
        if numbers and (reach > 1 or enough is None or max(numbers) >= enough):
            return max(numbers)
    return None


async def first_number(log: EventLog, topic: str, partition: int) -> int | None:
    """The number of the first row that the topic has near its beginning, or None. Raises LogUnavailable."""
    bounds = (await log.bounds(topic, [partition]))[partition]
    stretch = Bounds(bounds.start, min(bounds.start + _FIRST_LOOK, bounds.end))
    numbers = await _numbers(log, topic, partition, stretch)
    return numbers[0] if numbers else None


async def _numbers(log: EventLog, topic: str, partition: int, stretch: Bounds) -> list[int]:
    found: list[int] = []
    try:
        async with aclosing(read_stretch(log, topic, partition, stretch)) as batches:
            async for records in batches:
                found += [document["seq"] for document in map(read_document, records) if document is not None]
    except LogGap as gap:
        raise LogUnavailable(f"{topic}/{partition} was cut while its end was read: {gap}") from gap
    return found
