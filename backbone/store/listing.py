"""Pages of orders, newest first, found through indices and not by walking the table.

Every page comes from a list of candidates that some index already holds in the wanted order: an external id's few
orders; a party's orders; for a source with several parties the first page of each, put together; all orders by
announcement, or those of one status. The cursor is the place of the last order shown, so orders announced meanwhile do
not shift a page.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Select, select, tuple_, union

from backbone.store.tables import order_external_ids, order_parties, orders
from backbone.store.views import Sight
from schemas.errors import MalformedEvent
from schemas.statuses import PARTY_SLOTS

_MAX_UNION = 50
"""SQLite takes at most 500 parts; past some tens, sorting once is cheaper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """What the orders of a list must have; None is anything. Parties are those of now, not former ones."""

    status: str | None = None
    restaurant: str | None = None
    courier: str | None = None
    marketplace: str | None = None
    external_id: str | None = None


Place = tuple[int, str]


def dump_cursor(place: Place) -> str:
    """The cursor that continues after the order at this place (announced_ms, order id)."""
    return base64.urlsafe_b64encode(orjson.dumps(place)).rstrip(b"=").decode()


def load_cursor(text: str) -> Place:
    """The place that a cursor holds. Raises MalformedEvent for any text that `dump_cursor` did not give."""
    try:
        place = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        announced_ms, order_id = place
        if type(announced_ms) is int and abs(announced_ms) < 1 << 63 and type(order_id) is str and "\0" not in order_id:
            return announced_ms, order_id
    except (binascii.Error, ValueError, TypeError):
        pass
    raise MalformedEvent("the cursor is not one that was given", (("cursor", "not a cursor"),))


def select_page(workspace: str, wanted: OrderFilter, sight: Sight, *, after: Place | None, limit: int) -> Select[Any]:
    """The statement for one page: (announced_ms, order_id) of `limit` orders in the list's order."""
    conditions: list[ColumnElement[bool]] = [orders.c.workspace == workspace]
    conditions += [
        orders.c[field.name] == value
        for field in fields(wanted)
        if field.name != "external_id" and (value := getattr(wanted, field.name)) is not None
    ]
    party = next((name for name in PARTY_SLOTS if getattr(wanted, name) is not None), None)
    covered = sight.covers(workspace, orders.c.order_id)
    if wanted.external_id is not None:
        conditions += [] if covered is None else [covered]
        return _of_external_id(workspace, wanted.external_id, conditions, after, limit)
    if party is not None:
        # Former parties stand in the table too; the condition on the order's own column leaves them out.
        conditions += [] if covered is None else [covered]
        return _of_party(workspace, party, (getattr(wanted, party),), conditions, after, limit)
    if sight.slot is not None and sight.parties is not None:
        if not 1 <= len(sight.parties) <= _MAX_UNION:
            return _of_party(workspace, sight.slot, sight.parties, conditions, after, limit)
        pages = [
            select(_of_party(workspace, sight.slot, (each,), conditions, after, limit).subquery())
            for each in sight.parties
        ]
        # One order may name several of the source's parties, now and formerly: UNION takes it once.
        found = union(*pages).subquery()
        return _in_order(select(found), found.c, None, limit)
    query = select(orders.c.announced_ms, orders.c.order_id).where(*conditions)
    return _in_order(query, orders.c, after, limit)


def _in_order(query: Select[Any], place: Any, after: Place | None, limit: int) -> Select[Any]:
    if after is not None:
        query = query.where(tuple_(place.announced_ms, place.order_id) < tuple_(*after))
    return query.order_by(place.announced_ms.desc(), place.order_id.desc()).limit(limit)


def _of_external_id(
    workspace: str, external_id: str, conditions: Sequence[ColumnElement[bool]], after: Place | None, limit: int
) -> Select[Any]:
    ids = order_external_ids.c
    same = (orders.c.workspace == ids.workspace) & (orders.c.order_id == ids.order_id)
    # Few orders share an external id. A computed column keeps the planner from walking all orders in order instead.
    announced_ms = (orders.c.announced_ms + 0).label("announced_ms")
    found = (
        select(announced_ms, orders.c.order_id)
        .join_from(order_external_ids, orders, same)
        .where(ids.workspace == workspace, ids.external_id == external_id, *conditions)
        .subquery()
    )
    return _in_order(select(found), found.c, after, limit)


def _of_party(
    workspace: str,
    slot: str,
    parties: Sequence[str],
    conditions: Sequence[ColumnElement[bool]],
    after: Place | None,
    limit: int,
) -> Select[Any]:
    names = order_parties.c
    same = (orders.c.workspace == names.workspace) & (orders.c.order_id == names.order_id)
    query = (
        select(names.announced_ms, names.order_id)
        .join_from(order_parties, orders, same)
        .where(names.workspace == workspace, names.slot == slot, names.party.in_(parties), *conditions)
    )
    if len(parties) > 1:
        query = query.distinct()
    return _in_order(query, names, after, limit)
