"""The figures: how long from a webhook to its verdict, on Kafka and PostgreSQL, and in one process on files.

Two views of the same verdict. The *outcomes topic* shows it to consumers, and is watched for every event; the
*receipt* shows it to the partner, and is asked for now and then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.end_to_end.deployments import embedded, on_kafka
from benchmarks.end_to_end.receipts import SAMPLES_PER_S
from benchmarks.end_to_end.trips import Traveller, Trips
from benchmarks.end_to_end.watch import watching
from benchmarks.ingress.open_run import OverloadedError
from benchmarks.ingress.retries import Retries
from benchmarks.latencies import COLUMNS, Latencies
from benchmarks.model import Chart, Figure, Listing, Point, Series, TargetLine
from benchmarks.parts import Parts
from benchmarks.plans import Options, Plan, Work
from benchmarks.rounds import Report
from benchmarks.summary import Summary, summarise

RATES = (50.0, 500.0, 1000.0)
TARGET_RATE = 500.0
TARGET_P99_MS = 50.0
TARGET_SUSTAINED = 3000.0
CONNECTIONS = 64
_FLOOD_A_SECOND = 4000
"""Events of a flood, for each second of a measurement: enough to last about that long."""
OUTCOMES, RECEIPTS = "outcomes topic", "receipt"


@dataclass(slots=True)
class Views:
    """What was seen at one rate."""

    outcomes: Latencies = field(default_factory=Latencies)
    receipts: Latencies = field(default_factory=Latencies)
    overloaded: str | None = None
    """Why this rate is not measured any more; what it showed before does not count either."""

    def add(self, trips: Trips) -> None:
        """One round more."""
        for latencies, found in ((self.outcomes, trips.outcomes_ms), (self.receipts, trips.receipts_ms)):
            if found:
                latencies.rounds_ms.append(found)
        self.outcomes.lags_ms.append(trips.answers.lags_ms)


async def measure_end_to_end(parts: Parts, options: Options, report: Report) -> Figure:
    """One server and one worker, on servers that share the machine. Raises MeasurementError."""
    title = "End to end: webhook due to verdict visible, Kafka and PostgreSQL on the same machine"
    figure, retries, views = Figure(name="end-to-end", title=title), Retries(), {rate: Views() for rate in RATES}
    async with on_kafka(parts) as deployment, watching(deployment.settings) as (watch, following):
        traveller = Traveller(deployment, watch, following)
        await traveller.warm_up()
        for number in range(rounds_of(options)):
            for rate, into in views.items():
                await _measure(traveller, rate, into, options, retries)
                report(_progress(number, rate, into))
    _fill(figure, views, {}, retries)
    figure.targets += _p99_targets(f"end to end: p99 at {TARGET_RATE:,.0f}/s", views[TARGET_RATE])
    return figure


async def measure_embedded(parts: Parts, options: Options, report: Report) -> Figure:
    """`mealtrail up`: the same rates, what it sustains, and half of that. Raises MeasurementError."""
    title = "End to end, embedded: webhook due to verdict visible, one process on SQLite files"
    figure, retries = Figure(name="embedded", title=title), Retries()
    views, half = {rate: Views() for rate in RATES}, Views()
    async with embedded(parts) as deployment, watching(deployment.settings) as (watch, following):
        traveller = Traveller(deployment, watch, following)
        await traveller.warm_up()
        floods = []
        for number in range(rounds_of(options)):
            floods.append(await traveller.flood(round(options.seconds * _FLOOD_A_SECOND), CONNECTIONS))
            report(f"round {number + 1}  sustained {floods[-1]:,.0f}/s")
        sustained = summarise(floods)
        for number in range(rounds_of(options)):
            for rate, into in (*views.items(), (sustained.median / 2, half)):
                await _measure(traveller, rate, into, options, retries)
                report(_progress(number, rate, into))
    _fill(figure, views, {f"{sustained.median / 2:,.0f} (half)": half}, retries)
    figure.targets += _embedded_targets(sustained, half)
    figure.notes.append(
        f"sustained: all of {options.seconds * _FLOOD_A_SECOND:,.0f} events over {CONNECTIONS} connections, from the "
        "first request to the last verdict in the outcomes topic"
    )
    return figure


async def _measure(traveller: Traveller, rate: float, into: Views, options: Options, retries: Retries) -> None:
    """One round of one rate, unless it has proved to be too much."""

    async def once() -> Trips:
        return await traveller.keep_rate(rate, options.seconds, most_late_ms=options.most_late_ms)

    if into.overloaded is not None:
        return
    try:
        into.add(await retries.patiently(once))
    except OverloadedError as error:
        into.overloaded = str(error)


def _progress(number: int, rate: float, views: Views) -> str:
    if views.overloaded is not None:
        return f"round {number + 1}  {rate:>7,.0f}/s  {views.overloaded}"
    p50, p99 = views.outcomes.percentile(0.5).median, views.outcomes.percentile(0.99).median
    return f"round {number + 1}  {rate:>7,.0f}/s  p50 so far {p50:,.1f} ms, p99 {p99:,.1f} ms"


def _fill(figure: Figure, views: dict[float, Views], more: dict[str, Views], retries: Retries) -> None:
    named = {f"{rate:,.0f}": one for rate, one in views.items()} | more
    rows = tuple(
        (rate, view, *latencies.cells())
        for rate, one in named.items()
        for view, latencies in _both(one)
        if latencies.rounds_ms
    )
    figure.failures += [one.overloaded for one in named.values() if one.overloaded is not None]
    figure.listings.append(Listing("", ("events/s", "seen in", *COLUMNS), rows))
    series = [Series(f"p{share * 100:g}", _points(views, share)) for share in (0.5, 0.99)]
    figure.charts.append(
        Chart(title=f"{figure.name}: to the outcomes topic", x_label="events/s", y_label="ms", series=tuple(series))
    )
    figure.notes.append(
        f"outcomes topic: every event; receipt: {SAMPLES_PER_S} events a second, asked for when they are about due, "
        "then every 5 ms (from an age of 50 ms on: a tenth of it)"
    )
    figure.notes += retries.note()


def _points(views: dict[float, Views], share: float) -> tuple[Point, ...]:
    return tuple(Point(rate, one.outcomes.percentile(share)) for rate, one in views.items() if one.overloaded is None)


def _both(views: Views) -> Sequence[tuple[str, Latencies]]:
    """Nothing for a rate that was too much."""
    if views.overloaded is not None:
        return ()
    return ((OUTCOMES, views.outcomes), (RECEIPTS, views.receipts))


def _p99_targets(text: str, views: Views) -> list[TargetLine]:
    return [
        TargetLine(
            text=f"{text}, {view}",
            value=latencies.percentile(0.99),
            wanted=TARGET_P99_MS,
            at_least=False,
            unit="ms",
        )
        for view, latencies in _both(views)
        if latencies.rounds_ms
    ]


def _embedded_targets(sustained: Summary, half: Views) -> list[TargetLine]:
    rate = TargetLine(
        text="embedded, one process: sustained end to end", value=sustained, wanted=TARGET_SUSTAINED, unit="events/s"
    )
    return [rate, *_p99_targets("embedded: p99 at half of it", half)]


def rounds_of(options: Options) -> int:
    """Fewer than of rates: each round is many events."""
    return min(3, options.rounds)


def _end_to_end_work(options: Options) -> Work:
    runs = rounds_of(options) * len(RATES)
    return Work(runs, 12 + runs * (options.seconds + 2.5))


def _embedded_work(options: Options) -> Work:
    rounds, rates = rounds_of(options), len(RATES) + 1
    return Work(rounds * (rates + 1), 8 + rounds * (rates * (options.seconds + 2.5) + 3 * options.seconds))


END_TO_END = Plan(
    name="end-to-end",
    title="webhook to verdict on Kafka and PostgreSQL, open loop",
    measure=measure_end_to_end,
    work=_end_to_end_work,
)
EMBEDDED = Plan(
    name="embedded",
    title="webhook to verdict in one process on files, and what it sustains",
    measure=measure_embedded,
    work=_embedded_work,
)
