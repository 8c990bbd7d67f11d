"""Look-ups in the table of waiting events that a batch needs: which may end under its records, and how many wait.

What one record can set off is bounded (`consumers.ledger`), so that is loaded of what is due, and not all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import BigInteger, bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.tables import held_events
from consumers.ledger import EXPIRIES_PER_RECORD
from consumers.ledger_entries import HoldKind

HELD_FIELDS = ("workspace", "offset", "deadline_ms", "received_ms", "kind", "content_digest", "record")
"""What a waiting event is read from."""

# Made once: making a statement costs as much as running it, and these are run for every batch.
_DUE = (held_events.c.partition == bindparam("of_partition"), held_events.c.deadline_ms <= bindparam("until_ms"))
_IN_TURN = (
    select(*(held_events.c[name] for name in HELD_FIELDS))
    .where(*_DUE)
    .order_by(held_events.c.deadline_ms, held_events.c.offset)
    .limit(bindparam("most", type_=BigInteger))
)
_HELD_BY_SOURCE = (
    select(held_events.c.source_uid, func.count())
    .where(
        held_events.c.partition == bindparam("of_partition"),
        held_events.c.source_uid.in_(bindparam("source_uids", expanding=True)),
        held_events.c.kind != HoldKind.PARKED.value,
    )
    .group_by(held_events.c.source_uid)
)


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
    due = {"of_partition": partition, "until_ms": until_ms}
    limit = EXPIRIES_PER_RECORD * records
    rows = (await connection.execute(_IN_TURN, {**due, "most": limit})).all()
    if len(rows) == limit:
        parking = select(held_events.c.order_id).where(
            held_events.c.partition == partition, held_events.c.offset.in_(sorted(offsets))
        )
        out_of_turn = or_(held_events.c.order_id.in_(sorted(order_ids)), held_events.c.order_id.in_(parking))
        counting = select(func.count()).where(*_DUE, out_of_turn)
        more = (await connection.execute(counting, due)).scalar_one()
        if more:
            rows = (await connection.execute(_IN_TURN, {**due, "most": limit + more})).all()
    return [tuple(row) for row in rows]


async def count_held(connection: AsyncConnection, partition: int, source_uids: Collection[str]) -> Counter[str]:
    """How many events of these sources wait, parked ones aside."""
    if not source_uids:
        return Counter()
    values = {"of_partition": partition, "source_uids": sorted(source_uids)}
    counts = await connection.execute(_HELD_BY_SOURCE, values)
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
