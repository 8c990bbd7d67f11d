"""Receipts tell what the trail says, and there is one of every event that has a verdict.

A final receipt tells the last row of its latest attempt: verdict, reason, statuses, and when it was decided. One that
is not final has no such row. And every row has the receipt of its event, but for inferred steps, which came with
another event.

No index finds a row's receipt: receipts lie under a digest that a row does not have. So a hash of each receipt's event
is remembered while receipts are gone through, and then looked for by the rows that were there before. Where there are
more receipts than fit, all of it is done for one share of the hashes after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, Text, and_, case, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.audit_pages import Page, StateReport, Walk, bad_row, compare_pages
from backbone.store.audit_report import BadRow
from backbone.store.audit_state import joined, split
from backbone.store.engine import Store
from backbone.store.tables import receipts, trail
from schemas.verdicts import ReceiptState

SEQ_RANGE = 20_000
MOST_HASHES = 4_000_000
"""Remembered at once: some 300 MB."""
_TOLD = ("verdict", "reason", "to_status", "event_id", "source_uid")
_OF_RECEIPT = and_(
    trail.c.workspace == receipts.c.workspace,
    trail.c.order_id == receipts.c.order_id,
    trail.c.partition == receipts.c.partition,
    trail.c.offset == receipts.c.last_offset,
)
_IS_FOREIGN, _IS_OWN = "foreign", "own"
_RULING = (
    select(
        joined(
            *(trail.c[name] for name in _TOLD),
            cast(trail.c.decided_ms, Text),
            case((trail.c.foreign.is_(True), _IS_FOREIGN), else_=_IS_OWN),
        )
    )
    .where(_OF_RECEIPT)
    .order_by(trail.c.seq.desc())
    .limit(1)
    .scalar_subquery()
)
_BEGAN = select(joined(trail.c.from_status)).where(_OF_RECEIPT).order_by(trail.c.seq).limit(1).scalar_subquery()
_FIELDS = (*_TOLD, "decided_ms", "foreign", "from_status")


async def verify_receipts(
    store: Store,
    good: Collection[int],
    *,
    bad: Collection[int] = (),
    progress: Callable[[int], None] | None = None,
) -> StateReport:
    """Compare every receipt of these partitions with its rows, and look for rows whose receipt is gone. As
    `verify_orders` otherwise.
    """
    heads = await _heads(store, good)  # before the receipts: those of later rows are not looked for
    seen = _Seen()
    names = ("workspace", "digest", "partition", "order_id", "state", "last_offset", *_FIELDS)
    page = select(*(receipts.c[name] for name in names), _RULING.label("ruling"), _BEGAN.label("began")).order_by(
        receipts.c.workspace, receipts.c.digest
    )
    walk = Walk(receipts, "receipt", page, _receipt_differs, _name, seen.take)
    report = await compare_pages(store, walk, good, bad, progress)
    if any(found["partition"] is None for found in report.bad):  # some were not gone through, or not where they belong
        return report
    gone = await _gone_receipts(store, heads, seen)
    return StateReport(report.compared, (*report.bad, *gone))


def _name(row: Row[Any]) -> str:
    return f"the receipt of event {row.event_id!r} of order {row.order_id!r}"


async def _receipt_differs(connection: AsyncConnection, row: Row[Any]) -> BadRow | None:
    ruling = split(row.ruling)
    if problem := _problem(row, ruling):
        place = select(func.max(trail.c.seq)).where(
            trail.c.workspace == row.workspace,
            trail.c.order_id == row.order_id,
            trail.c.partition == row.partition,
            trail.c.offset == row.last_offset,
        )
        return bad_row(row.partition, await connection.scalar(place) or 1, f"{_name(row)} says {problem}", "receipt")
    return None


def _problem(row: Row[Any], ruling: tuple[str | None, ...] | None) -> str | None:
    if row.state != ReceiptState.FINAL.value:
        if row.state not in set(ReceiptState):
            return f"the state {row.state!r}, which is none"
        if ruling is not None:
            return f"{row.state}: its row says {_words(ruling[0], ruling[1])}"
        kept = [name for name in ("verdict", "reason", "from_status", "to_status", "decided_ms") if getattr(row, name)]
        return f"{row.state}, and has a {kept[0]}" if kept else None
    if ruling is None:
        return f"{_words(row.verdict, row.reason)}: the trail has no row of it"
    stored = [getattr(row, name) for name in _TOLD]
    stored += [None if row.decided_ms is None else str(row.decided_ms), _IS_FOREIGN if row.foreign else _IS_OWN]
    differing = [
        name
        for name, told, said in zip(
            _FIELDS, [*stored, row.from_status], [*ruling, *(split(row.began) or ())], strict=True
        )
        if told != said
    ]
    if not differing:
        return None
    if differing[0] in ("verdict", "reason"):
        return f"{_words(row.verdict, row.reason)}: its row says {_words(ruling[0], ruling[1])}"
    return f"another {differing[0]} than its row"


def _words(verdict: str | None, reason: str | None) -> str:
    return f"{verdict}:{reason}" if reason else f"{verdict}"


@dataclass(slots=True)
class _Seen:
    """Events that have a receipt, by hash: those of one share of so many."""

    shares: int = 1
    share: int = 0
    hashes: set[int] = field(default_factory=set)

    async def take(self, _connection: AsyncConnection, page: Page) -> list[BadRow]:
        """Remembers a page's. Takes smaller shares where there are too many; only while it is at the first one."""
        for row in page.rows:
            event = _event_hash(row)
            if event % self.shares == self.share:
                self.hashes.add(event)
        while len(self.hashes) > MOST_HASHES and self.share == 0:
            self.shares *= 2
            self.hashes = {event for event in self.hashes if event % self.shares == 0}
        return []


