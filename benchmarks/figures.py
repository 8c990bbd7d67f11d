"""All figures, in the order of the report."""

from __future__ import annotations

from benchmarks.apply.figure import ApplyOptions, measure_apply
from benchmarks.ingress.figure import INGRESS
from benchmarks.model import Figure
from benchmarks.parts import Parts
from benchmarks.plans import Options, Plan, Work
from benchmarks.rounds import Report


async def _apply(parts: Parts, options: Options, report: Report) -> Figure:
    return await measure_apply(parts, ApplyOptions(rounds=options.rounds, seconds=options.seconds), report)


PLANS = (
    INGRESS,
    Plan(
        name="apply",
        title="apply: rate, against a plain ORM consumer",
        measure=_apply,
        work=lambda options: Work(3 * options.rounds, 10 + 3 * options.rounds * (options.seconds + 3)),
    ),
)
