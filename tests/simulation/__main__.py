"""`python -m tests.simulation --runs N --seed S`: many runs, from one seed on; the first failure is told as a story."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain

from tests.simulation.generator import make_plan
from tests.simulation.runs import open_parts, run_plan, tell_plan
from tests.simulation.shrinker import shrink
from tests.simulation.story import describe_plan

CHUNK = 250
MOST_LINES = 70
"""Of a short story: a run that never grows quiet repeats itself."""


def main() -> int:
    """0 when all runs ended as they must, 1 when one did not."""
    options = _options()
    began, done = time.monotonic(), 0
    for first, failures in _chunks(options.seed, options.runs, options.jobs):
        done += min(CHUNK, options.seed + options.runs - first)
        if failures:
            seed, problem = failures[0]
            _say(f"seed {seed}: {problem}")
            for line in explain(seed, problem, shrinking=not options.whole):
                _say(line)
            _say(f"again: python -m tests.simulation --seed {seed} --runs 1")
            return 1
        if done < options.runs:
            _say(f"{done} of {options.runs} runs, {done / (time.monotonic() - began):.0f} a second")
    _say(f"{options.runs} runs from seed {options.seed} on, all well, in {time.monotonic() - began:.0f} s")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="how many runs (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="the first one's seed; the next has the next (default 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--whole", action="store_true", help="tell the story as it is, without making it short")
    return parser.parse_args()


def _chunks(seed: int, runs: int, jobs: int) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """Failures of each chunk of runs, in the order of seeds, so that the first one told is the same on any machine."""
    firsts = range(seed, seed + runs, CHUNK)
    sizes = [min(CHUNK, seed + runs - first) for first in firsts]
    if jobs == 1 or len(sizes) == 1:
        yield from zip(firsts, map(failing_seeds, firsts, sizes), strict=True)
        return
    with ProcessPoolExecutor(jobs) as pool:
        try:
            yield from zip(firsts, pool.map(failing_seeds, firsts, sizes), strict=True)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def failing_seeds(first: int, runs: int) -> list[tuple[int, str]]:
    """The first failing seed from `first` on, with what is wrong; an empty list when all is well."""
    with open_parts() as parts:
        for seed in range(first, first + runs):
            problem = run_plan(make_plan(seed), parts).problem
            if problem is not None:
                return [(seed, problem)]
    return []


def explain(seed: int, problem: str, *, shrinking: bool = True) -> Iterator[str]:
    """The failure as a list of steps, made short first."""
    plan = make_plan(seed)
    with open_parts() as parts:
        if shrinking:
            plan, _ = shrink(plan, problem, lambda smaller: run_plan(smaller, parts).problem)
        result, lines = tell_plan(plan, parts)
    if shrinking and len(lines) > MOST_LINES:
        left_out = f"            … {len(lines) - MOST_LINES} lines more (--whole tells all) …"
        lines = [*lines[: MOST_LINES - 10], left_out, *lines[-10:]]
    yield from chain(("", describe_plan(plan)), lines, ("", f"wrong: {result.problem}"))


def _say(words: str) -> None:
    print(words, flush=True)  # noqa: T201 - a command-line tool prints


if __name__ == "__main__":
    sys.exit(main())
