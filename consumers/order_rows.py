"""An order between its row in the store and the state that decisions see."""

from __future__ import annotations

from typing import Any

import orjson

from consumers.lifecycle.state import OrderState, PassedBy, Undone
from schemas.statuses import Fulfilment, OrderStatus

ORDER_COLUMNS = (
    "workspace",
    "order_id",
    "partition",
    "status",
    "fulfilment",
    "restaurant",
    "courier",
    "marketplace",
    "former",
    "revision",
    "decision_state",
    "announced_ms",
    "placed_us",
    "step_received_ms",
    "step_occurred_us",
    "parked",
)


def _dumps(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def order_row(order: OrderState, partition: int, is_parked: bool = False) -> tuple[Any, ...]:
    """The order as a row in the order of ORDER_COLUMNS. `is_parked`: whether all of it waits behind a dead letter."""
    kept = {
        "passers": {str(status): list(by) for status, by in order.passers.items()},
        "cancellation": None if order.cancellation is None else list(order.cancellation),
        "before": order.status_before_cancellation,
        "undone": {str(status): list(by) for status, by in order.undone.items()},
        "reported": {str(status): list(uids) for status, uids in order.reported.items()},
    }
    return (
        order.workspace,
        order.order_id,
        partition,
        order.status,
        order.fulfilment,
        order.parties.get("restaurant"),
        order.parties.get("courier"),
        order.parties.get("marketplace"),
        _dumps({slot: list(gone) for slot, gone in order.former.items()}),
        order.revision,
        _dumps(kept),
        order.announced_ms,
        order.placed_us,
        order.step_received_ms,
        order.step_occurred_us,
        is_parked,
    )


def order_state(row: tuple[Any, ...]) -> OrderState:
    """The state that `order_row` wrote."""
    named = dict(zip(ORDER_COLUMNS, row, strict=True))
    kept = orjson.loads(named["decision_state"])
    before = kept["before"]
    return OrderState(
        workspace=named["workspace"],
        order_id=named["order_id"],
        status=OrderStatus(named["status"]),
        fulfilment=None if named["fulfilment"] is None else Fulfilment(named["fulfilment"]),
        parties={slot: named[slot] for slot in ("restaurant", "courier", "marketplace") if named[slot] is not None},
        former={slot: tuple(gone) for slot, gone in orjson.loads(named["former"]).items()},
        revision=named["revision"],
        passers={OrderStatus(status): PassedBy(*by) for status, by in kept["passers"].items()},
        cancellation=None if kept["cancellation"] is None else PassedBy(*kept["cancellation"]),
        status_before_cancellation=None if before is None else OrderStatus(before),
        undone={OrderStatus(status): Undone(*by) for status, by in kept["undone"].items()},
        reported={OrderStatus(status): tuple(uids) for status, uids in kept["reported"].items()},
        announced_ms=named["announced_ms"],
        placed_us=named["placed_us"],
        step_received_ms=named["step_received_ms"],
        step_occurred_us=named["step_occurred_us"],
    )
