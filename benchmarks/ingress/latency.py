"""The figure: how long a webhook waits for its 202, at constant rates of arrival.

Rates that are the same for all, and half of what each contender can do, as measured in this run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.ingress.contender import ServerUnderLoad
from benchmarks.ingress.open_run import OpenRun
from benchmarks.ingress.retries import Retries
from benchmarks.ingress.servers import BARE, HAND_WRITTEN, MEALTRAIL, running_servers
from benchmarks.latencies import COLUMNS, Latencies
from benchmarks.model import Chart, Figure, Listing, Point, Series, TargetLine
from benchmarks.parts import Parts
from benchmarks.plans import Options, Plan, Work
from benchmarks.rounds import Report
from benchmarks.summary import in_turn, summarise

RATES = (50.0, 500.0, 1000.0)
TARGET_P99_MS = 20.0
_NAMES = (MEALTRAIL, HAND_WRITTEN, BARE)
_SATURATIONS = 2
_OF_SECONDS = 0.75
_OF_SATURATION = 0.9


@dataclass(slots=True)
class _Waits:
    """What one contender has shown."""

    server: ServerUnderLoad
    saturation: float = 0.0
    at: dict[float, Latencies] = field(default_factory=dict)
    """By rate; without those that it cannot keep up with, for an open loop would only tell how long it ran."""
    half: Latencies = field(default_factory=Latencies)


async def measure_latency(parts: Parts, options: Options, report: Report) -> Figure:
    """Measures all contenders in turns. Raises MeasurementError, GeneratorLateError."""
    figure = Figure(name="ingress-latency", title="Ingress latency: from due to 202, constant rate of arrival")
    retries, seconds = Retries(), options.seconds * _OF_SECONDS
    async with running_servers(parts, _NAMES, figure.notes) as servers:
        waits = [_Waits(servers[name]) for name in _NAMES]
        for one in waits:
            found = [(await one.server.saturate(seconds)).rate for _ in range(_SATURATIONS)]
            one.saturation = summarise(found).median
            one.at = {rate: Latencies() for rate in RATES if rate < one.saturation * _OF_SATURATION}
            figure.failures += [
                f"{one.server.name} at {rate:,.0f}/s: it saturates at {one.saturation:,.0f}"
                for rate in RATES
                if rate not in one.at
            ]
            report(f"saturation  {one.server.name:<32} {one.saturation:>9,.0f}/s")
        for number in range(rounds_of(options)):
            for rate in (*RATES, None):
                for one in in_turn([one for one in waits if rate is None or rate in one.at], number):
                    wanted, into = (one.saturation / 2, one.half) if rate is None else (rate, one.at[rate])

                    async def measure(one: _Waits = one, wanted: float = wanted) -> OpenRun:
                        return await one.server.keep_rate(wanted, seconds, most_late_ms=options.most_late_ms)

                    run = await retries.patiently(measure)
                    into.rounds_ms.append(run.latencies_ms)
                    into.lags_ms.append(run.lags_ms)
                    p99 = into.percentile(0.99).median
                    report(f"round {number + 1}  {one.server.name:<20} {wanted:>7,.0f}/s  p99 so far {p99:,.1f} ms")
    figure.notes += retries.note()
    _fill(figure, waits)
    return figure


def _fill(figure: Figure, waits: list[_Waits]) -> None:
    rows = [(one.server.name, f"{rate:,.0f}", *one.at[rate].cells()) for one in waits for rate in one.at]
    halves = [(one.server.name, f"{one.saturation / 2:,.0f} (half)", *one.half.cells()) for one in waits]
    figure.listings.append(Listing("", ("contender", "requests/s", *COLUMNS), (*rows, *halves)))
    series = [
        Series(one.server.name, tuple(Point(rate, one.at[rate].percentile(0.99)) for rate in one.at)) for one in waits
    ]
    figure.charts.append(Chart(title="Ingress latency p99", x_label="requests/s", y_label="ms", series=tuple(series)))
    figure.targets.append(
        TargetLine(
            text="ingress: p99 at half its own saturation",
            value=waits[0].half.percentile(0.99),
            wanted=TARGET_P99_MS,
            at_least=False,
            unit="ms",
        )
    )


def rounds_of(options: Options) -> int:
    """Fewer than of rates: each round is many measurements, and each of those many requests."""
    return min(3, options.rounds)


def _work(options: Options) -> Work:
    saturations, runs = len(_NAMES), rounds_of(options) * len(_NAMES) * (len(RATES) + 1)
    seconds = options.seconds * _OF_SECONDS
    return Work(saturations + runs, 12 + saturations * _SATURATIONS * (seconds + 2) + runs * (seconds + 1.7))


INGRESS_LATENCY = Plan(
    name="ingress-latency",
    title="how long a webhook waits for its 202, open loop",
    measure=measure_latency,
    work=_work,
)
