"""The figure: mealtrail's own `serve` at saturation against programs by hand and against aiohttp alone."""

from __future__ import annotations

from benchmarks.ingress.contender import Saturated
from benchmarks.ingress.load import CONNECTIONS
from benchmarks.ingress.servers import BARE, HAND_WRITTEN, MEALTRAIL, OPEN_BATCHES, running_servers
from benchmarks.model import Comparison, Figure
from benchmarks.parts import Parts
from benchmarks.plans import Options, Plan, Work
from benchmarks.rounds import Report, run_rounds

_NAMES = (MEALTRAIL, HAND_WRITTEN, OPEN_BATCHES, BARE)


async def measure_ingress(parts: Parts, options: Options, report: Report) -> Figure:
    """Sets everything up, measures, and checks that every 202 lies in Kafka. Raises MeasurementError."""
    figure = Figure(
        name="ingress",
        title="Ingress: verified webhooks, acks=all, one process on one core",
        unit="requests/s",
        comparisons=(
            Comparison(MEALTRAIL, HAND_WRITTEN, 1.05),
            Comparison(MEALTRAIL, BARE, 0.60),
            Comparison(MEALTRAIL, OPEN_BATCHES),
            Comparison(OPEN_BATCHES, BARE),
            Comparison(HAND_WRITTEN, BARE),
        ),
        notes=[f"closed loop, {CONNECTIONS} connections: rates at saturation; latencies are another figure"],
    )
    async with running_servers(parts, _NAMES, figure.notes) as servers:
        contenders = [Saturated(servers[name], options.seconds) for name in _NAMES]
        await run_rounds(figure, contenders, options.rounds, report)
    return figure


def _work(options: Options) -> Work:
    steps = len(_NAMES) * options.rounds
    return Work(steps, 12 + steps * (options.seconds + 2))


INGRESS = Plan(
    name="ingress", title="webhooks a second at saturation, against three peers", measure=measure_ingress, work=_work
)
