"""The common runner: contenders take turns, round after round, and every measurement is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.summary import Summary, in_turn, ratios, summarise

_BUSY = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One contender, one round."""

    rate: float
    """Units (requests, events) a second."""
    cpu_us: float
    """Processor time of the contender's own process for one unit, in microseconds. Neighbours hardly touch it."""
    busy: float
    """Share of one core that its process used."""
    others_busy: float
    """Share of the other cores that was used, by servers, load generator and neighbours together."""


class Contender(Protocol):
    """Something that can be measured again and again."""

    @property
    def name(self) -> str:
        """How it is called in tables."""

    async def measure(self) -> Measurement:
        """Measures it once. Raises MeasurementError when the measurement means nothing."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A ratio that the figure is about, and what it should be at least; None where it is for orientation."""

    of: str
    to: str
    target: float | None = None


@dataclass(slots=True, kw_only=True)
class Figure:
    """What a figure is, and what came out."""

    name: str
    title: str
    unit: str
    comparisons: tuple[Comparison, ...]
    measured: dict[str, list[Measurement]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def rates(self, contender: str) -> list[float]:
        """The contender's rate in each round."""
        return [measurement.rate for measurement in self.measured[contender]]

    def ratio(self, comparison: Comparison) -> Summary:
        """The comparison, over all rounds."""
        return summarise(ratios(self.rates(comparison.of), self.rates(comparison.to)))

    def cpu_ratio(self, comparison: Comparison) -> Summary:
        """The same by processor time: what the other spends on a unit over what ours does, so more is better too."""
        of = [measurement.cpu_us for measurement in self.measured[comparison.of]]
        to = [measurement.cpu_us for measurement in self.measured[comparison.to]]
        return summarise(ratios(to, of))

    def limited_elsewhere(self) -> list[str]:
        """Contenders whose own core had time left while the other cores had none: their rates are lower bounds."""
        return [
            name
            for name, measured in self.measured.items()
            if summarise([one.busy for one in measured]).median < _BUSY
            and summarise([one.others_busy for one in measured]).median >= _BUSY
        ]


Report = Callable[[int, str, Measurement], None]
"""Told after each measurement: the round (from 1), the contender's name, what came out."""


async def run_rounds(figure: Figure, contenders: Sequence[Contender], rounds: int, report: Report) -> None:
    """Measures every contender once a round, in an order that turns, into the figure."""
    figure.measured = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in in_turn(contenders, number):
            measurement = await contender.measure()
            figure.measured[contender.name].append(measurement)
            report(number + 1, contender.name, measurement)
