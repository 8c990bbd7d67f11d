"""One partition's chain: every row's hash is computed again from its fields and the hash before it.

A changed row no longer fits its own hash; a removed one leaves a gap in the numbers; a cut tail no longer reaches the
head that the partition's offsets row remembers. Where somebody computed the chain anew from his change on, it fits
itself: that shows at a *mark*, a row whose hash an anchor kept outside.

The bytes of an event as they were received lie in another table, so that they can be erased; where they are still there
they are held against the digest that the row's hash covers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import and_, select, type_coerce
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NullType

from backbone.store.audit_pages import UNREADABLE
from backbone.store.audit_report import BadRow, Check, PayloadCounts
from backbone.store.engine import Store
from backbone.store.tables import event_payloads, offsets, orders, trail
from schemas.canonical import GENESIS, payload_digest
from schemas.outcomes import STORED_NAMES, hash_values

PAGE_ROWS = 5000
_log = structlog.get_logger("mealtrail.audit")

_SEQ, _DIGEST, _INFERRED = (STORED_NAMES.index(name) for name in ("seq", "payload_digest", "inferred"))
_HASH, _PAYLOAD, _SALT = range(len(STORED_NAMES), len(STORED_NAMES) + 3)
_OF_EVENT = and_(
    event_payloads.c.workspace == trail.c.workspace,
    event_payloads.c.partition == trail.c.partition,
    event_payloads.c.offset == trail.c.offset,
    trail.c.inferred.is_(False),  # it has no event of its own
)
# Both drivers give bytes as bytes: without their type SQLAlchemy does not turn each of them into bytes once more.
_ROWS = select(
    *(trail.c[name] for name in STORED_NAMES),
    type_coerce(trail.c.hash, NullType()),
    type_coerce(event_payloads.c.payload, NullType()),
    event_payloads.c.salt,
).join_from(trail, event_payloads, _OF_EVENT, isouter=True)


@dataclass(frozen=True, slots=True)
class Mark:
    """A row's hash as an anchor has it. `seq` 0 says that there was no row. `made_at` names the anchor."""

    seq: int
    hash: bytes
    made_at: str


@dataclass(frozen=True, slots=True)
class PartitionTask:
    """A partition to verify, and what is known about it from outside."""

    partition: int
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionResult:
    """How far a partition's chain is good, the hash there (hex), and the first finding of each kind."""

    partition: int
    seq: int
    hash: str
    payloads: PayloadCounts
    bad: tuple[BadRow, ...]


@dataclass(slots=True)
class _Chain:
    """A partition's chain as far as it is verified. `trusted` is the last row that a mark confirmed."""

    partition: int
    marks: dict[int, list[Mark]]
    seq: int = 0
    hash: bytes = GENESIS
    trusted: int = 0
    payloads: PayloadCounts = field(default_factory=PayloadCounts)
    changed_payload: BadRow | None = None

    def bad(self, seq: int, problem: str, check: Check = "chain") -> BadRow:
        return BadRow(partition=self.partition, seq=seq, problem=problem, check=check)


async def verify_partition(store: Store, task: PartitionTask, advance: Callable[[int], None]) -> PartitionResult:
    """Recompute one chain in one snapshot. `advance` is told how many more rows are done, a page at a time.

    Changes nothing. Raises StoreUnavailable.
    """
    marks: dict[int, list[Mark]] = {}
    for mark in task.marks:
        marks.setdefault(mark.seq, []).append(mark)
    chain = _Chain(task.partition, marks)
    try:
        async with store.snapshot() as connection:
            bad = await _verify(connection, chain, advance)
    except UNREADABLE as error:
        bad = await _unreadable_row(store, chain) or chain.bad(
            max(chain.seq, 1), f"the row, or the partition's offsets row, cannot be read: {type(error).__name__}"
        )
        _log.warning("trail_row_unreadable", partition=task.partition, seq=bad["seq"], exc_info=error)
    return PartitionResult(
        partition=task.partition,
        seq=chain.seq,
        hash=chain.hash.hex(),
        payloads=chain.payloads,
        bad=tuple(found for found in (bad, chain.changed_payload) if found is not None),
    )


async def _verify(connection: AsyncConnection, chain: _Chain, advance: Callable[[int], None]) -> BadRow | None:
    query = _ROWS.where(trail.c.partition == chain.partition).order_by(trail.c.seq).limit(PAGE_ROWS)
    while True:
        before = chain.seq
        # The first page has no lower bound: a row numbered 0 or less is as wrong as a gap.
        rest = query.where(trail.c.seq > chain.seq) if chain.seq else query
        page = (await connection.execute(rest)).all()
        if problem := _extend(chain, page):
            return problem
        advance(chain.seq - before)
        if len(page) < PAGE_ROWS:
            break
    found = await connection.execute(
        select(offsets.c.seq, offsets.c.hash).where(offsets.c.partition == chain.partition)
    )
    head = found.one_or_none()
    if head is not None and (type(head.seq) is not int or not isinstance(head.hash, bytes)):
        return chain.bad(max(chain.seq, 1), "the head that the partition's offsets row remembers is none")
    ordered = select(orders.c.order_id).where(orders.c.partition == chain.partition).limit(1)
    if bad := _fall_short_of_marks(chain, None if head is None else head.seq):
        return bad
    if head is None and not chain.seq:
        return chain.bad(1, "orders or receipts name the partition, and its trail and its offsets row are gone")
    bad = _compare_head(chain, None if head is None else (head.seq, head.hash))
    if bad is None and not chain.seq and await connection.scalar(ordered) is not None:  # no order comes without a row
        return chain.bad(1, "orders lie in the partition, and its trail is empty")
    return bad


