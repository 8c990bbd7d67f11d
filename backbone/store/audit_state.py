"""Orders are what the trail says: their status, their parties, their fulfilment.

An order's status is the one that its last applied row moved it to; its parties and its fulfilment are those that its
last row shows; and every order that a row announces is there. The index by which orders are listed by their parties
says the same as the orders. None of this is covered by a hash, and all of it can be computed from rows that are:
whoever changes an order's row and not the trail is found here. What an order's row holds beside it
(`decision_state`, `former`) no trail row tells, so nothing is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Row, and_, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.audit_pages import UNREADABLE, Page, StateReport, Walk, bad_row, compare_pages, unreadable
from backbone.store.audit_report import BadRow
from backbone.store.engine import Store
from backbone.store.tables import order_parties, orders, trail
from schemas.verdicts import Verdict

SEQ_RANGE = 20_000
_SLOTS = ("restaurant", "courier", "marketplace")
_SHOWN = (*_SLOTS, "fulfilment")
_NONE, _BETWEEN = "\x1e", "\x1f"  # no name has them

_OF_ORDER = and_(
    trail.c.workspace == orders.c.workspace,
    trail.c.order_id == orders.c.order_id,
    trail.c.partition == orders.c.partition,
    trail.c.foreign.is_(False),
)
_MOVES = and_(_OF_ORDER, trail.c.verdict == Verdict.APPLIED.value)


def joined(*columns: Any) -> Any:
    """Columns of text as one value, so that one look into an index gives them all; `split` takes it apart."""
    whole: Any = func.coalesce(columns[0], _NONE)
    for column in columns[1:]:
        whole = whole + _BETWEEN + func.coalesce(column, _NONE)
    return whole


def split(text: str | None) -> tuple[str | None, ...] | None:
    """The values that `joined` put together; None where there was no row."""
    return None if text is None else tuple(None if part == _NONE else part for part in text.split(_BETWEEN))


_LAST_STATUS = select(trail.c.to_status).where(_MOVES).order_by(trail.c.seq.desc()).limit(1).scalar_subquery()
_LAST_SHOWN = (
    select(joined(*(trail.c[name] for name in _SHOWN)))
    .where(_OF_ORDER)
    .order_by(trail.c.seq.desc())
    .limit(1)
    .scalar_subquery()
)


async def verify_orders(
    store: Store,
    good: Collection[int],
    *,
    bad: Collection[int] = (),
    progress: Callable[[int], None] | None = None,
) -> StateReport:
    """Compare every order with the trail, and look for orders that are gone. `good` and `bad` are the partitions whose
    chains were verified, by what was found.

    `progress` is told how many more are done. Changes nothing. Raises StoreUnavailable.
    """
    page = select(
        *(orders.c[name] for name in ("workspace", "order_id", "partition", "status", *_SHOWN)),
        _LAST_STATUS.label("last_status"),
        _LAST_SHOWN.label("last_shown"),
    ).order_by(orders.c.workspace, orders.c.order_id)
    walk = Walk(orders, "order", page, _order_differs, lambda row: f"order {row.order_id!r}", _parties_differ)
    report = await compare_pages(store, walk, good, bad, progress)
    gone = [found for partition in sorted(good) if (found := await _gone_order(store, partition))]
    return StateReport(report.compared, (*report.bad, *gone))


async def _order_differs(connection: AsyncConnection, row: Row[Any]) -> BadRow | None:
    if row.status != row.last_status:
        said = "no row ever applied" if row.last_status is None else f"its last applied row says {row.last_status}"
        problem = f"order {row.order_id!r} has the status {row.status}: {said}"
        return bad_row(row.partition, await _last_seq(connection, row, _MOVES), problem, "order")
    for name, shown in zip(_SHOWN, split(row.last_shown) or (), strict=False):
        stored = getattr(row, name)
        if stored != shown:
            problem = f"order {row.order_id!r} has the {name} {stored}: its last row says {shown}"
            return bad_row(row.partition, await _last_seq(connection, row, _OF_ORDER), problem, "order")
    return None


async def _last_seq(connection: AsyncConnection, row: Row[Any], of: Any) -> int:
    own = (orders.c.workspace == row.workspace, orders.c.order_id == row.order_id)
    seq = select(func.max(trail.c.seq)).where(of).scalar_subquery()
    return await connection.scalar(select(seq).select_from(orders).where(*own)) or 1


async def _parties_differ(connection: AsyncConnection, page: Page) -> list[BadRow]:
    """The listing's present parties of a page's orders, and of orders between them that are none."""
    own = order_parties.c
    key = tuple_(own.workspace, own.order_id)
    query = select(own.workspace, own.order_id, own.slot, own.party).where(own.former.is_(False))
    if page.after is not None:
        query = query.where(key > tuple_(*page.after))
    if page.until is not None:
        query = query.where(key <= tuple_(*page.until))
    listed: dict[tuple[str, str], dict[str, set[str]]] = {}
    for workspace, order_id, slot, party in await connection.execute(query):
        listed.setdefault((workspace, order_id), {}).setdefault(slot, set()).add(party)
    findings = []
    for row in page.rows:
        present = {slot: {party} for slot in _SLOTS if (party := getattr(row, slot)) is not None}
        if listed.pop((row.workspace, row.order_id), {}) != present:
            problem = f"order {row.order_id!r} is listed under other parties than it has"
            findings.append(bad_row(row.partition if type(row.partition) is int else None, None, problem, "order"))
    if listed:
        problem = f"order {min(order_id for _, order_id in listed)!r} is listed under its parties, and there is none"
        findings.append(bad_row(None, None, problem, "order"))
    return findings


async def _gone_order(store: Store, partition: int) -> BadRow | None:
    """The first order of the partition that a row announces and that is not among the orders there."""
    of_order = and_(
        orders.c.workspace == trail.c.workspace,
        orders.c.order_id == trail.c.order_id,
        orders.c.partition == trail.c.partition,
    )
    query = (
        select(trail.c.seq, trail.c.order_id)
        .join_from(trail, orders, of_order, isouter=True)
        .where(
            trail.c.partition == partition,
            trail.c.from_status.is_(None),
            trail.c.verdict == Verdict.APPLIED.value,
            trail.c.foreign.is_(False),
            orders.c.order_id.is_(None),
        )
        .order_by(trail.c.seq)
        .limit(1)
    )
    try:
        async with store.reading() as connection:
            last = await connection.scalar(select(func.max(trail.c.seq)).where(trail.c.partition == partition)) or 0
        for start in range(0, last, SEQ_RANGE):
            within = query.where(trail.c.seq > start, trail.c.seq <= start + SEQ_RANGE)
            async with store.reading() as connection:
                found = (await connection.execute(within)).one_or_none()
            if found is not None:
                return bad_row(partition, found.seq, f"order {found.order_id!r} was announced, and is gone", "order")
    except UNREADABLE as error:
        return unreadable("the table orders", error, "order")
    return None
