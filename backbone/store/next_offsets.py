"""How far the log is applied."""

from __future__ import annotations

from sqlalchemy import select

from backbone.store.engine import Store
from backbone.store.tables import offsets


async def next_offsets(store: Store) -> dict[int, int]:
    """The offset of the next record to apply, by partition; those that nobody has owned yet are not in it.

    Raises StoreUnavailable.
    """
    async with store.reading() as connection:
        rows = await connection.execute(select(offsets.c.partition, offsets.c.next))
        return {row.partition: row.next for row in rows}
