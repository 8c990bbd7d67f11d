"""Resident memory against events done: what it is at some number of events, and how fast it grows. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.summary import Summary, summarise

Timeline = Sequence[tuple[float, int]]
"""(seconds, events done so far), in order of time."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory when so many events were done."""

    events: float
    mib: float


def events_at(timeline: Timeline, seconds: float) -> float:
    """Events done at a moment, evenly between two looks; the ends' values outside. Raises ValueError for no looks."""
    if not timeline:
        raise ValueError("nobody looked at how many events were done")
    place = bisect_right(timeline, seconds, key=lambda look: look[0])
    if place == 0:
        return float(timeline[0][1])
    if place == len(timeline):
        return float(timeline[-1][1])
    (before_s, before), (after_s, after) = timeline[place - 1], timeline[place]
    return before + (after - before) * (seconds - before_s) / (after_s - before_s)


def join(memory: Sequence[tuple[float, float]], timeline: Timeline) -> list[Sample]:
    """Samples of (seconds, MiB) with the events that were done then."""
    return [Sample(events_at(timeline, seconds), mib) for seconds, mib in memory]


def memory_at(samples: Sequence[Sample], events: float) -> Summary:
    """Of the last tenth before so many events were done: one sample alone may fall before or after a collection. Of a
    run too short to have any there, the nearest one. Raises ValueError for no samples.
    """
    chosen = [sample.mib for sample in samples if 0.9 * events <= sample.events <= events]
    if not chosen and samples:
        chosen = [min(samples, key=lambda sample: abs(sample.events - events)).mib]
    return summarise(chosen)


def growth_per(samples: Sequence[Sample], events: float, *, after: float) -> float:
    """MiB that so many further events add: the slope of a straight line through the samples after the first `after`
    events. Raises ValueError for fewer than two of them.
    """
    chosen = [sample for sample in samples if sample.events >= after]
    if len({sample.events for sample in chosen}) < 2:
        raise ValueError("a slope needs samples at two numbers of events")
    x_mean = sum(sample.events for sample in chosen) / len(chosen)
    y_mean = sum(sample.mib for sample in chosen) / len(chosen)
    spread = sum((sample.events - x_mean) ** 2 for sample in chosen)
    return events * sum((sample.events - x_mean) * (sample.mib - y_mean) for sample in chosen) / spread
