"""The audit trail of administration: who added, rotated, disabled or revoked what. Append-only, like the trail.

Acts have no chain of their own: several processes write them at once, and none of them decides anything. An anchor
covers them by a digest of all acts up to some minutes before it was made, so that one that is changed, removed or
dated back later shows (`backbone.store.anchors`).

A person's move of an order stands here twice: as the act, written before its record goes into the event log, and as the
trail's row of its verdict. `read_acts` puts the two together by the event id, and shows it where one of them is alone.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson
from sqlalchemy import LargeBinary, and_, cast, or_, select, type_coerce
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NullType

from backbone.store.admin_tables import admin_acts
from backbone.store.engine import Store
from backbone.store.tables import event_payloads, offsets, trail
from schemas.canonical import canonical_json
from schemas.statuses import Role
from schemas.times import LATEST_US

SEQ_RANGE = 50_000
_NAMES = ("workspace", "act_id", "at", "actor", "act", "subject", "detail")
_ACTS = tuple(admin_acts.c[name] for name in _NAMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRow:
    """What the trail says of a person's move: its place and its verdict, who moved it and where to."""

    partition: int
    seq: int
    verdict: str
    reason: str | None
    from_status: str | None
    to_status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act. `at` is milliseconds: the wall clock's of who acted, or the log's where only the trail's row is there.

    `recorded` is False for a row of the trail by a person of whom no act is on record. `row` is None for an act that
    moves no order, and for a move without a verdict (yet). `differs` names what the act says and the chained row
    does not: somebody wrote the act anew. `unreadable`: it holds what no act can hold, and is shown as far as it goes.
    """

    at: int
    actor: str
    act: str
    subject: str
    detail: Mapping[str, Any]
    recorded: bool = True
    row: OperatorRow | None = None
    differs: tuple[str, ...] = ()
    unreadable: bool = False

    @property
    def is_genuine(self) -> bool:
        """Whether nothing about it shows that it was changed."""
        return not self.differs and not self.unreadable


@dataclass(frozen=True, slots=True)
class ActsHead:
    """How many acts there are up to a moment, and a digest (hex) of all of them."""

    count: int
    digest: str


async def record_act(
    connection: AsyncConnection,
    *,
    workspace: str,
    at: int,
    actor: str,
    act: str,
    subject: str,
    detail: Mapping[str, Any],
) -> None:
    """Write one act in the caller's transaction, so that act and record come together. `detail` holds no secrets."""
    await connection.execute(
        admin_acts.insert().values(
            workspace=workspace,
            act_id=uuid.uuid4().hex,
            at=at,
            actor=actor,
            act=act,
            subject=subject,
            detail=orjson.dumps(detail, option=orjson.OPT_SORT_KEYS).decode(),
        )
    )


async def digest_acts(connection: AsyncConnection, until_ms: int) -> ActsHead:
    """The digest of all acts with a time up to `until_ms`, in the order of their times and ids."""
    rows = (await connection.execute(select(*_ACTS).where(admin_acts.c.at <= until_ms))).all()
    digest = hashlib.sha256()
    for row in sorted(rows, key=lambda row: (row.at, row.workspace, row.act_id)):
        digest.update(canonical_json(dict(zip(_NAMES, row, strict=True))) + b"\n")
    return ActsHead(len(rows), digest.hexdigest())


async def read_acts(store: Store, *, since_ms: int = 0) -> list[Act]:
    """Acts and operators' moves from `since_ms` on, oldest first. Goes over the whole trail, by pages.

    Raises StoreUnavailable.
    """
    rows = await _operator_rows(store, since_ms)
    acts = []
    for stored in await _stored_acts(store, since_ms):
        row = rows.pop((stored.workspace, stored.subject, str(stored.act.detail.get("event_id"))), None)
        acts.append(
            stored.act if row is None else replace(stored.act, row=row.row, differs=_difference(stored.act, row))
        )
    # A move's act is older than its record in the log, so it may be from before `since_ms`: then it is on record.
    earlier = await _moves_before(store, since_ms, list(rows)) if rows else set()
    acts += [replace(row, recorded=key in earlier) for key, row in rows.items()]
    return sorted(acts, key=lambda act: act.at)


_Key = tuple[str, str, str]
"""Workspace, order id, event id."""


class _Stored(NamedTuple):
    """An act with what names it."""

    workspace: str
    subject: str
    act: Act


