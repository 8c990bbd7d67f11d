"""Queries for people and for the HTTP face. They read committed state and change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.engine import Store
from backbone.store.listing import OrderFilter, dump_cursor, load_cursor, select_page
from backbone.store.receipt_reading import read_receipt
from backbone.store.tables import (
    event_payloads,
    held_events,
    offsets,
    order_details,
    order_external_ids,
    orders,
    trail,
)
from backbone.store.trail_rows import ROW_COLUMNS, read_row
from backbone.store.views import SEES_ALL, HeldView, LastStep, OrderView, ReceiptView, Sight, TrailEntry
from schemas.errors import RecordUnknown
from schemas.events import FactEvent
from schemas.identifiers import DEFAULT_WORKSPACE, ReceiptId
from schemas.outcomes import outcome_document
from schemas.records import EventRecord, OperatorRecord, load_record
from schemas.verdicts import Verdict

__all__ = ["SEES_ALL", "HeldView", "LastStep", "OrderView", "Readings", "ReceiptView", "Sight", "TrailEntry"]

SCAN_LIMIT = 5000
"""Most trail rows of one partition that one call of `changes` goes over for someone who may not see them all."""

_HISTORY_COLUMNS = tuple(
    trail.c[name] for name in TrailEntry.__dataclass_fields__ if name not in {"comment", "cancel_reason", "hash"}
)


class Readings:
    """Reads one workspace. All methods raise StoreUnavailable and may be repeated."""

    def __init__(self, store: Store, workspace: str = DEFAULT_WORKSPACE) -> None:
        self._store = store
        self._workspace = workspace

    async def order(self, order_id: str, sight: Sight = SEES_ALL) -> OrderView | None:
        """The order, or None when there is none or it is not seen."""
        async with self._store.reading() as connection:
            if sight.slot is not None and not await self._is_seen(connection, order_id, sight):
                return None
            found = await self._load(connection, [order_id])
            return found.get(order_id)

    async def history(self, order_id: str, sight: Sight = SEES_ALL) -> list[TrailEntry] | None:
        """The order's trail, oldest first, without foreign attempts; None when it is unknown or not seen."""
        own = (trail.c.workspace == self._workspace, trail.c.order_id == order_id)
        of_event = and_(
            event_payloads.c.workspace == trail.c.workspace,
            event_payloads.c.partition == trail.c.partition,
            event_payloads.c.offset == trail.c.offset,
            trail.c.inferred.is_(False),
        )
        query = (
            select(trail.c.hash, event_payloads.c.comment, event_payloads.c.cancel_reason, *_HISTORY_COLUMNS)
            .join_from(trail, event_payloads, of_event, isouter=True)
            .where(*own, trail.c.foreign.is_(False))
            .order_by(trail.c.seq)
        )
        async with self._store.reading() as connection:
            if not await self._is_seen(connection, order_id, sight):
                return None
            rows = (await connection.execute(query)).mappings()
            return [TrailEntry(**{**row, "hash": row["hash"].hex()}) for row in rows]

    async def held(self, order_id: str) -> list[HeldView]:
        """Events that wait for this order, oldest first, whoever sent them: for operators alone.

        Raises RecordUnknown when one is of a kind that this release does not know.
        """
        query = (
            select(held_events.c.record, held_events.c.received_ms, held_events.c.deadline_ms, held_events.c.kind)
            .where(held_events.c.workspace == self._workspace, held_events.c.order_id == order_id)
            .order_by(held_events.c.offset)
        )
        async with self._store.reading() as connection:
            rows = (await connection.execute(query)).all()
        views = []
        for value, received_ms, deadline_ms, kind in rows:
            record = load_record(bytes(value))
            if not isinstance(record, EventRecord | OperatorRecord):
                raise RecordUnknown("a held record is no event")
            status = getattr(record.event, "status", None)
            views.append(
                HeldView(
                    event_id=record.event_id,
                    source=record.source.name,
                    role=record.source.role.value,
                    event_type=record.event.type,
                    reported_status=None if status is None else status.value,
                    received_ms=received_ms,
                    until_ms=deadline_ms,
                    fact=record.event.code if isinstance(record.event, FactEvent) else None,
                    why=kind,
                )
            )
        return views

    async def has_reported(self, order_id: str, status: str, source_uid: str) -> bool:
        """Whether this source has reported the status of its order before, and was not refused."""
        query = select(trail.c.seq).where(
            trail.c.workspace == self._workspace,
            trail.c.order_id == order_id,
            trail.c.source_uid == source_uid,
            trail.c.reported_status == status,
            trail.c.verdict != Verdict.REJECTED.value,
            trail.c.foreign.is_(False),
        )
        async with self._store.reading() as connection:
            return await connection.scalar(query.limit(1)) is not None

    async def last_step(self, order_id: str) -> LastStep | None:
        """What brought the order's present status; None for an unknown order. Who may see it is the caller's matter."""
        of_event = and_(
            event_payloads.c.workspace == trail.c.workspace,
            event_payloads.c.partition == trail.c.partition,
            event_payloads.c.offset == trail.c.offset,
        )
        query = (
            select(
                trail.c.to_status,
                trail.c.occurred_us,
                trail.c.occurred_mark,
                trail.c.received_ms,
                event_payloads.c.comment,
            )
            .join_from(trail, event_payloads, of_event, isouter=True)
            .where(
                trail.c.workspace == self._workspace,
                trail.c.order_id == order_id,
                trail.c.foreign.is_(False),
                trail.c.verdict == Verdict.APPLIED.value,
            )
            .order_by(trail.c.seq.desc())
            .limit(1)
        )
        async with self._store.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            return None
        return LastStep(
            status=row["to_status"],
            occurred_us=row["occurred_us"] if row["occurred_mark"] is None else None,
            received_ms=row["received_ms"],
            comment=row["comment"],
        )

    async def orders(
        self,
        *,
        status: str | None = None,
        restaurant: str | None = None,
        courier: str | None = None,
        marketplace: str | None = None,
        external_id: str | None = None,
        sight: Sight = SEES_ALL,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[list[OrderView], str | None]:
        """A page of at most `limit` (>= 1) orders, the last announced first, and the cursor of the next page or None.

        Raises MalformedEvent for a cursor that was not given here.
        """
        wanted = OrderFilter(
            status=status,
            restaurant=restaurant,
            courier=courier,
            marketplace=marketplace,
            external_id=external_id,
        )
        after = None if cursor is None else load_cursor(cursor)
        query = select_page(self._workspace, wanted, sight, after=after, limit=limit + 1)
        async with self._store.reading() as connection:
            places = [(announced_ms, order_id) for announced_ms, order_id in await connection.execute(query)]
            page = places[:limit]
            found = await self._load(connection, [order_id for _, order_id in page])
        views = [found[order_id] for _, order_id in page if order_id in found]
        return views, dump_cursor(page[-1]) if len(places) > limit else None

    async def heads(self) -> dict[int, int]:
        """The last seq of every partition's trail."""
        async with self._store.reading() as connection:
            return await self._heads(connection)

    async def changes(
        self, after: Mapping[int, int], *, sight: Sight = SEES_ALL, limit: int = 100
    ) -> tuple[list[dict[str, Any]], dict[int, int]]:
        """Outcomes after these positions (partition -> last seq seen; 0 when missing), and the positions to go on from.

        At most `limit` (>= 1), in order within each partition, from the partitions that lag most. Foreign attempts are
        for those who see all. For others positions move on over what they may not see, so an answer without items may
        still have moved: ask again until positions stay.
        """
        positions = dict(after)
        items: list[dict[str, Any]] = []
        async with self._store.reading() as connection:
            heads = await self._heads(connection)
            lags = {partition: head - after.get(partition, 0) for partition, head in heads.items()}
            lagging = sorted((p for p, lag in lags.items() if lag > 0), key=lambda p: (-lags[p], p))
            lagging = lagging[:limit]
            for number, partition in enumerate(lagging):
                share = max(1, (limit - len(items)) // (len(lagging) - number))
                start = after.get(partition, 0)
                last = heads[partition] if sight.slot is None else min(heads[partition], start + SCAN_LIMIT)
                found = await self._outcomes(connection, partition, start, last, sight, share)
                items += found
                positions[partition] = found[-1]["seq"] if len(found) == share else last
        return items, {**dict.fromkeys(heads, 0), **positions}

    async def receipt(self, receipt: ReceiptId, sight: Sight = SEES_ALL) -> ReceiptView | None:
        """What became of a callback; see `backbone.store.receipt_reading`."""
        return await read_receipt(self._store, self._workspace, receipt, sight)

    async def _is_seen(self, connection: AsyncConnection, order_id: str, sight: Sight) -> bool:
        query = select(orders.c.order_id).where(orders.c.workspace == self._workspace, orders.c.order_id == order_id)
        covered = sight.covers(self._workspace, order_id)
        if covered is not None:
            query = query.where(covered)
        return await connection.scalar(query) is not None

    async def _load(self, connection: AsyncConnection, order_ids: Sequence[str]) -> dict[str, OrderView]:
        if not order_ids:
            return {}
        of_order = and_(order_details.c.workspace == orders.c.workspace, order_details.c.order_id == orders.c.order_id)
        found = await connection.execute(
            select(orders, order_details.c.details, order_details.c.erased)
            .join_from(orders, order_details, of_order, isouter=True)
            .where(orders.c.workspace == self._workspace, orders.c.order_id.in_(order_ids))
        )
        external = await connection.execute(
            select(order_external_ids.c.order_id, order_external_ids.c.external_id)
            .where(order_external_ids.c.workspace == self._workspace, order_external_ids.c.order_id.in_(order_ids))
            .order_by(order_external_ids.c.external_id)
        )
        external_ids: dict[str, list[str]] = {}
        for order_id, external_id in external:
            external_ids.setdefault(order_id, []).append(external_id)
        return {
            row["order_id"]: OrderView(
                order_id=row["order_id"],
                status=row["status"],
                updated_ms=row["step_received_ms"],
                restaurant=row["restaurant"],
                courier=row["courier"],
                marketplace=row["marketplace"],
                fulfilment=row["fulfilment"],
                details=orjson.loads(row["details"] or "{}"),
                placed_us=row["placed_us"],
                announced_ms=row["announced_ms"],
                external_ids=tuple(external_ids.get(row["order_id"], ())),
                former=orjson.loads(row["former"] or "{}"),
                parked=bool(row["parked"]),
                erased=bool(row["erased"]),
            )
            for row in found.mappings()
        }

    async def _heads(self, connection: AsyncConnection) -> dict[int, int]:
        rows = await connection.execute(select(offsets.c.partition, offsets.c.seq).order_by(offsets.c.partition))
        return {partition: seq for partition, seq in rows}  # noqa: C416 - dict() of rows confuses mypy

    async def _outcomes(
        self, connection: AsyncConnection, partition: int, start: int, last: int, sight: Sight, limit: int
    ) -> list[dict[str, Any]]:
        query = select(*ROW_COLUMNS).where(
            trail.c.workspace == self._workspace,
            trail.c.partition == partition,
            trail.c.seq > start,
            trail.c.seq <= last,
        )
        covered = sight.covers(self._workspace, trail.c.order_id)
        if covered is not None:
            query = query.where(trail.c.foreign.is_(False), covered)
        rows = await connection.execute(query.order_by(trail.c.seq).limit(limit))
        return [outcome_document(*read_row(row)) for row in rows]
