"""The common runner: contenders take turns, round after round, and every measurement is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from benchmarks.model import Figure, Measurement
from benchmarks.summary import in_turn

Report = Callable[[str], None]
"""Told after each step of a figure, one line for people. How many there will be is in the figure's plan."""


class Contender(Protocol):
    """Something that can be measured again and again."""

    @property
    def name(self) -> str:
        """How it is called in tables."""

    async def measure(self) -> Measurement:
        """Measures it once. Raises MeasurementError when the measurement means nothing."""


async def run_rounds(figure: Figure, contenders: Sequence[Contender], rounds: int, report: Report) -> None:
    """Measures every contender once a round, in an order that turns, into the figure."""
    figure.measured = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        for contender in in_turn(contenders, number):
            one = await contender.measure()
            figure.measured[contender.name].append(one)
            report(f"round {number + 1}  {contender.name:<32} {one.rate:>9,.0f}/s  {one.cpu_us:>6,.0f} µs")
