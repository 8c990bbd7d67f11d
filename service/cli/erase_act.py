"""An erasure as records in the event log, and what became of it.

The acts are written to the audit trail of administration first, as with every change by a person: should the log not
answer, an attempt without effect is on record. A customer's name, number or address is written nowhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backbone.clocks import SYSTEM_CLOCK
from backbone.eventlog.port import Position
from backbone.eventlog.received import act_to_log
from backbone.eventlog.topic_retention import TopicRetention, latest_removal_ms, topic_retentions
from backbone.store.acts import record_act
from backbone.store.holdings import NOTHING, Holdings, HoldingsReadings
from backbone.store.kept_settings import keep_partitions
from schemas.identifiers import DEFAULT_WORKSPACE
from schemas.records import Erasable, EraseRecord
from schemas.times import rfc3339_millis
from service.cli.applied import append_acts, own_log, wait_applied
from service.cli.parts import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person wants erased. `wait_s` None: return once the log has it."""

    orders: Mapping[str, tuple[Erasable, ...]]
    why: str
    actor: str
    wait_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What became of it. Without `positions` nothing was done: a dry run."""

    orders: Mapping[str, tuple[Erasable, ...]]
    before: Mapping[str, Holdings]
    after: Mapping[str, Holdings]
    positions: Mapping[str, Position]
    pending: tuple[str, ...]
    """Orders whose record no consumer has applied yet."""
    failed: tuple[str, ...]
    """Orders whose record was set aside."""
    left: tuple[str, ...]
    """Orders of which something of the asked classes from before the record is there, though the record is applied."""
    retentions: Sequence[TopicRetention]

    @property
    def rows_gone(self) -> int:
        """Rows that had something before and have nothing now."""
        return max(_rows(self.before) - _rows(self.after), 0)

    @property
    def rows_left(self) -> int:
        """Rows that have something now."""
        return _rows(self.after)

    @property
    def raw_until_ms(self) -> int | None:
        """When the topics will have removed all that was appended before the erasure; None if they never do."""
        appended = max((position.log_ms for position in self.positions.values()), default=SYSTEM_CLOCK.now_ms())
        return latest_removal_ms(self.retentions, appended)

    def as_document(self) -> dict[str, Any]:
        """As it is printed for scripts."""
        until = self.raw_until_ms
        return {
            "dry_run": not self.positions,
            "orders": [
                {
                    "order_id": order_id,
                    "classes": list(classes),
                    "state": self._state(order_id),
                    "before": self.before.get(order_id, NOTHING).as_document(),
                    **({"after": self.after.get(order_id, NOTHING).as_document()} if self.positions else {}),
                }
                for order_id, classes in self.orders.items()
            ],
            "raw_bytes": {
                "until": None if until is None else rfc3339_millis(until),
                "topics": [{"topic": one.topic, "longest_ms": one.longest_ms} for one in self.retentions],
            },
        }

    def _state(self, order_id: str) -> str:
        if order_id not in self.positions:
            return "untouched"
        if order_id in self.failed:
            return "set_aside"
        if order_id in self.pending:
            return "pending"
        return "left" if order_id in self.left else "erased"


def _rows(holdings: Mapping[str, Holdings]) -> int:
    return sum(sum(one.as_document().values()) for one in holdings.values())


async def erase_orders(parts: Parts, asked: Asked, before: Mapping[str, Holdings], *, dry_run: bool) -> Erased:
    """Appends a record for each order and waits for them to be applied, as long as it was asked to.

    Raises PartitionSetInvalid, what `own_log` raises, LogUnavailable (some records may be in the log all the same),
    StoreUnavailable. Safe to repeat: what is erased stays so.
    """
    retentions = await topic_retentions(parts.settings)
    if dry_run:
        return Erased(
            orders=asked.orders,
            before=before,
            after=before,
            positions={},
            pending=(),
            failed=(),
            left=(),
            retentions=retentions,
        )
    partitions = await keep_partitions(parts.store, parts.settings)
    records = [_record(order_id, classes, asked) for order_id, classes in asked.orders.items()]
    async with own_log(parts, partitions) as log:
        async with parts.store.transaction() as connection:
            for record in records:
                await record_act(
                    connection,
                    workspace=record.workspace,
                    at=SYSTEM_CLOCK.now_ms(),
                    actor=record.actor,
                    act="order.erase",
                    subject=record.order_id,
                    detail={"classes": list(record.classes), "why": record.why, "event_id": record.event_id},
                )
        found = await append_acts(
            log, parts.settings.topics.received, [act_to_log(record, partitions) for record in records]
        )
    positions = dict(zip(asked.orders, found, strict=True))
    places = {order_id: (at.partition, at.offset) for order_id, at in positions.items()}
    applied = await wait_applied(parts.store, places.values(), asked.wait_s or 0.0)
    readings = HoldingsReadings(parts.store)
    aside = await readings.set_aside(places.values())
    after = await readings.holdings(list(asked.orders))
    from_before = await readings.left_before(places)
    return Erased(
        orders=asked.orders,
        before=before,
        after=after,
        positions=positions,
        pending=tuple(one for one, at in places.items() if at not in applied),
        failed=tuple(one for one, at in places.items() if at in aside),
        left=tuple(
            one
            for one, at in places.items()
            if at in applied and at not in aside and _is_left(asked.orders[one], from_before, before, after, one)
        ),
        retentions=retentions,
    )


def _is_left(
    classes: Collection[Erasable],
    from_before: Mapping[str, Collection[Erasable]],
    before: Mapping[str, Holdings],
    after: Mapping[str, Holdings],
    order_id: str,
) -> bool:
    """Whether something of the classes outlived the order's erasure. Details never come back to an erased order."""
    if any(erasable in from_before[order_id] for erasable in classes):
        return True
    earlier, now = before.get(order_id, NOTHING), after.get(order_id, NOTHING)
    return Erasable.PERSONAL in classes and bool(earlier.details and now.details)


def _record(order_id: str, classes: tuple[Erasable, ...], asked: Asked) -> EraseRecord:
    return EraseRecord(
        event_id=f"erase-{secrets.token_hex(16)}",
        workspace=DEFAULT_WORKSPACE,
        order_id=order_id,
        actor=asked.actor,
        why=asked.why,
        classes=classes,
    )
