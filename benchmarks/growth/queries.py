"""What is asked of a grown store, as requests: the reads of a kitchen, a courier company, an operator, an analyst."""

from __future__ import annotations

from random import Random

from benchmarks.growth.fill import LARGE_SHARE, SMALL, Filled

ORDER, RARE, KITCHEN = "order", "by status, rare", "restaurant, in work"
PLOTTED = (ORDER, RARE, KITCHEN)
"""Kinds of reads that a plot shows: what everybody asks for, and those that a missing index would slow down first."""
_SEED = 22


def make_paths(filled: Filled, *, count: int) -> dict[str, list[str]]:
    """Of each kind of read, paths to ask for, in turn. Orders are drawn evenly from all that the fill made."""
    random = Random(_SEED)
    orders = [
        filled.order_id(random.randrange(len(filled.order_ids)), random.randint(1, filled.copies)) for _ in range(count)
    ]
    large = [f"restaurant-{number}" for number in range(8)]
    of_small = [copy for copy in range(1, min(SMALL, filled.copies + 1)) if copy % LARGE_SHARE]
    small = [f"restaurant-{number}-{random.choice(of_small)}" for number in range(8)]
    couriers = [f"courier-{number}" for number in range(8)]
    return {
        ORDER: [f"/v1/orders/{order_id}" for order_id in orders],
        "history": [f"/v1/orders/{order_id}/history" for order_id in orders],
        "newest orders": ["/v1/orders"],
        "by status, common": ["/v1/orders?status=DELIVERED"],
        RARE: [f"/v1/orders?status={status}" for status in ("COOKING", "READY", "TAKEN_BY_COURIER")],
        "by status, none": ["/v1/orders?status=CANCELLED"],
        "restaurant": [f"/v1/orders?restaurant={name}" for name in small + large],
        KITCHEN: [
            f"/v1/orders?restaurant={name}&status={status}" for name in small + large for status in ("COOKING", "READY")
        ],
        "courier, in work": [f"/v1/orders?courier={name}&status=TAKEN_BY_COURIER" for name in couriers],
        "no such external id": ["/v1/orders?external_id=none-such"],
        "changes": ["/v1/changes?wait=0"],
    }