def _event_hash(row: Row[Any]) -> int:
    return hash((row.partition, row.workspace, row.order_id, row.source_uid, row.event_id))


async def _heads(store: Store, good: Collection[int]) -> dict[int, int]:
    async with store.reading() as connection:
        return {
            partition: await connection.scalar(select(func.max(trail.c.seq)).where(trail.c.partition == partition)) or 0
            for partition in sorted(good)
        }


async def _gone_receipts(store: Store, heads: Mapping[int, int], seen: _Seen) -> list[BadRow]:
    """The first row of each partition that tells of an event of which there is no receipt."""
    found: dict[int, BadRow] = {}
    own = receipts.c
    keys = select(own.workspace, own.digest, own.partition, own.order_id, own.source_uid, own.event_id).order_by(
        own.workspace, own.digest
    )

    async def fits(_connection: AsyncConnection, _row: Row[Any]) -> BadRow | None:
        return None

    for share in range(seen.shares):
        if share:
            seen.share, seen.hashes = share, set()
            await compare_pages(store, Walk(receipts, "receipt", keys, fits, _name, seen.take), heads, (), None)
        for partition, head in heads.items():
            bad = await _gone_receipt(store, partition, head, seen)
            if bad is not None and (partition not in found or (bad["seq"] or 0) < (found[partition]["seq"] or 0)):
                found[partition] = bad
    return list(found.values())


async def _gone_receipt(store: Store, partition: int, head: int, seen: _Seen) -> BadRow | None:
    names = ("seq", "partition", "workspace", "order_id", "source_uid", "event_id")
    query = (
        select(*(trail.c[name] for name in names))
        .where(trail.c.partition == partition, trail.c.inferred.is_(False))
        .order_by(trail.c.seq)
    )
    for start in range(0, head, SEQ_RANGE):
        within = query.where(trail.c.seq > start, trail.c.seq <= min(start + SEQ_RANGE, head))
        async with store.reading() as connection:
            rows = (await connection.execute(within)).all()
        for row in rows:
            event = _event_hash(row)
            if event % seen.shares == seen.share and event not in seen.hashes:
                problem = f"the receipt of event {row.event_id!r} of order {row.order_id!r} is gone"
                return bad_row(partition, row.seq, problem, "receipt")
    return None
