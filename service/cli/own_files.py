"""Whether log and store of a data directory belong together, asked before the server on it takes anything in.

A consumer stops a partition whose log does not reach from what the store has applied; with Kafka the other partitions
go on, and a person looks. In one directory both files are ours: where they do not fit, one of them was lost or comes
from another backup, and a webhook answered 202 now would lie in a log that nobody applies.
"""

from __future__ import annotations

from sqlalchemy import inspect, select

from backbone.eventlog.embedded_file import FILE_NAME
from backbone.eventlog.port import EventLog
from backbone.settings import Settings
from backbone.store.engine import Store
from backbone.store.next_offsets import next_offsets
from backbone.store.opening import STORE_FILE, open_store
from backbone.store.tables import offsets
from schemas.errors import LogGap, LogMismatch


async def require_log_file(settings: Settings) -> None:
    """Raises LogMismatch when the log is missing beside a store that was filled from it, before anybody makes a
    new one in its place. Raises StoreUnavailable.
    """
    log_file, store_file = settings.data_dir / FILE_NAME, settings.data_dir / STORE_FILE
    if log_file.exists() or not store_file.exists():
        return
    store = open_store(settings, purpose="service")
    try:
        async with store.reading() as connection:
            if not await connection.run_sync(lambda sync: inspect(sync).has_table(offsets.name)):
                return
            applied = await connection.scalar(select(offsets.c.partition).where(offsets.c.next > 0).limit(1))
    finally:
        await store.close()
    if applied is not None:
        raise LogMismatch(
            f"{log_file} is missing, and {store_file} was filled from it: put the log back from the same backup as the "
            "store, or move the store away too to begin anew"
        )


async def require_own_log(settings: Settings, log: EventLog, store: Store) -> None:
    """Raises LogGap unless the log holds what the store has to apply next, in every partition.

    Raises LogUnavailable, StoreUnavailable.
    """
    partitions = range(settings.partitions)
    applied = await next_offsets(store)
    bounds = await log.bounds(settings.topics.received, partitions)
    for partition in partitions:
        wanted, held = applied.get(partition, 0), bounds[partition]
        if not held.start <= wanted <= held.end:
            raise LogGap(
                f"{settings.data_dir / FILE_NAME} is not the log that {settings.data_dir / STORE_FILE} was filled "
                f"from, or an older or newer copy: of partition {partition} the store wants offset {wanted}, the log "
                f"holds {held.start} to {held.end}. Put both files back from one backup, or move "
                "both away to begin anew",
                partition=partition,
                offset=wanted,
            )
