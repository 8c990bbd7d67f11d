"""A person's correction of an order, as a record in the event log: there is no other door.

The act is written to the audit trail of administration first: should the log not answer, an attempt without effect is
on record rather than an effect without its author.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from backbone.clocks import SYSTEM_CLOCK
from backbone.eventlog.received import to_log
from backbone.store.acts import record_act
from backbone.store.kept_settings import keep_partitions
from backbone.store.readings import SEES_ALL, Readings, ReceiptView
from schemas.canonical import payload_digest
from schemas.errors import NotFound
from schemas.events import StatusEvent
from schemas.identifiers import DEFAULT_WORKSPACE, ReceiptId
from schemas.records import OperatorRecord, SourceStamp
from schemas.statuses import OrderStatus, Role
from schemas.times import TimeMark
from schemas.verdicts import ReceiptState
from service.cli.applied import append_acts, own_log, wait_for
from service.cli.parts import Parts

_SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Moved:
    """The record in the log, and its receipt as far as it came."""

    event_id: str
    receipt_id: str
    receipt: ReceiptView | None


async def move_order(parts: Parts, order_id: str, status: OrderStatus, *, why: str, actor: str, wait_s: float) -> Moved:
    """Asks for the move and waits at most `wait_s` seconds for its verdict.

    Raises NotFound for an unknown order, PartitionSetInvalid, what `own_log` raises, LogUnavailable (the move may be in
    the log all the same), StoreUnavailable. Each call is an event of its own; one that finds the order there already
    ends as `repeated`.
    """
    readings = Readings(parts.store)
    if await readings.order(order_id, SEES_ALL) is None:
        raise NotFound(f"there is no order {order_id!r}")
    partitions = await keep_partitions(parts.store, parts.settings)
    record = operator_record(order_id, status, why=why, actor=actor)
    async with own_log(parts, partitions) as log:
        async with parts.store.transaction() as connection:
            await record_act(
                connection,
                workspace=record.workspace,
                at=SYSTEM_CLOCK.now_ms(),
                actor=actor,
                act="order.move",
                subject=order_id,
                detail={"status": status.value, "why": why, "event_id": record.event_id},
            )
        [position] = await append_acts(log, parts.settings.topics.received, [to_log(record, partitions)])
    receipt_id = ReceiptId(position.partition, position.offset, record.receipt_digest)

    async def look() -> ReceiptView | None:
        return await readings.receipt(receipt_id, SEES_ALL)

    receipt = await wait_for(look, lambda seen: seen is not None and seen.state == ReceiptState.FINAL, wait_s)
    return Moved(record.event_id, str(receipt_id), receipt)


def operator_record(order_id: str, status: OrderStatus, *, why: str, actor: str) -> OperatorRecord:
    """The record of a person's move. Ids, salt and receipt digest are random: nothing repeats it."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return OperatorRecord(
        event_id=f"operator-{secrets.token_hex(16)}",
        workspace=DEFAULT_WORKSPACE,
        order_id=order_id,
        source=SourceStamp(uid="operator", name=actor, role=Role.OPERATOR, parties=None, hold_ms=0, skew_ms=0),
        receipt_digest=secrets.token_hex(16),
        salt=salt.hex(),
        payload_digest=payload_digest(salt, b""),
        event=StatusEvent(status=status, occurred_mark=TimeMark.MISSING),
        actor=actor,
        why=why,
    )
