"""What a figure is made of: rates with their ratios, series, listings, and targets met or missed. Pure.

A figure holds only what was measured; tables (`tables`), plots (`plot`) and documents (`results`) are made from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.summary import Summary, ratios, summarise

_BUSY = 0.9

Cell = str | float | Summary | None
"""One field of a listing: text, a number, a number with its spread, or nothing to tell."""


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


@dataclass(frozen=True, slots=True)
class Comparison:
    """A ratio that the figure is about, and what it should be at least; None where it is for orientation."""

    of: str
    to: str
    target: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLine:
    """A figure that has a target, and what came out. Targets are reported, never gates."""

    text: str
    value: Summary
    wanted: float
    at_least: bool = True
    """Whether more is better; else it is a limit."""
    unit: str = ""

    @property
    def met(self) -> bool:
        """Whether the median is on the right side; the very value counts as met."""
        return self.value.median >= self.wanted if self.at_least else self.value.median <= self.wanted


@dataclass(frozen=True, slots=True)
class Point:
    """One measured value of a series, at one size, rate or the like."""

    x: float
    y: Summary


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one contender, in order of x."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Series over one axis: printed as a table, drawn as lines with their spread."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    logarithmic: bool = True
    """Whether the x axis is."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A table of a form of its own; the first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(slots=True, kw_only=True)
class Figure:
    """What a figure is, and what came out."""

    name: str
    title: str
    unit: str = ""
    comparisons: tuple[Comparison, ...] = ()
    measured: dict[str, list[Measurement]] = field(default_factory=dict)
    charts: list[Chart] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)
    targets: list[TargetLine] = field(default_factory=list)
    """Those that are not ratios of rates; `target_lines` has all."""
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Points that could not be measured, and why; the rest of the figure stands."""

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

    def target_lines(self) -> list[TargetLine]:
        """Every target that this figure has, ratios of rates first."""
        compared = [
            TargetLine(
                text=f"{self.name}: {comparison.of} / {comparison.to}",
                value=self.ratio(comparison),
                wanted=comparison.target,
            )
            for comparison in self.comparisons
            if comparison.target is not None
        ]
        return compared + self.targets

    def limited_elsewhere(self) -> list[str]:
        """Contenders whose own core had time left while the other cores had none: their rates are lower bounds."""
        return [
            name
            for name, measured in self.measured.items()
            if summarise([one.busy for one in measured]).median < _BUSY
            and summarise([one.others_busy for one in measured]).median >= _BUSY
        ]
