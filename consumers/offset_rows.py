"""The offset row of a partition: the fence, the watermark, the head of the chain, the published cursor.

`pass_fence` is the first statement of every transaction. It moves `next` from where this worker believes it to be; if
another worker moved it first, no row matches and the worker has lost the partition. Moving it also locks the row, so
nothing read afterwards can change before the commit. A fence that left the offset where it is would fence nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.bulk import insert_rows
from backbone.store.tables import offsets
from consumers.ledger import Ledger
from schemas.canonical import GENESIS
from schemas.errors import PartitionLost


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a partition stands: the next offset to apply, the id of the record before it, the trail's head and how far
    it is published.
    """

    next: int
    last_event_id: str | None
    seq: int
    published: int
    watermark_ms: int


async def create_offset_row(connection: AsyncConnection, partition: int) -> None:
    """Makes the partition's row at offset 0 unless there is one."""
    columns = ("partition", "next", "watermark_ms", "published", "last_event_id", "seq", "hash")
    await insert_rows(connection, offsets, columns, [(partition, 0, 0, 0, None, 0, GENESIS)], on_conflict="ignore")


async def read_cursor(connection: AsyncConnection, partition: int) -> Cursor | None:
    """The partition's cursor, or None before its first owner came."""
    row = (
        await connection.execute(
            select(
                offsets.c.next, offsets.c.last_event_id, offsets.c.seq, offsets.c.published, offsets.c.watermark_ms
            ).where(offsets.c.partition == partition)
        )
    ).one_or_none()
    return None if row is None else Cursor(*row)


async def pass_fence(
    connection: AsyncConnection, partition: int, *, start: int, end: int, last_event_id: str, published: int
) -> Ledger:
    """Moves `next` from `start` to `end`; returns the ledger of what stood before. Raises PartitionLost."""
    row = (
        await connection.execute(
            update(offsets)
            .where(offsets.c.partition == partition, offsets.c.next == start)
            .values(next=end, last_event_id=last_event_id, published=published)
            .returning(offsets.c.watermark_ms, offsets.c.seq, offsets.c.hash)
        )
    ).one_or_none()
    if row is None:
        raise PartitionLost(f"partition {partition}: another worker has moved past offset {start}")
    return Ledger(partition=partition, watermark_ms=row.watermark_ms, seq=row.seq, hash=bytes(row.hash))


async def write_head(connection: AsyncConnection, ledger: Ledger) -> None:
    """Writes the watermark and the chain's new head; the last statement before the commit."""
    await connection.execute(
        update(offsets)
        .where(offsets.c.partition == ledger.partition)
        .values(watermark_ms=ledger.watermark_ms, seq=ledger.seq, hash=ledger.hash)
    )
