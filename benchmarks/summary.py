"""The arithmetic of a figure: steady rates, medians, spreads, ratios. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Summary:
    """Several measurements of one thing: the middle one, and the lowest and highest."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """From lowest to highest, as a share of the median; 0 for a median of 0."""
        return (self.high - self.low) / self.median if self.median else 0.0


def summarise(values: Sequence[float]) -> Summary:
    """Raises ValueError for no values."""
    if not values:
        raise ValueError("there is nothing to summarise")
    return Summary(median(values), min(values), max(values))


def ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """One ratio a round: each value over the other contender's in the same round, so that a slow round slows both.

    Raises ValueError when rounds are missing on one side or a divisor is not positive.
    """
    if len(of) != len(to):
        raise ValueError(f"{len(of)} rounds against {len(to)}")
    if any(value <= 0 for value in to):
        raise ValueError("a rate must be positive to be compared with")
    return [mine / other for mine, other in zip(of, to, strict=True)]


def steady_rate(samples: Sequence[tuple[float, int]], *, skip_s: float) -> float:
    """Events a second between two commits, from a running count that was looked at often: (seconds, count) pairs.

    Counts grow in steps, as transactions commit. Only looks at which the count had grown are used, from `skip_s` after
    the first of them to the last, so that neither the start-up nor a half-done batch at either end counts.
    Raises ValueError when that leaves fewer than two.
    """
    counted = _steady(samples, skip_s)
    if len(counted) < 2:
        raise ValueError("too little happened to tell a rate")
    (first_s, first), (last_s, last) = counted[0], counted[-1]
    return (last - first) / (last_s - first_s)


def steady_seconds(samples: Sequence[tuple[float, int]], *, skip_s: float) -> float:
    """The time that `steady_rate` of these samples would stand on, 0 where it would raise. Few commits that happen to
    come close together make it short, and a rate over a short time means nothing.
    """
    counted = _steady(samples, skip_s)
    return counted[-1][0] - counted[0][0] if counted else 0.0


def _steady(samples: Sequence[tuple[float, int]], skip_s: float) -> list[tuple[float, int]]:
    grown = [
        (seconds, count)
        for (seconds, count), (_, before) in zip(samples[1:], samples[:-1], strict=True)
        if count > before
    ]
    return [sample for sample in grown if sample[0] >= grown[0][0] + skip_s]


def in_turn(contenders: Sequence[T], number: int) -> list[T]:
    """The contenders' order in a round: each round another one begins, so that none always has the same place."""
    start = number % max(1, len(contenders))
    return [*contenders[start:], *contenders[:start]]
