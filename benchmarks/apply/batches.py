"""The figure: what batches are worth, from one event a transaction to a thousand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.apply.contender import ConsumerOnTopic
from benchmarks.apply.records import Story
from benchmarks.apply.topic import APPLIER, BOUND, PLAIN, full_topic
from benchmarks.model import Chart, Comparison, Figure, Point, Series
from benchmarks.parts import PARTITIONS, Parts
from benchmarks.plans import Options, Plan, Work
from benchmarks.rounds import Report, run_rounds
from benchmarks.summary import summarise

SIZES = (1, 10, 100, 1000)
RECORDS = 60_000
_PREPARED = {1: 9_000, 10: 30_000}
"""What the bound cannot finish in one run; of larger batches all records are prepared."""
_MOST_ROUNDS, _SHORTER, _EXTRA_S = 2, 0.5, 3.0


def rounds_of(options: Options) -> int:
    """The series of a default run are short: their points stand beside each other, and shape is what they tell."""
    return options.rounds if options.full else min(options.rounds, _MOST_ROUNDS)


def seconds_of(options: Options) -> float:
    """Length of one measurement of a series."""
    return options.seconds if options.full else options.seconds * _SHORTER


def chart_of(title: str, x_label: str, points: Mapping[str, Sequence[tuple[float, Sequence[float]]]]) -> Chart:
    """A chart of rates: of each series its x values with the rates of all rounds."""
    series = tuple(
        Series(name, tuple(Point(x, summarise(rates)) for x, rates in measured)) for name, measured in points.items()
    )
    return Chart(title=title, x_label=x_label, y_label="events/s", series=series)


async def measure_batches(parts: Parts, options: Options, report: Report, *, records: int = RECORDS) -> Figure:
    """Fills a topic and measures at each size. Raises MeasurementError, LogUnavailable."""
    figure = Figure(
        name="batches",
        title="Apply: events a transaction",
        unit="events/s",
        notes=["the plain ORM consumer always takes one event a transaction"],
    )
    seconds, points = seconds_of(options), dict[str, list[tuple[float, list[float]]]]()
    ratios = []
    async with full_topic(parts, "batches", Story(partitions=PARTITIONS).records(records)) as topic:
        for size in SIZES:
            contenders: list[ConsumerOnTopic] = [
                topic.applier(batch_size=size, seconds=seconds),
                await topic.bound(batch_size=size, seconds=seconds, most=_PREPARED.get(size), reads=True),
            ]
            if size == 1:
                contenders.append(topic.plain(seconds=seconds))
            of_size = Figure(name=f"batches of {size}", title="")
            await run_rounds(of_size, contenders, rounds_of(options), report)
            for contender in contenders:
                points.setdefault(contender.name, []).append((size, of_size.rates(contender.name)))
            ratios.append((size, of_size.ratio(Comparison(APPLIER, BOUND))))
    figure.charts.append(chart_of("events/s by events a transaction", "events a transaction", points))
    share = tuple(Point(size, ratio) for size, ratio in ratios)
    figure.charts.append(
        Chart(
            title="applier's rate as a share of the bound's",
            x_label="events a transaction",
            y_label="ratio",
            series=(Series(f"{APPLIER} / {BOUND}", share),),
        )
    )
    return figure


def _work(options: Options) -> Work:
    runs = rounds_of(options) * (2 * len(SIZES) + 1)
    return Work(runs, 30 + runs * (seconds_of(options) + _EXTRA_S))


BATCHES = Plan(
    name="batches",
    title=f"apply: batches of 1 to {SIZES[-1]:,}, beside {BOUND} and {PLAIN}",
    measure=measure_batches,
    work=_work,
)
