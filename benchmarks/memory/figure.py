"""The figure: what each process holds after a hundred thousand events, and after a million."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.memory.runs import run_embedded, run_on_kafka
from benchmarks.memory.samples import Sample, growth_per, memory_at
from benchmarks.model import Cell, Chart, Figure, Listing, Point, Series, TargetLine
from benchmarks.parts import Parts
from benchmarks.plans import Options, Plan, Work
from benchmarks.rounds import Report
from benchmarks.summary import Summary

LIMIT_MIB, MOST_GROWTH = 140.0, 1.05
_POINTS = 10
_PER = 100_000
_SETTLED = 0.2
"""Of the run, before growth is told: caches fill and pools open at first."""
_EVENTS_PER_S = 3_000


async def measure_memory(parts: Parts, options: Options, report: Report) -> Figure:
    """One long run on Kafka and PostgreSQL, one embedded. Raises MeasurementError."""
    samples = await run_on_kafka(parts, options.events, report)
    samples |= await run_embedded(parts, options.events, report)
    return make_figure(samples, options.events)


def make_figure(samples: Mapping[str, Sequence[Sample]], events: int) -> Figure:
    """What the samples of each process say, at a tenth of the events and at all of them. Raises ValueError."""
    early, late = events // 10, events
    columns = ("resident memory, MiB", f"at {early:,} events", f"at {late:,}", f"growth per {_PER:,} events", "highest")
    rows: list[tuple[Cell, ...]] = []
    targets: list[TargetLine] = []
    for name, of_process in samples.items():
        first, last = memory_at(of_process, early), memory_at(of_process, late)
        growth = growth_per(of_process, _PER, after=_SETTLED * events)
        rows.append((name, first, last, growth, max(sample.mib for sample in of_process)))
        targets += [
            TargetLine(text=f"memory: {name}", value=last, wanted=LIMIT_MIB, at_least=False, unit="MiB"),
            TargetLine(
                text=f"memory: {name} at {late:,} / at {early:,} events",
                value=_single(last.median / first.median),
                wanted=MOST_GROWTH,
                at_least=False,
            ),
        ]
    steps = [events * step // _POINTS for step in range(1, _POINTS + 1)]
    series = tuple(
        Series(name, tuple(Point(step, memory_at(of_process, step)) for step in steps))
        for name, of_process in samples.items()
    )
    return Figure(
        name="memory",
        title=f"Memory: resident memory of each process over {events:,} events",
        charts=[
            Chart(title="MiB by events", x_label="events", y_label="MiB", series=series, logarithmic=False),
        ],
        listings=[Listing("", columns, tuple(rows))],
        targets=targets,
        notes=[
            "every event is a signed webhook of its own, six statuses an order",
            "at each point the median of the last tenth before it, and lowest to highest",
        ],
    )


def _single(value: float) -> Summary:
    return Summary(value, value, value)


MEMORY = Plan(
    name="memory",
    title="memory: serve, worker and up over a long run",
    measure=measure_memory,
    work=lambda options: Work(2, 30 + 2 * options.events / _EVENTS_PER_S),
    only_full=True,
)
