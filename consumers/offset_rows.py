"""The offset row of a partition: the fence, the watermark, the head of the chain, the published cursor.

`pass_fence` is the first statement of every transaction. It moves `next` from where this worker believes it to be; if
another worker moved it first, no row matches and the worker has lost the partition. Moving it also locks the row, so
nothing read afterwards can change before the commit. A fence that left the offset where it is would fence nothing.

`claims` counts the owners that came since the offset last moved or was let go in order. Two of them mean that an owner
took the partition and was never heard of again: the records it had in hand may have killed it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from sqlalchemy import bindparam, select, update
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
    dead_seq: int = 0
    dead_published: int = 0
    claims: int = 0


async def create_offset_row(connection: AsyncConnection, partition: int) -> None:
    """Makes the partition's row at offset 0 unless there is one."""
    columns = ("partition", "next", "watermark_ms", "published", "last_event_id", "seq", "hash")
    await insert_rows(connection, offsets, columns, [(partition, 0, 0, 0, None, 0, GENESIS)], on_conflict="ignore")


async def raise_claims(connection: AsyncConnection, partition: int) -> None:
    """Notes in the partition's row that one more owner came. Every commit and `let_go` begin the count anew."""
    own = offsets.c.partition == partition
    await connection.execute(update(offsets).where(own).values(claims=offsets.c.claims + 1))


async def let_go(connection: AsyncConnection, partition: int, upcoming: int) -> None:
    """The owner whose next offset is `upcoming` leaves in order. Does nothing if another one moved the offset."""
    own = (offsets.c.partition == partition, offsets.c.next == upcoming)
    await connection.execute(update(offsets).where(*own).values(claims=0))


async def read_cursor(connection: AsyncConnection, partition: int) -> Cursor | None:
    """The partition's cursor, or None before its first owner came."""
    row = (
        await connection.execute(
            select(*(offsets.c[field.name] for field in fields(Cursor))).where(offsets.c.partition == partition)
        )
    ).one_or_none()
    return None if row is None else Cursor(*row)


_FENCE = (
    update(offsets)
    .where(offsets.c.partition == bindparam("of_partition"), offsets.c.next == bindparam("start"))
    .values(
        next=bindparam("end"),
        last_event_id=bindparam("last_id"),
        published=bindparam("published_to"),
        dead_published=bindparam("dead_published_to"),
        claims=0,
    )
    .returning(offsets.c.watermark_ms, offsets.c.seq, offsets.c.hash, offsets.c.dead_seq)
)
_HEAD = (
    update(offsets)
    .where(offsets.c.partition == bindparam("of_partition"))
    .values(
        watermark_ms=bindparam("new_watermark_ms"),
        seq=bindparam("new_seq"),
        hash=bindparam("new_hash"),
        dead_seq=bindparam("new_dead_seq"),
    )
)
"""Made once: making a statement of a dozen parts costs as much as running it, and these are run for every batch."""


async def pass_fence(
    connection: AsyncConnection,
    partition: int,
    *,
    start: int,
    end: int,
    last_event_id: str | None,
    published: int,
    dead_published: int = 0,
) -> Ledger:
    """Moves `next` from `start` to `end`, and both relays' cursors; returns the ledger of what stood before.

    Raises PartitionLost.
    """
    values = {
        "of_partition": partition,
        "start": start,
        "end": end,
        "last_id": last_event_id,
        "published_to": published,
        "dead_published_to": dead_published,
    }
    row = (await connection.execute(_FENCE, values)).one_or_none()
    if row is None:
        raise PartitionLost(f"partition {partition}: another worker has moved past offset {start}")
    return Ledger(
        partition=partition, watermark_ms=row.watermark_ms, seq=row.seq, hash=bytes(row.hash), dead_seq=row.dead_seq
    )


async def write_head(connection: AsyncConnection, ledger: Ledger) -> None:
    """Writes the watermark and the chain's new head; the last statement before the commit."""
    values = {
        "of_partition": ledger.partition,
        "new_watermark_ms": ledger.watermark_ms,
        "new_seq": ledger.seq,
        "new_hash": ledger.hash,
        "new_dead_seq": ledger.dead_seq,
    }
    await connection.execute(_HEAD, values)
