"""What can be measured: a figure's plan, and the options of a run that all figures share.

A new figure is an async function that gives a `Figure`, and one line in `figures.PLANS`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from benchmarks.model import Figure
from benchmarks.parts import Parts
from benchmarks.rounds import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Of a whole run. A figure takes from it how often and how long it measures."""

    rounds: int = 4
    seconds: float = 3.0
    """Length of one measurement at saturation; others are in proportion to it."""
    full: bool = False
    """Whether the long figures are wanted, and the long form of the others."""
    most_late_ms: float = 50.0
    """How late an open loop may send its latest request before the measurement is worth nothing."""
    most_rows: int = 10_000_000
    """Of the trail, in the growth figure. Its largest store takes about 3 GB of disk for a million rows."""
    events: int = 1_000_000
    """That each process sees in the memory figure."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a figure will take: how many steps it reports, and about how many seconds on the machine of the docs."""

    steps: int
    seconds: float


Measure = Callable[[Parts, Options, Report], Coroutine[None, None, Figure]]
"""Sets up, measures, and takes down. Raises MeasurementError, MealtrailError and what servers raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One figure that can be asked for by name."""

    name: str
    title: str
    measure: Measure
    work: Callable[[Options], Work]
    only_full: bool = False
    """Too long for every day: measured with FULL=1, or when asked for by name."""


def choose(plans: Sequence[Plan], *, only: Sequence[str], full: bool) -> list[Plan]:
    """Those named, in the order of the list; without names all, the long ones only with `full`.

    Raises ValueError for a name that no figure has.
    """
    unknown = sorted(set(only) - {plan.name for plan in plans})
    if unknown:
        raise ValueError(
            f"no figure is called {', '.join(unknown)}; there are {', '.join(plan.name for plan in plans)}"
        )
    if only:
        return [plan for plan in plans if plan.name in only]
    return [plan for plan in plans if full or not plan.only_full]
