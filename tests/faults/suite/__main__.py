"""`python -m tests.faults.suite`: runs of the fault suite, one seed each, and the simulation.

Exit code 0: every promise was kept in every run. 1: not; the seeds are printed last, and their folders are kept whole.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.suite.run import Result, run_once
from tests.faults.suite.site import open_servers
from tests.support.sources import UnavailableError

SECONDS = 25.0
SIMULATION = "tests.simulation"
SIMULATION_RUNS = 100_000


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.suite", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the first run; drawn by lot and printed when it is not given")
    parser.add_argument("--runs", type=int, default=1, help="how many, with seeds that count up (default 1)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of faults a run (default {SECONDS:.0f})")
    parser.add_argument("--journal", type=Path, default=Path("var/faults"), help="where journals go (var/faults)")
    parser.add_argument("--simulate", type=int, metavar="N", help="so many runs of the simulation afterwards")
    return parser.parse_args(given)


async def run_many(seeds: Sequence[int], seconds: float, folder: Path) -> list[Result]:
    """Runs one after the other on the same servers, each told as it ends."""
    results = []
    async with open_servers() as servers:
        _say(f"kafka: {servers.kafka.source}\npostgres: {servers.postgres.source}\nnetwork: {servers.network.source}")
        for number, seed in enumerate(seeds, 1):
            _say(f"run {number} of {len(seeds)}: seed {seed}, journal in {folder / f'seed-{seed}'}")
            result = await run_once(servers, seed, seconds, folder / f"seed-{seed}")
            results.append(result)
            _say(str(result))
            for sentence in result.wrong:
                _say(f"  {sentence}")
    return results


def simulate(runs: int, seed: int) -> bool:
    """The simulation's runs; whether they passed."""
    command = [sys.executable, "-m", SIMULATION, "--runs", str(runs), "--seed", str(seed)]
    return subprocess.run(command, check=False).returncode == 0


def main(given: Sequence[str] | None = None) -> int:
    """Runs what the arguments say; the exit code."""
    arguments = _arguments(given)
    first = arguments.seed if arguments.seed is not None else random.randrange(1, 1_000_000)
    _say(f"seed {first}; the same again: SEED={first} make faults")
    began = time.monotonic()
    try:
        seeds = range(first, first + arguments.runs)
        results = asyncio.run(run_many(seeds, arguments.seconds, arguments.journal))
    except UnavailableError as error:
        _say(f"no fault suite without its parts: {error}")
        return 2
    failed = [result.seed for result in results if not result.passed]
    _say(f"{len(results) - len(failed)} of {len(results)} runs passed in {time.monotonic() - began:.0f} s")
    if failed:
        _say("failed seeds: " + ", ".join(map(str, failed)))
    simulated = simulate(arguments.simulate, first) if arguments.simulate else True
    if not simulated:
        _say("the simulation failed")
    return int(bool(failed) or not simulated)


if __name__ == "__main__":
    raise SystemExit(main())
