"""Receipts: what became of a callback, told to its sender.

To a sender an order that is unknown and one that is another's look the same: the reason is `order_not_found` for both,
no status shows, and nothing is said of why an event waits.
"""

from __future__ import annotations

from sqlalchemy import RowMapping, exists, select

from backbone.store.engine import Store
from backbone.store.tables import dead_letters, held_events, offsets, receipts, reused_event_ids
from backbone.store.views import ReceiptView, Sight
from schemas.dead_letters import DeadLetterState
from schemas.identifiers import ReceiptId
from schemas.verdicts import Reason, ReceiptState, Verdict


async def read_receipt(store: Store, workspace: str, receipt: ReceiptId, sight: Sight) -> ReceiptView | None:
    """What became of a callback; None when there is none such, or it is another source's.

    A callback that is not applied yet is pending, even when an earlier attempt of the same event ended: whether it
    is a repeat, a new attempt or another event under a used id is not decided before.
    """
    row, applied, reused = await _read_rows(store, workspace, receipt)
    if row is None:
        if not applied:
            return ReceiptView(receipt_id=str(receipt), state=ReceiptState.PENDING)
        is_unread = await _is_set_aside_unread(store, workspace, receipt)
        return ReceiptView(receipt_id=str(receipt), state=ReceiptState.SET_ASIDE) if is_unread else None
    if sight.source_uid not in {None, row["source_uid"]} or row["partition"] != receipt.partition:
        return None
    known = {
        "receipt_id": str(receipt),
        "event_id": row["event_id"],
        "order_id": row["order_id"],
        "source_uid": row["source_uid"],
    }
    if not applied:
        return ReceiptView(**known, state=ReceiptState.PENDING)
    if reused:
        return ReceiptView(**known, state=ReceiptState.FINAL, verdict=Verdict.REJECTED, reason=Reason.EVENT_ID_REUSED)
    foreign, reason = bool(row["foreign"]), row["reason"]
    if foreign and reason == Reason.NOT_YOUR_ORDER:
        reason = Reason.ORDER_NOT_FOUND.value
    why, until_ms = None, None
    if row["state"] == ReceiptState.HELD and not foreign:
        why, until_ms = await _read_hold(store, workspace, receipt.partition, row["last_offset"])
    return ReceiptView(
        **known,
        state=row["state"],
        verdict=row["verdict"],
        reason=reason,
        from_status=None if foreign else row["from_status"],
        to_status=None if foreign else row["to_status"],
        foreign=foreign,
        why=why,
        until_ms=until_ms,
    )


async def _is_set_aside_unread(store: Store, workspace: str, receipt: ReceiptId) -> bool:
    """Whether nobody can tell what the callback was, since its bytes cannot be parsed, and a person has yet to act."""
    own = dead_letters.c
    query = select(own.seq).where(
        own.workspace == workspace,
        own.partition == receipt.partition,
        own.event_offset == receipt.offset,
        own.digest.is_(None),
        own.state == DeadLetterState.OPEN.value,
    )
    async with store.reading() as connection:
        return await connection.scalar(query.limit(1)) is not None


async def _read_hold(store: Store, workspace: str, partition: int, offset: int) -> tuple[str | None, int | None]:
    """Why the event waits and until when; nothing when it was decided just now."""
    own = held_events.c
    query = select(own.kind, own.deadline_ms).where(
        own.workspace == workspace, own.partition == partition, own.offset == offset
    )
    async with store.reading() as connection:
        row = (await connection.execute(query)).one_or_none()
    return (None, None) if row is None else (row.kind, row.deadline_ms)


async def _read_rows(store: Store, workspace: str, receipt: ReceiptId) -> tuple[RowMapping | None, bool, bool]:
    """The event's row, whether this callback's offset is applied, whether its event id was used for other content.

    The offset is read first: a callback that is applied in between is then found, and never taken for unknown.
    """
    reused = exists().where(
        reused_event_ids.c.workspace == workspace,
        reused_event_ids.c.digest == receipt.digest,
        reused_event_ids.c.partition == receipt.partition,
        reused_event_ids.c.offset == receipt.offset,
    )
    query = select(receipts, reused.label("reused")).where(
        receipts.c.workspace == workspace, receipts.c.digest == receipt.digest
    )
    async with store.reading() as connection:
        upcoming = await connection.scalar(select(offsets.c.next).where(offsets.c.partition == receipt.partition))
        row = (await connection.execute(query)).mappings().one_or_none()
    applied = upcoming is not None and bool(receipt.offset < upcoming)
    return row, applied, row is not None and bool(row["reused"])
