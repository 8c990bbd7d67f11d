"""What was refused at the door, counted for the operator: one row a source and reason, never a row a request.

The table is bounded by what exists. Who posts under invented source names is counted under `?`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import case, select

from backbone.store.admin_tables import refusals, sources
from backbone.store.engine import Store

UNKNOWN_SOURCE = "?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Requests under one source's name that were refused for one reason. Times in wall-clock milliseconds."""

    source: str
    reason: str
    count: int
    first_at: int
    last_at: int
    last_remote: str | None


def _merge(one: Refusal, other: Refusal) -> Refusal:
    latest = max(one, other, key=lambda refusal: refusal.last_at)
    return replace(latest, count=one.count + other.count, first_at=min(one.first_at, other.first_at))


async def record_refusals(store: Store, workspace: str, counted: Sequence[Refusal]) -> None:
    """Add counts to what is recorded, in one transaction. Raises StoreUnavailable; then nothing was added, or all was.

    Names that are no source's are counted under `?`.
    """
    if not counted:
        return
    async with store.transaction() as connection:
        named = sorted({refusal.source for refusal in counted})
        known = set(
            await connection.scalars(
                select(sources.c.name).where(sources.c.workspace == workspace, sources.c.name.in_(named))
            )
        )
        merged: dict[tuple[str, str], Refusal] = {}
        for refusal in counted:
            bounded = refusal if refusal.source in known else replace(refusal, source=UNKNOWN_SOURCE)
            key = (bounded.source, bounded.reason)
            merged[key] = _merge(merged[key], bounded) if key in merged else bounded
        insert = store.insert(refusals)
        new, old = insert.excluded, refusals.c
        newer = new.last_at >= old.last_at
        upsert = insert.on_conflict_do_update(
            index_elements=[old.workspace, old.source, old.reason],
            set_={
                "count": old.count + new["count"],
                "first_at": case((new.first_at < old.first_at, new.first_at), else_=old.first_at),
                "last_at": case((newer, new.last_at), else_=old.last_at),
                "last_remote": case((newer, new.last_remote), else_=old.last_remote),
            },
        )
        # In the order of their keys, so that two processes never wait for each other crosswise.
        rows = [
            {
                "workspace": workspace,
                "source": refusal.source,
                "reason": refusal.reason,
                "count": refusal.count,
                "first_at": refusal.first_at,
                "last_at": refusal.last_at,
                "last_remote": refusal.last_remote,
            }
            for _, refusal in sorted(merged.items())
        ]
        await connection.execute(upsert, rows)


async def read_refusals(store: Store, workspace: str, name: str | None) -> list[Refusal]:
    """What is recorded, of one source or (None) of all, latest first."""
    query = select(
        refusals.c.source,
        refusals.c.reason,
        refusals.c["count"],
        refusals.c.first_at,
        refusals.c.last_at,
        refusals.c.last_remote,
    ).where(refusals.c.workspace == workspace)
    if name is not None:
        query = query.where(refusals.c.source == name)
    async with store.reading() as connection:
        rows = await connection.execute(query.order_by(refusals.c.last_at.desc(), refusals.c.source, refusals.c.reason))
        return [
            Refusal(source=source, reason=reason, count=count, first_at=first, last_at=last, last_remote=remote)
            for source, reason, count, first, last, remote in rows
        ]
