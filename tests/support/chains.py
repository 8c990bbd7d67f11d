"""Orders and trails written straight into a store, with true hashes, for tests of what reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.engine import Store
from backbone.store.tables import (
    event_payloads,
    offsets,
    order_details,
    order_external_ids,
    order_parties,
    orders,
    trail,
)
from schemas.canonical import GENESIS
from schemas.outcomes import TrailRow, hash_row

DAY_ONE_MS = 1_800_000_000_000


def trail_row(partition: int, seq: int, **fields: Any) -> TrailRow:
    """A row that moves order `o1` to COOKING, with the given fields instead of the usual ones."""
    usual: dict[str, Any] = {
        "partition": partition,
        "seq": seq,
        "workspace": "default",
        "order_id": "o1",
        "event_id": f"e{seq}",
        "event_type": "status",
        "source": "kitchen",
        "source_uid": "k1",
        "role": "restaurant",
        "verdict": "applied",
        "reason": None,
        "reported_status": "COOKING",
        "fact": None,
        "from_status": "NEW",
        "to_status": "COOKING",
        "occurred_us": (DAY_ONE_MS + seq) * 1000 + 7,
        "occurred_mark": None,
        "received_ms": DAY_ONE_MS + seq,
        "decided_ms": DAY_ONE_MS + seq,
        "previous_received_ms": None,
        "previous_occurred_us": None,
        "inferred": False,
        "foreign": False,
        "restaurant": "r1",
        "courier": None,
        "marketplace": None,
        "fulfilment": None,
        "offset": seq - 1,
        "payload_digest": "0" * 64,
    }
    return TrailRow(**(usual | fields))


async def write_trail(store: Store, rows: Sequence[TrailRow]) -> None:
    """Write the rows of one partition from its chain's start, and the offsets row that remembers the head."""
    head = GENESIS
    values = []
    for row in rows:
        head = hash_row(head, row)
        values.append({**row._asdict(), "hash": head})
    async with store.transaction() as connection:
        await connection.execute(trail.insert(), values)
        await write_offsets(connection, rows[-1].partition, rows[-1].offset + 1, seq=rows[-1].seq, head=head)


async def rewrite_trail(store: Store, partition: int, rows: Sequence[TrailRow]) -> None:
    """Forge: put these rows in the place of a partition's trail, numbered and hashed anew, head and all. As the owner,
    behind the triggers' back; the result fits itself.
    """
    await tamper(store, [f"DELETE FROM trail WHERE partition = {partition}"])
    head = GENESIS
    values = []
    for seq, row in enumerate(rows, 1):
        forged = row._replace(partition=partition, seq=seq)
        head = hash_row(head, forged)
        values.append({**forged._asdict(), "hash": head})
    async with store.transaction() as connection:
        await connection.execute(trail.insert(), values)
        await connection.execute(
            offsets.update().where(offsets.c.partition == partition).values(seq=len(rows), hash=head)
        )


async def tamper(store: Store, statements: Sequence[str]) -> None:
    """Do what nobody may, as the owner: append-only triggers and constraints are off for good."""
    tables = ("trail", "admin_acts")
    if store.dialect == "postgresql":
        before = [f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in tables]
        before.append("ALTER TABLE trail DROP CONSTRAINT IF EXISTS ck_trail_numbers")
    else:
        whats = ("update", "delete", "replace")
        before = [f"DROP TRIGGER IF EXISTS {table}_refuse_{what}" for table in tables for what in whats]
        before.append("PRAGMA ignore_check_constraints = ON")
    async with store.transaction() as connection:
        for statement in [*before, *statements]:
            await connection.execute(text(statement))


async def write_payload(store: Store, row: TrailRow, payload: bytes | None, salt: bytes | None) -> None:
    """Write the bytes of a row's event, as the applier keeps them; None is erased, or not there from the start."""
    async with store.transaction() as connection:
        await connection.execute(
            event_payloads.insert().values(
                workspace=row.workspace,
                partition=row.partition,
                offset=row.offset,
                order_id=row.order_id,
                payload=payload,
                salt=None if salt is None else salt.hex(),
                attributes="[]",
            )
        )


async def write_offsets(
    connection: AsyncConnection, partition: int, following: int, *, seq: int = 0, head: bytes = GENESIS
) -> None:
    """Write a partition's offsets row: everything before offset `following` is applied."""
    await connection.execute(
        offsets.insert().values(
            partition=partition, next=following, watermark_ms=DAY_ONE_MS, published=0, seq=seq, hash=head
        )
    )


async def write_order(
    store: Store,
    order_id: str,
    announced_ms: int = DAY_ONE_MS,
    *,
    parties: Mapping[str, str] | None = None,
    former: Mapping[str, Sequence[str]] | None = None,
    external_ids: Sequence[str] = (),
    details: str | None = None,
    **fields: Any,
) -> None:
    """Write an order as the applier leaves it; `former` names replaced parties by slot."""
    parties, former = parties or {}, former or {}
    usual: dict[str, Any] = {
        "partition": 0,
        "status": "COOKING",
        "former": "{}",
        "revision": 0,
        "decision_state": "{}",
        "announced_ms": announced_ms,
        "step_received_ms": announced_ms + 5,
        "parked": False,
    }
    key = {"workspace": "default", "order_id": order_id}
    named = [(slot, party, False) for slot, party in parties.items()]
    named += [(slot, party, True) for slot, replaced in former.items() for party in replaced]
    async with store.transaction() as connection:
        await connection.execute(orders.insert().values(key | usual | dict(parties) | fields))
        for slot, party, is_former in named:
            row = key | {"slot": slot, "party": party, "former": is_former, "announced_ms": announced_ms}
            await connection.execute(order_parties.insert().values(row))
        for external_id in external_ids:
            await connection.execute(order_external_ids.insert().values(key | {"external_id": external_id}))
        if details is not None:
            await connection.execute(order_details.insert().values(key | {"details": details, "erased": False}))
