"""How far retention has looked at a partition: kept in its `offsets` row, for each class of data of its own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.tables import offsets
from schemas.records import Erasable


async def read_kept_from(connection: AsyncConnection, partition: int, erasable: Erasable) -> tuple[int, int] | None:
    """How far retention has looked at a partition for one class (an offset), and the watermark; None without owner."""
    column = kept_from_column(erasable)
    query = select(column, offsets.c.watermark_ms).where(offsets.c.partition == partition)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else (row[0], row[1])


def kept_from_column(erasable: Erasable) -> Any:
    """The column of `offsets` that remembers it."""
    return offsets.c.payloads_kept_from if erasable is Erasable.PAYLOADS else offsets.c.personal_kept_from
