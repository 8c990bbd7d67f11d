"""Positions in both databases: kept once a source and order, the newer one, and deleted with their order's end."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import insert, select, update

from backbone.store.engine import Store
from backbone.store.positions import CourierPosition, PositionRepository, Reported
from backbone.store.tables import courier_positions, orders
from schemas.statuses import Role
from tests.support.stores import store as store  # noqa: PLC0414 - a fixture

_ONE = CourierPosition(
    order_id="A", source_uid="u1", latitude=1.5, longitude=-2.25, occurred_us=10, received_at=1_700_000_000_000
)


async def kept(store: Store) -> list[tuple[str, float]]:
    """What lies in the table."""
    async with store.reading() as connection:
        columns = (courier_positions.c.source_uid, courier_positions.c.latitude)
        rows = await connection.execute(select(*columns).order_by(courier_positions.c.source_uid))
        return [(uid, latitude) for uid, latitude in rows]


async def test_positions_are_kept_replaced_and_deleted(store: Store) -> None:
    """Several in one call; the older claim and the earlier arrival do not replace; a sweep takes ended orders' ones."""
    needed = {
        column.name: column.type.python_type()
        for column in orders.columns
        if not column.nullable and not column.default
    }
    row = {**needed, "workspace": "default", "order_id": "A", "status": "READY", "courier": "c1"}
    async with store.transaction() as connection:
        await connection.execute(insert(orders).values(row))
    repository = PositionRepository(store)

    def by(position: CourierPosition, role: Role = Role.COURIER, party: str = "c1") -> Reported:
        return Reported(position=position, role=role, parties=(party,))

    other = replace(_ONE, source_uid="u2", latitude=2.5)
    await repository.record([by(other), by(_ONE), by(replace(_ONE, source_uid="u3"), party="c2")])
    assert await kept(store) == [("u1", 1.5), ("u2", 2.5)]
    await repository.record([by(replace(_ONE, latitude=9.0, occurred_us=9))])
    await repository.record([by(replace(_ONE, latitude=9.0, received_at=5))])
    assert await kept(store) == [("u1", 1.5), ("u2", 2.5)]
    await repository.record([by(replace(_ONE, latitude=3.5, occurred_us=None))])
    assert await kept(store) == [("u1", 3.5), ("u2", 2.5)]
    await repository.record([by(replace(_ONE, latitude=9.0, occurred_us=9))])
    assert await kept(store) == [("u1", 3.5), ("u2", 2.5)], "one without a time leaves the newest claim"
    await repository.forget_ended()
    assert len(await kept(store)) == 2
    async with store.transaction() as connection:
        await connection.execute(update(orders).values(status="DELIVERED"))
    await repository.record([by(replace(_ONE, latitude=4.5, occurred_us=None))])
    assert await kept(store) == [("u1", 3.5), ("u2", 2.5)]
    await repository.forget_ended()
    assert await kept(store) == []
