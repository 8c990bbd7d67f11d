"""Runs: from a seed or a plan to a verdict."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backbone.store.migration import migrate
from backbone.store.opening import STORE_FILE
from tests.simulation.checker import check
from tests.simulation.database import Files
from tests.simulation.parts import Parts
from tests.simulation.plans import Plan
from tests.simulation.story import Story, silence
from tests.simulation.world import World
from tests.support.stores import embedded_settings

_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run: the first thing that is wrong, or None."""

    plan: Plan
    problem: str | None
    steps: int
    simulated_s: float


@contextmanager
def open_parts() -> Iterator[Parts]:
    """Makes what runs share, in memory where the system has a file system for that."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        asyncio.run(migrate(embedded_settings(Path(folder))))
        template = sqlite3.connect(":memory:")
        migrated = sqlite3.connect(Path(folder) / STORE_FILE)
        migrated.backup(template)
        migrated.close()
        files = Files(Path(folder) / "simulated.db", template)
        try:
            parts = Parts(files)
            _warm_up(parts)
            yield parts
        finally:
            files.close()


def _warm_up(parts: Parts) -> None:
    """See `Parts.warm_up`; in a world where nothing else happens."""
    world = World(
        Plan(seed=0, workers=1, partitions=1, batch_size=1, skews_ms=(0,), deeds=(), faults=()),
        parts,
    )
    parts.begin(world.database)
    world.loop.run_until_complete(world.loop.spawn(world.loop.world, parts.warm_up()))
    world.loop.close()


def run_plan(plan: Plan, parts: Parts) -> Result:
    """One run in silence, and what the checker finds."""
    with silence():
        ended = World(plan, parts).run()
    return Result(plan, ended.problem or check(ended), ended.steps, ended.simulated_s)


def tell_plan(plan: Plan, parts: Parts) -> tuple[Result, list[str]]:
    """The same run, told. Listening changes nothing: the workers do not wait for their log."""
    story = Story()
    world = World(plan, parts, story)
    with story.listening(world.loop.time):
        ended = world.run()
    return Result(plan, ended.problem or check(ended), ended.steps, ended.simulated_s), story.lines
