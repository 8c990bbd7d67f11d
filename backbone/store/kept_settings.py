"""What a store remembers of its installation for good: one value by name, written once.

The functions that end in `_within` take part in the caller's transaction. All raise StoreUnavailable.
"""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.settings import Settings
from backbone.store.engine import Store
from backbone.store.tables import kept_settings
from schemas.errors import PartitionSetInvalid

PARTITIONS = "partitions"
"""How many partitions the log was made with."""
RECEIVED_TOPIC_ID = "received_topic_id"
"""Which received topic the store was filled from."""
OUTCOMES_TOPIC_ID = "outcomes_topic_id"
"""Which outcomes topic a partition was published to; a dot and the partition's number follow."""
DEPLOYMENT = "deployment"
"""A random id, given with the first anchor. A rebuilt store may be given the old one."""
REBUILD = "rebuild"
"""Stands while a rebuild is under way."""


async def keep_setting(store: Store, name: str, value: str) -> str:
    """Remember `value` under `name` unless something is remembered already; returns what is. May be repeated."""
    async with store.transaction() as connection:
        return await keep_within(connection, store, name, value)


async def kept_setting(store: Store, name: str) -> str | None:
    """What is remembered under `name`, or None."""
    async with store.reading() as connection:
        kept = await connection.execute(select(kept_settings.c.value).where(kept_settings.c.name == name))
        return kept.scalar_one_or_none()


async def keep_within(connection: AsyncConnection, store: Store, name: str, value: str) -> str:
    """`keep_setting` in a transaction of the store."""
    await connection.execute(store.insert(kept_settings).values(name=name, value=value).on_conflict_do_nothing())
    kept = await connection.execute(select(kept_settings.c.value).where(kept_settings.c.name == name))
    return str(kept.scalar_one())


async def all_kept_within(connection: AsyncConnection) -> dict[str, str]:
    """Everything that is remembered, by name."""
    rows = await connection.execute(select(kept_settings.c.name, kept_settings.c.value))
    return {row.name: row.value for row in rows}


async def forget_within(connection: AsyncConnection, name: str) -> None:
    """Remember nothing under `name` any more. May be repeated."""
    await connection.execute(delete(kept_settings).where(kept_settings.c.name == name))


async def check_partitions(store: Store, settings: Settings) -> None:
    """Raise PartitionSetInvalid unless the settings' number of partitions is the remembered one, or none is.

    With another number an order's records would go to another partition than before.
    """
    kept = await kept_setting(store, PARTITIONS)
    if kept is not None and kept != str(settings.partitions):
        raise PartitionSetInvalid(
            f"the log was made with {kept} partitions, MEALTRAIL_PARTITIONS is {settings.partitions}: set it to "
            f"{kept}. Orders live in a partition for good, so growing takes a new topic version and a drain"
        )


async def keep_partitions(store: Store, settings: Settings) -> int:
    """How many partitions the log has, remembered from now on. Raises PartitionSetInvalid if another was before."""
    await keep_setting(store, PARTITIONS, str(settings.partitions))
    await check_partitions(store, settings)
    return settings.partitions
