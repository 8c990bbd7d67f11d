"""Records of people's acts: into the log, and the wait until consumers have applied them.

A command takes its store and its log from settings, and a wrong one of them joins two deployments: the act would lie in
the log of one, and be looked up in the store of the other. So nothing is appended, and no act recorded, before the log
is known to be the store's own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from backbone.eventlog.opening import open_event_log
from backbone.eventlog.port import EventLog, NewRecord, Position
from backbone.settings import Settings
from backbone.store.engine import Store
from backbone.store.next_offsets import next_offsets
from consumers.log_identity import LogIdentity
from service.cli.own_files import require_log_file, require_own_log
from service.cli.parts import Parts

_POLL_S = 0.1
_AT_ONCE = 500

Place = tuple[int, int]
"""A record's partition and offset."""
_Seen = TypeVar("_Seen")


@asynccontextmanager
async def started_log(settings: Settings) -> AsyncIterator[EventLog]:
    """The log of the settings for as long as the block takes. Raises LogUnavailable."""
    log = open_event_log(settings)
    try:
        await log.start()
        yield log
    finally:
        await log.stop()


@asynccontextmanager
async def own_log(parts: Parts, partitions: int) -> AsyncIterator[EventLog]:
    """The log that the store was filled from, for as long as the block takes.

    Raises LogMismatch, HistoryLost, StoreRebuilding, ConfigurationError where it is another one, or none;
    LogUnavailable, StoreUnavailable.
    """
    settings, store = parts.settings, parts.store
    if settings.embedded:
        await require_log_file(settings)
    async with started_log(settings) as log:
        await LogIdentity(log, store, settings.topics).check_process(partitions)
        if settings.embedded:
            await require_own_log(settings, log, store)
        yield log


async def append_acts(log: EventLog, topic: str, records: Sequence[NewRecord]) -> list[Position]:
    """Where the records lie in the topic, in their order.

    Raises LogUnavailable; some of the records may be in the log all the same.
    """
    positions: list[Position] = []
    for start in range(0, len(records), _AT_ONCE):
        positions += await log.append(topic, records[start : start + _AT_ONCE])
    return positions


async def wait_applied(store: Store, places: Collection[Place], wait_s: float) -> set[Place]:
    """Those of the records that are applied, once all are or `wait_s` seconds are over. Raises StoreUnavailable."""
    wanted = set(places)

    async def look() -> set[Place]:
        upcoming = await next_offsets(store)
        return {(partition, offset) for partition, offset in wanted if upcoming.get(partition, 0) > offset}

    return await wait_for(look, lambda applied: applied == wanted, wait_s)


async def wait_for(look: Callable[[], Awaitable[_Seen]], is_enough: Callable[[_Seen], bool], wait_s: float) -> _Seen:
    """What `look` saw last: as soon as that is enough, or after `wait_s` seconds. Looks once at least."""
    give_up = time.monotonic() + wait_s
    while True:
        seen = await look()
        if is_enough(seen) or time.monotonic() >= give_up:
            return seen
        await asyncio.sleep(_POLL_S)
