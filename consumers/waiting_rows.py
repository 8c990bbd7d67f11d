"""Look-ups in the table of waiting events that a batch needs: which may end under its records, and how many wait.

What one record can set off is bounded (`consumers.ledger`), so that is loaded of what is due, and not all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.tables import held_events
from consumers.ledger import EXPIRIES_PER_RECORD
from consumers.ledger_entries import HoldKind

HELD_FIELDS = ("workspace", "offset", "deadline_ms", "received_ms", "kind", "content_digest", "record")
"""What a waiting event is read from."""


async def due_rows(
    connection: AsyncConnection,
    partition: int,
    *,
    until_ms: int,
    records: int,
    order_ids: Collection[str],
    offsets: Collection[int],
) -> Sequence[tuple[Any, ...]]:
    """The holds that may end under so many records by that log time, in turn.

    Those of the batch's own orders (`order_ids`, and the orders of the events at `offsets`) may be decided before their
    turn, or be parked, and others end in their places: so as many more are taken.
    """
    due = (held_events.c.partition == partition, held_events.c.deadline_ms <= until_ms)
    in_turn = (
        select(*(held_events.c[name] for name in HELD_FIELDS))
        .where(*due)
        .order_by(held_events.c.deadline_ms, held_events.c.offset)
    )
    limit = EXPIRIES_PER_RECORD * records
    rows = (await connection.execute(in_turn.limit(limit))).all()
    if len(rows) == limit:
        parking = select(held_events.c.order_id).where(
            held_events.c.partition == partition, held_events.c.offset.in_(sorted(offsets))
        )
        out_of_turn = or_(held_events.c.order_id.in_(sorted(order_ids)), held_events.c.order_id.in_(parking))
        more = (await connection.execute(select(func.count()).where(*due, out_of_turn))).scalar_one()
        if more:
            rows = (await connection.execute(in_turn.limit(limit + more))).all()
    return [tuple(row) for row in rows]


async def count_held(connection: AsyncConnection, partition: int, source_uids: Collection[str]) -> Counter[str]:
    """How many events of these sources wait, parked ones aside."""
    if not source_uids:
        return Counter()
    counts = await connection.execute(
        select(held_events.c.source_uid, func.count())
        .where(
            held_events.c.partition == partition,
            held_events.c.source_uid.in_(sorted(source_uids)),
            held_events.c.kind != HoldKind.PARKED.value,
        )
        .group_by(held_events.c.source_uid)
    )
    return Counter({row[0]: int(row[1]) for row in counts})


async def count_parked(
    connection: AsyncConnection, partition: int, workspace: str, order_ids: Collection[str]
) -> dict[str, Counter[str]]:
    """How many events of each source are parked, by order. Orders without any are left out."""
    counts = await connection.execute(
        select(held_events.c.order_id, held_events.c.source_uid, func.count())
        .where(
            held_events.c.workspace == workspace,
            held_events.c.partition == partition,
            held_events.c.order_id.in_(sorted(order_ids)),
            held_events.c.kind == HoldKind.PARKED.value,
        )
        .group_by(held_events.c.order_id, held_events.c.source_uid)
    )
    parked: dict[str, Counter[str]] = {}
    for order_id, uid, count in counts:
        parked.setdefault(order_id, Counter())[uid] = int(count)
    return parked