async def _stored_acts(store: Store, since_ms: int) -> list[_Stored]:
    """The acts on record, oldest first. What somebody put into a column that does not belong there is shown, not
    believed: a time that is none becomes that of the latest act there can be.
    """
    # In SQLite a text is more than any number: an act whose time is none is among those from any time on.
    # No act of ours has a time below 0: one that has was tampered with, and is listed whatever was asked for.
    is_asked = or_(admin_acts.c.at >= since_ms, admin_acts.c.at < 0, admin_acts.c.at.is_(None))
    query = select(*(type_coerce(column, NullType()) for column in _ACTS)).where(is_asked)
    try:
        async with store.reading() as connection:
            found = (await connection.execute(query)).all()
    except DBAPIError:  # text that is no UTF-8, which SQLite keeps and Python does not take
        as_bytes = [cast(column, LargeBinary) if column is not admin_acts.c.at else column for column in _ACTS]
        async with store.reading() as connection:
            found = (
                await connection.execute(select(*(type_coerce(one, NullType()) for one in as_bytes)).where(is_asked))
            ).all()
        return sorted((_read_act(row, as_bytes=True) for row in found), key=lambda stored: stored.act.at)
    return sorted((_read_act(row) for row in found), key=lambda stored: stored.act.at)


def _read_act(row: Sequence[Any], *, as_bytes: bool = False) -> _Stored:
    fields = dict(zip(_NAMES, row, strict=True))
    at, unreadable = fields.pop("at"), False
    texts: dict[str, str] = {}
    for name, value in fields.items():
        if as_bytes and isinstance(value, bytes):
            texts[name] = value.decode(errors="backslashreplace")
            unreadable = unreadable or texts[name].encode() != value
        else:
            texts[name] = value if isinstance(value, str) else repr(value)
            unreadable = unreadable or not isinstance(value, str)
    if type(at) is not int or not 0 <= at <= LATEST_US // 1000:
        at, unreadable = LATEST_US // 1000, True
    detail = _read_detail(texts["detail"])
    act = Act(
        at=at,
        actor=texts["actor"],
        act=texts["act"],
        subject=texts["subject"],
        detail=detail,
        unreadable=unreadable or "unreadable" in detail,
    )
    return _Stored(texts["workspace"], texts["subject"], act)


def _difference(act: Act, row: Act) -> tuple[str, ...]:
    """What an act says otherwise than the chained row of the move; the reason is in no chain."""
    said = {"actor": act.actor, "status": act.detail.get("status"), "act": act.act}
    true = {"actor": row.actor, "status": row.detail["status"], "act": row.act}
    return tuple(name for name in said if said[name] != true[name])


def _read_detail(text: str) -> dict[str, Any]:
    try:
        detail = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):  # somebody changed it: shown as it is
        return {"unreadable": text}
    return detail if isinstance(detail, dict) else {"unreadable": text}


async def _operator_rows(store: Store, since_ms: int) -> dict[_Key, Act]:
    """The trail's rows by operators, as acts that are not on record."""
    of_event = and_(
        event_payloads.c.workspace == trail.c.workspace,
        event_payloads.c.partition == trail.c.partition,
        event_payloads.c.offset == trail.c.offset,
    )
    names = ("workspace", "order_id", "event_id", "source", "received_ms", "reported_status")
    shown = tuple(OperatorRow.__dataclass_fields__)
    query = (
        select(*(trail.c[name] for name in (*names, *shown)), event_payloads.c.comment)
        .join_from(trail, event_payloads, of_event, isouter=True)
        .where(trail.c.role == Role.OPERATOR.value, trail.c.inferred.is_(False), trail.c.received_ms >= since_ms)
        .order_by(trail.c.seq)
    )
    rows: dict[_Key, Act] = {}
    async with store.reading() as connection:
        found_heads = (await connection.execute(select(offsets.c.partition, offsets.c.seq))).all()
    for partition, head in found_heads:
        if type(head) is not int:  # for `audit verify` to name
            continue
        for start in range(0, head, SEQ_RANGE):
            page = query.where(
                trail.c.partition == partition, trail.c.seq > start, trail.c.seq <= min(start + SEQ_RANGE, head)
            )
            async with store.reading() as connection:
                found = (await connection.execute(page)).all()
            for row in found:
                rows[(row.workspace, row.order_id, row.event_id)] = Act(
                    at=row.received_ms,
                    actor=row.source,
                    act="order.move",
                    subject=row.order_id,
                    detail={"event_id": row.event_id, "status": row.reported_status, "why": row.comment},
                    recorded=False,
                    row=OperatorRow(**{name: getattr(row, name) for name in shown}),
                )
    return rows


async def _moves_before(store: Store, since_ms: int, keys: Sequence[_Key]) -> set[_Key]:
    """Those of the moves whose act is on record before `since_ms`."""
    found: set[_Key] = set()
    async with store.reading() as connection:
        for workspace, order_id, event_id in keys:
            query = select(admin_acts.c.detail).where(
                admin_acts.c.workspace == workspace,
                admin_acts.c.subject == order_id,
                admin_acts.c.at < since_ms,
            )
            details = (await connection.scalars(query)).all()
            if any(_read_detail(str(text)).get("event_id") == event_id for text in details):
                found.add((workspace, order_id, event_id))
    return found
