"""Latencies of several rounds, as percentiles with their spread. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.model import Cell
from benchmarks.summary import Summary, summarise

_FOR_P999 = 1000
COLUMNS = ("p50 ms", "p99 ms", "p99.9 ms", "measured", "generator's lag p99 ms")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed (nearest rank).

    Raises ValueError for no values or a share outside of 0 to 1.
    """
    if not values or not 0 < share <= 1:
        raise ValueError("a percentile needs values and a share above 0, at most 1")
    return sorted(values)[math.ceil(share * len(values)) - 1]


@dataclass(slots=True)
class Latencies:
    """Of one contender at one rate, a list of milliseconds a round."""

    rounds_ms: list[list[float]] = field(default_factory=list)
    lags_ms: list[list[float]] = field(default_factory=list)
    """How late the generator itself sent. It is part of the latency, so a latency is never better than told."""

    def percentile(self, share: float) -> Summary:
        """Of each round, then the middle of the rounds."""
        return summarise([percentile(measured, share) for measured in self.rounds_ms])

    def rare(self) -> float | None:
        """p99.9 over all rounds together, as one round has too few; None below 1,000 measurements."""
        every = [value for measured in self.rounds_ms for value in measured]
        return percentile(every, 0.999) if len(every) >= _FOR_P999 else None

    def count(self) -> int:
        """Measurements in all rounds."""
        return sum(map(len, self.rounds_ms))

    def lag_p99(self) -> float | None:
        """The generator's own, over all rounds; None where nothing is known of it."""
        every = [value for measured in self.lags_ms for value in measured]
        return percentile(every, 0.99) if every else None

    def cells(self) -> tuple[Cell, ...]:
        """As `COLUMNS` has them."""
        return (self.percentile(0.5), self.percentile(0.99), self.rare(), f"{self.count():,}", self.lag_p99())
