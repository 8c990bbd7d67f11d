"""A thousand bad days: whatever happens, the trail is the one that a single worker would have written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from backbone.store.tables import offsets
from consumers import applier as applying
from consumers import ledger_writing as writing
from consumers import offset_rows
from consumers import relay as relaying
from consumers.tally import Tally
from schemas.dead_letters import PROCESS_DIED_READING
from tests.simulation.__main__ import explain
from tests.simulation.generator import make_plan
from tests.simulation.parts import Parts
from tests.simulation.runs import open_parts, run_plan, tell_plan
from tests.simulation.shrinker import shrink

RUNS, EACH = 1000, 125


@pytest.fixture(scope="module")
def parts() -> Iterator[Parts]:
    """What the runs of this module share."""
    with open_parts() as made:
        yield made


@pytest.mark.parametrize("first", range(0, RUNS, EACH))
def test_whatever_happens_the_trail_is_a_single_workers(parts: Parts, first: int) -> None:
    """Crashes, freezes, stale owners, lost answers, poison: rows and hashes equal the model's, outcomes are gapless."""
    for seed in range(first, first + EACH):
        problem = run_plan(make_plan(seed), parts).problem
        if problem is not None:
            pytest.fail("\n".join([f"seed {seed}: {problem}", *explain(seed, problem)]))


def test_a_seed_is_the_same_run_again(parts: Parts) -> None:
    """Told twice in one process, whatever ran in between, the story has the same lines at the same times."""
    seeds = (3, 4, 5)
    first = [tell_plan(make_plan(seed), parts) for seed in seeds]
    assert [tell_plan(make_plan(seed), parts) for seed in reversed(seeds)] == list(reversed(first))
    assert all(len(lines) > 5 for _, lines in first)
    assert [run_plan(make_plan(seed), parts) for seed in seeds] == [result for result, _ in first]


def test_a_seed_is_the_same_run_in_any_process() -> None:
    """Neither the order of sets and dictionaries nor what ran before changes a step."""
    script = (
        "from tests.simulation.runs import open_parts, tell_plan\n"
        "from tests.simulation.generator import make_plan\n"
        "with open_parts() as parts:\n"
        "    for seed in {seeds}:\n"
        "        print(seed, *tell_plan(make_plan(seed), parts), sep='\\n')\n"
    )

    def tell(hash_seed: str, seeds: list[int]) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", script.format(seeds=seeds)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return done.stdout.splitlines()

    seeds = [11, 12, 13]
    told = tell("1", seeds)
    assert len(told) == 3 * len(seeds)
    again = tell("2", seeds[::-1])
    assert [again[start : start + 3] for start in range(0, len(again), 3)] == [
        told[start : start + 3] for start in reversed(range(0, len(told), 3))
    ]


def _first_problem(parts: Parts, runs: int) -> tuple[int, str]:
    for seed in range(runs):
        problem = run_plan(make_plan(seed), parts).problem
        if problem is not None:
            return seed, problem
    return pytest.fail(f"not noticed in {runs} runs")


def test_a_fence_that_asks_nothing_is_noticed(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fence that lets everybody pass, two owners are enough; the story comes down to a few steps."""
    original = offset_rows.pass_fence

    async def pass_fence(connection: Any, partition: int, *, start: int, **fields: Any) -> Any:
        await connection.execute(update(offsets).where(offsets.c.partition == partition).values(next=start))
        return await original(connection, partition, start=start, **fields)

    monkeypatch.setattr(applying, "pass_fence", pass_fence)
    seed, problem = _first_problem(parts, 200)
    plan, _ = shrink(make_plan(seed), problem, lambda smaller: run_plan(smaller, parts).problem, most_runs=150)
    assert len(plan.deeds) + len(plan.faults) <= 8
    assert plan.partitions == 1


def test_a_relay_that_goes_on_after_what_it_sent_is_noticed(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that counts rows as published before the log has acknowledged them leaves gaps, and they are found."""
    original = relaying.Relay.publish_next

    async def publish_next(self: relaying.Relay) -> None:
        self.published, before = self._head, self.published
        mine, self.published = self.published, before
        try:
            await original(self)
        finally:
            self.published = mine

    monkeypatch.setattr(relaying.Relay, "publish_next", publish_next)
    _first_problem(parts, 300)


def test_an_erasure_that_takes_nothing_is_noticed(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Payloads, comments and reasons that lie in the store although somebody had them taken away are found."""

    async def erase_rows(*_: Any) -> None:
        pass

    monkeypatch.setattr(writing, "erase_rows", erase_rows)
    _, problem = _first_problem(parts, 300)
    assert "event_payloads" in problem


def test_parties_that_are_not_written_are_noticed(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows by which a party's orders are listed."""
    monkeypatch.setattr(writing, "_party_rows", lambda _: [])
    _, problem = _first_problem(parts, 300)
    assert "order_parties" in problem


def test_a_record_that_is_parsed_before_it_is_counted_is_noticed(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody survives parsing then stops its partition for good."""
    original = Tally.begin

    async def begin(self: Tally, event_offset: int, error: str) -> None:
        if error != PROCESS_DIED_READING:
            await original(self, event_offset, error)

    monkeypatch.setattr(Tally, "begin", begin)
    _, problem = _first_problem(parts, 300)
    assert "no quiet" in problem
