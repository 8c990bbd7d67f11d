"""Makes a failing plan small: fewer events, fewer faults, fewer workers, rounder numbers, and the same failure.

What is cut away changes who runs when, so a smaller plan is tried under several seeds before it is given up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from tests.simulation.plans import Deed, Fault, Move, Outage, Plan, Post, Tick, Trouble

SEEDS_EACH = 3
MOST_RUNS = 1200


def kind_of(problem: str) -> str:
    """What sort of failure it is: its words, up to the values."""
    return re.sub(r"-?\d+", "N", re.split(r"(?<!partition \d): |, at ", problem)[0])


def shrink(
    plan: Plan, problem: str, run: Callable[[Plan], str | None], *, most_runs: int = MOST_RUNS
) -> tuple[Plan, str]:
    """The smallest plan found that fails in the same way, and its problem. `run` says what is wrong with a plan."""
    wanted, left = kind_of(problem), most_runs
    best, best_problem = plan, problem
    progress = True
    while progress and left > 0:
        progress = False
        for candidate in _smaller(best):
            for variant in _variants(candidate, plan.seed):
                if left <= 0:
                    break
                left -= 1
                found = run(variant)
                if found is not None and kind_of(found) == wanted:
                    best, best_problem, progress = variant, found, True
                    break
            if progress:
                break
    return best, best_problem


def _variants(plan: Plan, seed: int) -> Iterator[Plan]:
    """The plan under several seeds, then with its faults at earlier points, since there is less to go through now."""
    for number in range(SEEDS_EACH):
        yield replace(plan, seed=seed + number)
    if plan.faults:
        rng = Random(f"{plan!r}")
        for number in range(SEEDS_EACH):
            faults = tuple(replace(fault, nth=rng.randrange(1, fault.nth + 1)) for fault in plan.faults)
            yield replace(plan, seed=seed + number, faults=faults)


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Plans one step smaller, the boldest first."""
    yield from _with_fewer_deeds(plan)
    for index in range(len(plan.faults)):
        yield replace(plan, faults=plan.faults[:index] + plan.faults[index + 1 :])
    if plan.workers > 1:
        last = plan.workers - 1
        yield replace(
            plan,
            workers=last,
            skews_ms=plan.skews_ms[:last],
            deeds=tuple(_on_worker(deed, last) for deed in plan.deeds),
        )
    if plan.partitions > 1:
        yield replace(plan, partitions=1, deeds=tuple(_on_partition_0(deed) for deed in plan.deeds))
    if plan.afterwards:
        yield replace(plan, afterwards="")
    for index, skew_ms in enumerate(plan.skews_ms):
        if skew_ms:
            yield replace(plan, skews_ms=(*plan.skews_ms[:index], 0, *plan.skews_ms[index + 1 :]))
    for index, deed in enumerate(plan.deeds):
        for simpler in _simpler(deed):
            yield replace(plan, deeds=(*plan.deeds[:index], simpler, *plan.deeds[index + 1 :]))
    for index, fault in enumerate(plan.faults):
        if round(fault.for_s, 1) != fault.for_s:
            simpler_fault: Fault = replace(fault, for_s=round(fault.for_s, 1))
            yield replace(plan, faults=(*plan.faults[:index], simpler_fault, *plan.faults[index + 1 :]))


def _with_fewer_deeds(plan: Plan) -> Iterator[Plan]:
    size = len(plan.deeds) // 2
    while size >= 1:
        for start in range(0, len(plan.deeds), size):
            yield replace(plan, deeds=plan.deeds[:start] + plan.deeds[start + size :])
        size //= 2


def _on_worker(deed: Deed, workers: int) -> Deed:
    if isinstance(deed, Move | Trouble):
        return replace(deed, worker=deed.worker % workers)
    return deed


def _on_partition_0(deed: Deed) -> Deed:
    return replace(deed, partition=0) if isinstance(deed, Move | Tick) else deed


def _simpler(deed: Deed) -> Iterator[Deed]:
    if deed.at != round(deed.at):
        yield replace(deed, at=float(round(deed.at)))
        if deed.at != round(deed.at, 1):
            yield replace(deed, at=round(deed.at, 1))
    if isinstance(deed, Post):
        if deed.event.occurred_ms is not None:
            yield replace(deed, event=replace(deed.event, occurred_ms=None))
        if deed.event.courier:
            yield replace(deed, event=replace(deed.event, courier=""))
    if isinstance(deed, Move) and deed.believes_s:
        yield replace(deed, believes_s=0.0)
    if isinstance(deed, Trouble | Outage) and deed.for_s > 1:
        yield replace(deed, for_s=1.0)