def _extend(chain: _Chain, page: Sequence[Sequence[Any]]) -> BadRow | None:
    """The page's rows put to the chain, up to the first that is not its next."""
    seq, previous, marks, counts = chain.seq, chain.hash, chain.marks, chain.payloads
    try:
        for values in page:
            if values[_SEQ] != seq + 1:
                return chain.bad(seq + 1, f"the row is missing; {values[_SEQ]} stands in its place")
            try:
                computed = hash_values(previous, values)
            except (ArithmeticError, AttributeError, TypeError, ValueError) as error:  # JSONEncodeError: a TypeError
                return chain.bad(seq + 1, f"the row's fields cannot be hashed: {error}")
            if computed != values[_HASH]:
                return chain.bad(seq + 1, "the row's hash does not fit its fields and the row before it")
            if seq + 1 in marks and (bad := _compare_marks(chain, seq + 1, computed)):
                return bad
            seq, previous = seq + 1, computed
            if values[_PAYLOAD] is not None:
                counts.checked += 1
                if problem := _payload_problem(values[_PAYLOAD], values[_SALT], values[_DIGEST]):
                    chain.changed_payload = chain.changed_payload or chain.bad(seq, problem, "payload")
            elif values[_SALT] is not None:
                counts.without_body += 1  # an event behind the first of its request, or an operator's move
            elif not values[_INFERRED]:
                counts.erased += 1
    finally:
        chain.seq, chain.hash = seq, previous
    return None


def _payload_problem(payload: object, salt: object, digest: str) -> str | None:
    if salt is None:
        return "the event's bytes are there, and their salt is gone"
    try:
        fits = isinstance(payload, bytes) and payload_digest(bytes.fromhex(str(salt)), payload) == digest
    except ValueError:
        fits = False
    return None if fits else "the event's bytes, or their salt, are not those that the row's digest was made of"


def _compare_marks(chain: _Chain, seq: int, computed: bytes) -> BadRow | None:
    for mark in chain.marks[seq]:
        if mark.hash != computed:
            return chain.bad(
                seq,
                f"the row is not the one that the anchor of {mark.made_at} has: rows from {chain.trusted + 1} to {seq} "
                "were changed, removed or added, and the chain was computed anew",
                "anchor",
            )
    chain.trusted = seq
    return None


def _fall_short_of_marks(chain: _Chain, head: int | None) -> BadRow | None:
    """The trail ends before a mark. Where the offsets row knows of the lost rows, it tells that itself."""
    beyond = max(chain.marks, default=0)
    if beyond <= chain.seq or (head is not None and head > chain.seq):
        return None
    made_at = chain.marks[beyond][0].made_at
    return chain.bad(
        chain.seq + 1,
        f"rows up to {beyond} were there when the anchor of {made_at} was made: the tail is cut, or rows after "
        f"{chain.trusted} were removed and the chain was computed anew",
        "anchor",
    )


def _compare_head(chain: _Chain, head: tuple[int, bytes] | None) -> BadRow | None:
    if head is None:
        return chain.bad(1, "the partition has a trail and no offsets row")
    seq, stored = head
    if seq > chain.seq:
        return chain.bad(chain.seq + 1, f"the tail is cut: rows up to {seq} were written")
    if seq < chain.seq:
        return chain.bad(seq + 1, f"the row lies beyond the partition's head, which is {seq}")
    if stored != chain.hash:
        return chain.bad(seq, "the hash of the partition's head is not the last row's")
    return None


async def _unreadable_row(store: Store, chain: _Chain) -> BadRow | None:
    """The first row after the chain's that the database cannot give us, such as text that is no UTF-8 on SQLite."""
    own = trail.c.partition == chain.partition
    async with store.snapshot() as connection:
        numbers = select(trail.c.seq).where(own, trail.c.seq > chain.seq).order_by(trail.c.seq).limit(PAGE_ROWS)
        try:
            found = (await connection.scalars(numbers)).all()
        except DBAPIError as error:
            return chain.bad(chain.seq + 1, f"the number of a row cannot be read: {type(error.orig).__name__}")
        for seq in found:
            try:
                values = (await connection.execute(_ROWS.where(own, trail.c.seq == seq))).one()
            except UNREADABLE as error:
                cause = error.orig if isinstance(error, DBAPIError) else error
                return chain.bad(seq, f"the row cannot be read: {type(cause).__name__}")
            if problem := _extend(chain, [values]):
                return problem
    return None
