"""Couriers' latest positions. They lie beside the trail, decide nothing, and go when their order ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import and_, case, delete, func, or_, select

from backbone.store.engine import Store
from backbone.store.sources import Source
from backbone.store.tables import courier_positions, orders, sources
from backbone.store.views import Sight
from schemas.identifiers import DEFAULT_WORKSPACE
from schemas.statuses import SLOT_OF, OrderStatus, Role

_SLOTS = tuple(SLOT_OF.values())
_ENDED = (OrderStatus.DELIVERED.value, OrderStatus.CANCELLED.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierPosition:
    """Where an order's courier was. `received_at` is wall-clock milliseconds, `occurred_us` the newest time that the
    sender has claimed: a position that comes without one leaves it.
    """

    order_id: str
    source_uid: str
    latitude: float
    longitude: float
    occurred_us: int | None
    received_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A position with what its source may speak for."""

    position: CourierPosition
    role: Role
    parties: tuple[str, ...] | None


def reported_by(source: Source, position: CourierPosition) -> Reported:
    """A position as this source reports it."""
    return Reported(position=position, role=source.role, parties=source.parties)


class PositionRepository:
    """The positions of one workspace. All methods raise StoreUnavailable and may be repeated."""

    def __init__(self, store: Store, workspace: str = DEFAULT_WORKSPACE) -> None:
        self._store = store
        self._workspace = workspace

    async def record(self, reported: Sequence[Reported]) -> None:
        """Keeps each position whose order is known, open, and names its source's party now; passes over the others, and
        over one that is older than what is kept. At most one a source and order in one call.
        """
        if not reported:
            return
        # In the order of their keys, so that two processes never wait for each other crosswise.
        ordered = sorted(reported, key=lambda item: (item.position.order_id, item.position.source_uid))
        async with self._store.transaction() as connection:
            found = await connection.execute(
                select(orders.c.order_id, orders.c.restaurant, orders.c.courier, orders.c.marketplace).where(
                    orders.c.workspace == self._workspace,
                    orders.c.order_id.in_({item.position.order_id for item in ordered}),
                    orders.c.status.not_in(_ENDED),
                )
            )
            parties = {row["order_id"]: row for row in found.mappings()}
            rows = [
                {
                    "workspace": self._workspace,
                    "order_id": item.position.order_id,
                    "source_uid": item.position.source_uid,
                    "latitude": item.position.latitude,
                    "longitude": item.position.longitude,
                    "occurred_us": item.position.occurred_us,
                    "received_at": item.position.received_at,
                }
                for item in ordered
                if (row := parties.get(item.position.order_id)) is not None
                and _names(item, {slot: row[slot] for slot in _SLOTS})
            ]
            if not rows:
                return
            insert = self._store.insert(courier_positions)
            new, old = insert.excluded, courier_positions.c
            newer = and_(
                new.received_at >= old.received_at,
                or_(new.occurred_us.is_(None), old.occurred_us.is_(None), new.occurred_us >= old.occurred_us),
            )
            claimed = func.coalesce(new.occurred_us, old.occurred_us)
            kept = ("latitude", "longitude", "received_at")
            await connection.execute(
                insert.on_conflict_do_update(
                    index_elements=[old.workspace, old.order_id, old.source_uid],
                    set_={
                        **{name: case((newer, new[name]), else_=old[name]) for name in kept},
                        "occurred_us": case((newer, claimed), else_=old.occurred_us),
                    },
                ),
                rows,
            )

    async def forget_ended(self) -> None:
        """Deletes the positions of orders that have ended."""
        mine = courier_positions.c
        keys = (
            select(mine.order_id)
            .join_from(
                courier_positions,
                orders,
                and_(orders.c.workspace == mine.workspace, orders.c.order_id == mine.order_id),
            )
            .where(mine.workspace == self._workspace, orders.c.status.in_(_ENDED))
        )
        async with self._store.transaction() as connection:
            await connection.execute(
                delete(courier_positions).where(mine.workspace == self._workspace, mine.order_id.in_(keys))
            )

    async def latest(self, order_id: str, sight: Sight) -> tuple[CourierPosition, str] | None:
        """The last received position of an order, with its source's name. None where there is none, the order ended,
        or it names no party of the onlooker now: one that was replaced does not watch its successor. Nor is it seen
        any more itself: what its source has reported counts only while the order names a party of that source.
        """
        mine = courier_positions.c
        of_order = and_(orders.c.workspace == mine.workspace, orders.c.order_id == mine.order_id)
        query = (
            select(
                courier_positions,
                sources.c.name,
                sources.c.role,
                sources.c.parties,
                *(orders.c[slot] for slot in _SLOTS),
            )
            .join_from(courier_positions, orders, of_order)
            .join(sources, and_(sources.c.workspace == mine.workspace, sources.c.uid == mine.source_uid))
            .where(mine.workspace == self._workspace, mine.order_id == order_id, orders.c.status.not_in(_ENDED))
            .order_by(mine.received_at.desc(), mine.source_uid)
        )
        if sight.slot is not None:
            query = query.where(orders.c[sight.slot].in_(sight.parties or ()))
        async with self._store.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        for row in rows:
            position = CourierPosition(**{name: row[name] for name in CourierPosition.__dataclass_fields__})
            parties = None if row["parties"] is None else tuple(orjson.loads(row["parties"]))
            item = Reported(position=position, role=Role(row["role"]), parties=parties)
            if _names(item, {slot: row[slot] for slot in _SLOTS}):
                return position, str(row["name"])
        return None


def _names(item: Reported, parties: Mapping[str, str | None]) -> bool:
    slot = SLOT_OF.get(item.role)
    return slot is None or item.parties is None or parties[slot] in item.parties
