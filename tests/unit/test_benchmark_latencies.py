"""Percentiles, what makes an open loop's run worth nothing, and the patience with a late generator."""

from __future__ import annotations

import pytest

from benchmarks.end_to_end.trips import since_due
from benchmarks.ingress.open_run import GeneratorLateError, OverloadedError, read_open_run
from benchmarks.ingress.retries import ATTEMPTS, Retries
from benchmarks.latencies import Latencies, percentile
from benchmarks.processes import MeasurementError
from benchmarks.summary import Summary, steady_seconds


@pytest.mark.parametrize(("share", "value"), [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (1.0, 100.0), (0.001, 1.0)])
def test_a_percentile_is_a_value_that_was_measured(share: float, value: float) -> None:
    """Nearest rank, in whatever order the values came."""
    assert percentile([float(n) for n in range(100, 0, -1)], share) == value


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0.0), ([1.0], 1.1)])
def test_a_percentile_of_nothing_is_refused(values: list[float], share: float) -> None:
    """No values, and shares that are none."""
    with pytest.raises(ValueError, match="a percentile needs"):
        percentile(values, share)


def test_latencies_take_the_middle_of_the_rounds() -> None:
    """One bad round moves the end of the spread, not the figure."""
    latencies = Latencies(rounds_ms=[[1.0, 2.0], [1.0, 90.0], [1.0, 3.0]])
    assert latencies.percentile(0.99) == Summary(3.0, 2.0, 90.0)
    assert latencies.count() == 6


def test_rare_latencies_need_many_measurements() -> None:
    """p99.9 is taken of all rounds together, and not told below 1,000 values; lag only where it is known."""
    few = Latencies(rounds_ms=[[1.0] * 999])
    assert few.rare() is None
    assert few.cells()[-1] is None
    many = Latencies(rounds_ms=[[1.0] * 998, [5.0, 7.0]], lags_ms=[[0.1, 0.2]])
    assert many.rare() == 5.0
    assert many.lag_p99() == 0.2


def _found(**changes: object) -> dict[str, object]:
    found: dict[str, object] = {"latency_us": [1500, 2500], "lag_us": [10, 4000], "accepted_in_all": 3}
    return found | {"refused": {}, "dropped": 0, "lost": 0} | changes


def test_a_good_run_is_read() -> None:
    """Microseconds become milliseconds, and what was accepted counts the warm-up."""
    run = read_open_run("x", _found(), most_late_ms=5)
    assert (run.latencies_ms, run.lags_ms, run.accepted) == ([1.5, 2.5], [0.01, 4.0], 3)


@pytest.mark.parametrize("changes", [{"refused": {"503": 1}}, {"lost": 1}, {"latency_us": []}])
def test_anything_but_202_spoils_a_run(changes: dict[str, object]) -> None:
    """Other answers, lost connections, nothing measured."""
    with pytest.raises(MeasurementError):
        read_open_run("x", _found(**changes), most_late_ms=5)


def test_a_dropped_request_spoils_a_run() -> None:
    """It is told apart, for the rate was too much and not the program wrong."""
    with pytest.raises(OverloadedError, match="1 requests could not be sent"):
        read_open_run("x", _found(dropped=1), most_late_ms=5)


def test_a_late_generator_spoils_a_run() -> None:
    """One request that left too late by the generator's own fault is enough."""
    with pytest.raises(GeneratorLateError, match="4 ms late"):
        read_open_run("x", _found(), most_late_ms=3.9)


async def test_a_late_run_is_made_again() -> None:
    """Twice, and it is said in the notes."""
    retries, left = Retries(), [GeneratorLateError("a"), GeneratorLateError("b")]

    async def measure() -> str:
        if left:
            raise left.pop()
        return "measured"

    assert await retries.patiently(measure) == "measured"
    assert retries.note() == ["made again since the load generator was late: 2 measurements"]


async def test_a_generator_that_is_always_late_fails_the_figure() -> None:
    """After three times it is the machine; and nothing is made again for other reasons."""
    tries = 0

    async def late() -> None:
        nonlocal tries
        tries += 1
        raise GeneratorLateError("late")

    with pytest.raises(GeneratorLateError):
        await Retries().patiently(late)
    assert tries == ATTEMPTS

    async def refused() -> None:
        raise MeasurementError("refused")

    retries = Retries()
    with pytest.raises(MeasurementError, match="refused"):
        await retries.patiently(refused)
    assert retries.note() == []


def test_trips_count_from_when_an_event_was_due() -> None:
    """The n-th is due n/rate after the start; the warm-up is left out, whatever the order they were seen in."""
    seen = {2: 101.25, 0: 100.5, 1: 100.6}
    assert since_due(seen, start=100.0, rate=10.0, skip=1) == pytest.approx([500.0, 1050.0])


def test_a_steady_rate_tells_what_time_it_stands_on() -> None:
    """From the first commit after the beginning to the last, so that two that came close together are known."""
    samples = [(0.0, 0), (1.0, 10), (2.0, 20), (2.1, 30), (2.2, 30)]
    assert steady_seconds(samples, skip_s=0.5) == pytest.approx(0.1)
    assert steady_seconds(samples[:1], skip_s=0.5) == 0.0
