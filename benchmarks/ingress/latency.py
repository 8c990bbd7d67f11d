"""The figure: how long a webhook waits for its 202, at constant rates of arrival.

Rates that are the same for all, and half of what each contender can do, as measured in this run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.ingress.contender import ServerUnderLoad
from benchmarks.ingress.open_run import OpenRun, OverloadedError
from benchmarks.ingress.retries import Retries
from benchmarks.ingress.servers import BARE, HAND_WRITTEN, MEALTRAIL, running_servers
from benchmarks.latencies import COLUMNS, Latencies
from benchmarks.model import Cell, Chart, Figure, Listing, Point, Series, TargetLine
from benchmarks.parts import Parts
from benchmarks.plans import Options, Plan, Work
from benchmarks.rounds import Report
from benchmarks.summary import in_turn, summarise

RATES = (50.0, 500.0, 1000.0)
TARGET_P99_MS = 20.0
_NAMES = (MEALTRAIL, HAND_WRITTEN, BARE)
_SATURATIONS = 2
_OF_SECONDS = 0.5
_OF_SATURATION = 0.9


@dataclass(slots=True)
class _Waits:
    """What one contender has shown."""

    server: ServerUnderLoad
    saturation: float = 0.0
    at: dict[float | None, Latencies] = field(default_factory=dict)
    """By rate, None being half of its saturation."""
    failures: dict[float | None, str] = field(default_factory=dict)
    """Rates that are too much for it: an open loop would only tell how long it ran."""

    def prepare(self, saturation: float) -> None:
        """Notes what it can do, and leaves out the rates above."""
        self.saturation = saturation
        for rate in (*RATES, None):
            self.at[rate] = Latencies()
            if rate is not None and rate > saturation * _OF_SATURATION:
                self.failures[rate] = f"{self.server.name} at {rate:,.0f}/s: it saturates at {saturation:,.0f}"

    def takes(self, rate: float | None) -> bool:
        """Whether the rate is still to be measured."""
        return rate not in self.failures

    async def measure(self, rate: float | None, options: Options, retries: Retries) -> str:
        """One run; returns a line for people. Raises MeasurementError, GeneratorLateError."""
        wanted, into = rate or self.saturation / 2, self.at[rate]

        async def once() -> OpenRun:
            seconds = options.seconds * _OF_SECONDS
            return await self.server.keep_rate(wanted, seconds, most_late_ms=options.most_late_ms)

        try:
            run = await retries.patiently(once)
        except OverloadedError as error:
            self.failures[rate] = str(error)
            return str(error)
        into.rounds_ms.append(run.latencies_ms)
        into.lags_ms.append(run.lags_ms)
        p99 = into.percentile(0.99).median
        return f"{self.server.name:<20} {wanted:>7,.0f}/s  p99 so far {p99:,.1f} ms"

    def measured(self) -> list[tuple[float | None, Latencies]]:
        """What may be reported: nothing of a rate that proved too much in some round."""
        return [(rate, latencies) for rate, latencies in self.at.items() if rate not in self.failures]


async def measure_latency(parts: Parts, options: Options, report: Report) -> Figure:
    """Measures all contenders in turns. Raises MeasurementError, GeneratorLateError."""
    figure = Figure(name="ingress-latency", title="Ingress latency: from due to 202, constant rate of arrival")
    retries, seconds = Retries(), options.seconds * _OF_SECONDS
    async with running_servers(parts, _NAMES, figure.notes) as servers:
        waits = [_Waits(servers[name]) for name in _NAMES]
        for one in waits:
            found = [(await one.server.saturate(seconds)).rate for _ in range(_SATURATIONS)]
            one.prepare(summarise(found).median)
            report(f"saturation  {one.server.name:<32} {one.saturation:>9,.0f}/s")
        for number in range(rounds_of(options)):
            for rate in (*RATES, None):
                for one in in_turn([one for one in waits if one.takes(rate)], number):
                    report(f"round {number + 1}  {await one.measure(rate, options, retries)}")
    figure.notes += retries.note()
    _fill(figure, waits)
    return figure


def _fill(figure: Figure, waits: list[_Waits]) -> None:
    rows: list[tuple[Cell, ...]] = []
    for one in waits:
        for rate, latencies in one.measured():
            name = f"{one.saturation / 2:,.0f} (half)" if rate is None else f"{rate:,.0f}"
            rows.append((one.server.name, name, *latencies.cells()))
    figure.listings.append(Listing("", ("contender", "requests/s", *COLUMNS), tuple(rows)))
    figure.failures += [failure for one in waits for failure in one.failures.values()]
    series = [
        Series(
            one.server.name,
            tuple(Point(rate, found.percentile(0.99)) for rate, found in one.measured() if rate is not None),
        )
        for one in waits
    ]
    figure.charts.append(Chart(title="Ingress latency p99", x_label="requests/s", y_label="ms", series=tuple(series)))
    halves = [latencies for rate, latencies in waits[0].measured() if rate is None]
    figure.targets += [
        TargetLine(
            text="ingress: p99 at half its own saturation",
            value=latencies.percentile(0.99),
            wanted=TARGET_P99_MS,
            at_least=False,
            unit="ms",
        )
        for latencies in halves
    ]


def rounds_of(options: Options) -> int:
    """Fewer than of rates: each round is many measurements, and each of those many requests."""
    return min(3, options.rounds)


def _work(options: Options) -> Work:
    saturations, runs = len(_NAMES), rounds_of(options) * len(_NAMES) * (len(RATES) + 1)
    seconds = options.seconds * _OF_SECONDS
    return Work(saturations + runs, 12 + saturations * _SATURATIONS * (seconds + 2) + runs * (seconds + 1.4))


INGRESS_LATENCY = Plan(
    name="ingress-latency",
    title="how long a webhook waits for its 202, open loop",
    measure=measure_latency,
    work=_work,
)
