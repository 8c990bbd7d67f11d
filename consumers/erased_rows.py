"""Taking an order's erasable data out of the store, in the fenced transaction that passes the erase record.

What lies in the ledger (details, waiting events, dead letters) is written by `consumers.ledger_writing` like any other
change; here is what no decision reads, and what is only ever added to.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table, delete, update
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.tables import courier_positions, event_payloads, order_external_ids
from consumers.ledger_entries import Erasure
from schemas.records import Erasable


async def erase_rows(connection: AsyncConnection, partition: int, erasure: Erasure) -> None:
    """Takes away what the order has of these classes from records before the erasure's. May be repeated."""
    workspace, order_id = erasure.order_key
    gone: dict[str, Any] = {}
    if Erasable.PAYLOADS in erasure.classes:
        gone |= {"payload": None, "salt": None}
    if Erasable.PERSONAL in erasure.classes:
        gone |= {"comment": None, "cancel_reason": None, "attributes": "[]"}
    payloads = event_payloads.c
    await connection.execute(
        update(event_payloads)
        .where(
            payloads.workspace == workspace,
            payloads.order_id == order_id,
            payloads.partition == partition,
            payloads.offset < erasure.offset,
        )
        .values(gone)
    )
    if Erasable.PERSONAL in erasure.classes:
        await _forget(connection, courier_positions, erasure)


async def erase_external_ids(connection: AsyncConnection, erasure: Erasure) -> None:
    """Takes away by which other ids the order is known, before those are written that it got since."""
    if Erasable.PERSONAL in erasure.classes:
        await _forget(connection, order_external_ids, erasure)


async def _forget(connection: AsyncConnection, table: Table, erasure: Erasure) -> None:
    workspace, order_id = erasure.order_key
    await connection.execute(delete(table).where(table.c.workspace == workspace, table.c.order_id == order_id))
