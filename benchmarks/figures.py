"""All figures, in the order of the report."""

from __future__ import annotations

from benchmarks.apply.batches import BATCHES
from benchmarks.apply.figure import APPLY
from benchmarks.apply.hot import HOT_ORDERS
from benchmarks.audit.figure import AUDIT
from benchmarks.end_to_end.figure import EMBEDDED, END_TO_END
from benchmarks.growth.figure import GROWTH
from benchmarks.ingress.figure import INGRESS
from benchmarks.ingress.latency import INGRESS_LATENCY
from benchmarks.memory.figure import MEMORY
from benchmarks.plans import Plan
from benchmarks.several.servers import INGRESS_PROCESSES
from benchmarks.several.workers import APPLY_PROCESSES

PLANS: tuple[Plan, ...] = (
    INGRESS,
    INGRESS_LATENCY,
    INGRESS_PROCESSES,
    APPLY,
    BATCHES,
    HOT_ORDERS,
    APPLY_PROCESSES,
    END_TO_END,
    EMBEDDED,
    AUDIT,
    GROWTH,
    MEMORY,
)
