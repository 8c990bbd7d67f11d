"""The arithmetic behind the figures of `make bench`; nothing here takes the time of anything."""

from __future__ import annotations

import pytest

from benchmarks.model import Comparison, Figure, Measurement
from benchmarks.rounds import run_rounds
from benchmarks.summary import Summary, in_turn, ratios, steady_rate, summarise


def test_a_summary_has_the_middle_and_both_ends() -> None:
    """An outlier moves an end, not the median; the spread is relative to the median."""
    summary = summarise([10.0, 9.0, 50.0])
    assert summary == Summary(10.0, 9.0, 50.0)
    assert summary.spread == pytest.approx(4.1)


def test_an_even_number_of_values_has_its_median_between_two() -> None:
    """Two rounds are summarised by their mean."""
    assert summarise([2.0, 4.0]).median == pytest.approx(3.0)


def test_nothing_cannot_be_summarised() -> None:
    """No rounds are an error, not a zero."""
    with pytest.raises(ValueError, match="nothing to summarise"):
        summarise([])


def test_the_spread_of_nothing_but_zeros_is_zero() -> None:
    """A median of zero divides nothing."""
    assert summarise([0.0, 0.0]).spread == 0.0


def test_ratios_pair_the_values_of_one_round() -> None:
    """A round in which the machine was slow for both leaves the ratio as it is."""
    assert ratios([100.0, 50.0], [50.0, 25.0]) == [2.0, 2.0]


@pytest.mark.parametrize(("of", "to"), [([1.0], [1.0, 2.0]), ([1.0], [0.0])])
def test_ratios_that_mean_nothing_are_refused(of: list[float], to: list[float]) -> None:
    """Missing rounds and rates of zero raise."""
    with pytest.raises(ValueError, match=r"rounds against|must be positive"):
        ratios(of, to)


def test_a_steady_rate_counts_from_step_to_step() -> None:
    """Looks between commits do not matter: 1,000 a step, a step each half second."""
    samples = [(n / 10, n // 5 * 1000) for n in range(41)]
    assert steady_rate(samples, skip_s=0.0) == pytest.approx(2000.0)


def test_a_steady_rate_leaves_the_beginning_out() -> None:
    """What was slow while it warmed up does not count."""
    slow = [(0.0, 0), (1.0, 10), (2.0, 20)]
    steady = [(3.0, 120), (4.0, 220), (5.0, 320)]
    assert steady_rate(slow + steady, skip_s=1.5) == pytest.approx(100.0)


def test_a_steady_rate_leaves_the_idle_end_out() -> None:
    """Once the topic is empty, waiting does not lower the rate."""
    samples = [(0.0, 0), (1.0, 100), (2.0, 200), (3.0, 200), (9.0, 200)]
    assert steady_rate(samples, skip_s=0.0) == pytest.approx(100.0)


@pytest.mark.parametrize("samples", [[], [(0.0, 0)], [(0.0, 0), (1.0, 0)], [(0.0, 0), (1.0, 5)]])
def test_too_little_tells_no_rate(samples: list[tuple[float, int]]) -> None:
    """A rate lies between two commits."""
    with pytest.raises(ValueError, match="too little"):
        steady_rate(samples, skip_s=0.0)


def test_each_round_another_contender_begins() -> None:
    """In as many rounds as contenders everybody had every place."""
    orders = [in_turn("abc", number) for number in range(4)]
    assert orders == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]
    assert in_turn("", 3) == []


class _Scripted:
    """A contender whose measurements are known beforehand."""

    def __init__(self, name: str, rates: list[float], *, busy: float = 1.0) -> None:
        self.name = name
        self._rates = iter(rates)
        self._busy = busy

    async def measure(self) -> Measurement:
        rate = next(self._rates)
        return Measurement(rate=rate, cpu_us=1e6 / rate, busy=self._busy, others_busy=0.95)


async def test_rounds_collect_every_contender_in_turn() -> None:
    """Measurements are kept by contender in the order of rounds, and each one is reported once."""
    figure = Figure(name="f", title="", unit="", comparisons=(Comparison("ours", "theirs", 2.0),))
    told: list[str] = []
    contenders = [_Scripted("ours", [30.0, 10.0, 20.0]), _Scripted("theirs", [10.0, 5.0, 5.0], busy=0.5)]
    await run_rounds(figure, contenders, 3, told.append)
    assert [text.split()[1:3] for text in told] == [
        ["1", "ours"],
        ["1", "theirs"],
        ["2", "theirs"],
        ["2", "ours"],
        ["3", "ours"],
        ["3", "theirs"],
    ]
    assert figure.rates("ours") == [30.0, 10.0, 20.0]
    assert figure.ratio(figure.comparisons[0]) == Summary(3.0, 2.0, 4.0)
    assert figure.cpu_ratio(figure.comparisons[0]).median == pytest.approx(3.0)


async def test_a_contender_that_waited_for_full_cores_is_named() -> None:
    """Its own core had time left and the others had none: its rate is a lower bound."""
    figure = Figure(name="f", title="", unit="", comparisons=())
    contenders = [_Scripted("full", [1.0]), _Scripted("waiting", [1.0], busy=0.5)]
    await run_rounds(figure, contenders, 1, lambda *_: None)
    assert figure.limited_elsewhere() == ["waiting"]
