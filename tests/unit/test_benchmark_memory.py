"""The arithmetic behind the memory figure of `make bench`, and the events of its load."""

from __future__ import annotations

from collections import defaultdict

import pytest

from benchmarks.memory.figure import make_figure
from benchmarks.memory.load import make_events
from benchmarks.memory.samples import Sample, events_at, growth_per, join, memory_at
from benchmarks.summary import Summary

_TIMELINE = [(10.0, 0), (20.0, 1000), (30.0, 4000)]


@pytest.mark.parametrize(
    ("seconds", "events"), [(5.0, 0.0), (10.0, 0.0), (15.0, 500.0), (25.0, 2500.0), (30.0, 4000.0), (99.0, 4000.0)]
)
def test_events_are_told_between_two_looks(seconds: float, events: float) -> None:
    """Evenly between them; before the first and after the last the ends count."""
    assert events_at(_TIMELINE, seconds) == pytest.approx(events)


def test_events_cannot_be_told_without_a_look() -> None:
    """An empty timeline is an error, not zero events."""
    with pytest.raises(ValueError, match="nobody looked"):
        events_at([], 1.0)


def test_memory_is_joined_with_events_by_the_clock() -> None:
    """Two clocks' looks need not be at the same moments."""
    assert join([(15.0, 80.0), (25.0, 90.0)], _TIMELINE) == [Sample(500.0, 80.0), Sample(2500.0, 90.0)]


def test_memory_at_a_point_is_the_median_of_the_tenth_before() -> None:
    """What came earlier or later does not count."""
    samples = [Sample(800, 50), Sample(900, 100), Sample(950, 104), Sample(1000, 102), Sample(1001, 300)]
    assert memory_at(samples, 1000) == Summary(102, 100, 104)


def test_memory_at_a_point_nobody_looked_at_is_the_nearest() -> None:
    """A run of seconds has few samples."""
    assert memory_at([Sample(100, 50), Sample(1200, 60)], 1000) == Summary(60, 60, 60)
    with pytest.raises(ValueError, match="nothing to summarise"):
        memory_at([], 1000)


def test_growth_is_the_slope_after_the_beginning() -> None:
    """The first events fill caches; what they add does not count."""
    samples = [Sample(0, 10), Sample(1000, 100), Sample(2000, 101), Sample(3000, 102)]
    assert growth_per(samples, 100_000, after=1000) == pytest.approx(100)
    with pytest.raises(ValueError, match="two numbers of events"):
        growth_per(samples, 100_000, after=3000)


def test_a_figure_has_a_limit_and_a_ratio_for_each_process() -> None:
    """Met and missed by the values told."""
    steady = [Sample(n * 10, 100 + n / 1000) for n in range(101)]
    leaking = [Sample(n * 10, 100 + n) for n in range(101)]
    figure = make_figure({"steady": steady, "leaking": leaking}, 1000)
    assert [line.met for line in figure.target_lines()] == [True, True, False, False]
    assert [len(series.points) for series in figure.charts[0].series] == [10, 10]


def test_every_order_of_the_load_goes_its_whole_way() -> None:
    """No event comes twice, and orders are announced before they move."""
    statuses: dict[str, list[str]] = defaultdict(list)
    for order_id, status in make_events(6000):
        statuses[order_id].append(status)
    ways = {tuple(of_order) for of_order in statuses.values()}
    assert all(way[0] == "NEW" and len(set(way)) == len(way) for way in ways)
    assert max(map(len, ways)) == 6
