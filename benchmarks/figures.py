"""All figures, in the order of the report."""

from __future__ import annotations

from benchmarks.apply.batches import BATCHES
from benchmarks.apply.figure import APPLY
from benchmarks.apply.hot import HOT_ORDERS
from benchmarks.ingress.figure import INGRESS

PLANS = (INGRESS, APPLY, BATCHES, HOT_ORDERS)
