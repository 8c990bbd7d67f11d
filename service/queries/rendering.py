"""What the store knows, in the shapes that callers are promised. Times are RFC 3339: log times with three digits,
senders' times with six.
"""

from __future__ import annotations

from typing import Any

from backbone.store.positions import CourierPosition
from backbone.store.readings import OrderView, ReceiptView, TrailEntry
from schemas.times import rfc3339_micros, rfc3339_millis


def _micros(us: int | None) -> str | None:
    return None if us is None else rfc3339_micros(us)


def _millis(ms: int | None) -> str | None:
    return None if ms is None else rfc3339_millis(ms)


def receipt_document(view: ReceiptView, receipt_id: str) -> dict[str, Any]:
    """A receipt. `why` and `held_until` are there only while an event waits whose order is its sender's."""
    waits = {} if view.why is None else {"why": view.why, "held_until": _millis(view.until_ms)}
    return {
        "receipt_id": receipt_id,
        "event_id": view.event_id,
        "order_id": view.order_id,
        "state": view.state,
        "verdict": view.verdict,
        "reason": view.reason,
        "from_status": view.from_status,
        "to_status": view.to_status,
        **waits,
    }


def order_document(view: OrderView) -> dict[str, Any]:
    """An order. `parked` is there only while an event of it is set aside and later ones wait, `erased` only once its
    personal details were erased.
    """
    return {
        "order_id": view.order_id,
        "status": view.status,
        "updated_at": rfc3339_millis(view.updated_ms),
        "restaurant": view.restaurant,
        "courier": view.courier,
        "marketplace": view.marketplace,
        "fulfilment": view.fulfilment,
        "details": view.details,
        "placed_at": _micros(view.placed_us),
        "announced_at": rfc3339_millis(view.announced_ms),
        "external_ids": list(view.external_ids),
        "former": {slot: list(parties) for slot, parties in view.former.items()},
        **({"parked": True} if view.parked else {}),
        **({"erased": True} if view.erased else {}),
    }


def position_document(latest: tuple[CourierPosition, str] | None) -> dict[str, Any] | None:
    """An order's courier, as last reported; null where nobody said, or the order has ended."""
    if latest is None:
        return None
    position, source = latest
    return {
        "latitude": position.latitude,
        "longitude": position.longitude,
        "occurred_at": _micros(position.occurred_us),
        "received_at": rfc3339_millis(position.received_at),
        "source": source,
    }


def trail_document(entry: TrailEntry) -> dict[str, Any]:
    """One entry of an order's history."""
    return {
        "partition": entry.partition,
        "seq": entry.seq,
        "verdict": entry.verdict,
        "reason": entry.reason,
        "event_type": entry.event_type,
        "reported_status": entry.reported_status,
        "fact": entry.fact,
        "from_status": entry.from_status,
        "to_status": entry.to_status,
        "event_id": entry.event_id,
        "source": entry.source,
        "role": entry.role,
        "occurred_at": _micros(entry.occurred_us),
        "occurred_mark": entry.occurred_mark,
        "received_at": rfc3339_millis(entry.received_ms),
        "decided_at": rfc3339_millis(entry.decided_ms),
        "inferred": entry.inferred,
        "comment": entry.comment,
        "cancel_reason": entry.cancel_reason,
        "hash": entry.hash,
    }
