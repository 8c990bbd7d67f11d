"""The simulation's own parts: what it promises to the tests that stand on it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from random import Random

import pytest
from sqlalchemy import text

from backbone.store.engine import Store
from schemas.errors import StoreUnavailable
from tests.simulation.database import LIMIT_S
from tests.simulation.parts import Parts
from tests.simulation.plans import Fault, Jump, Plan
from tests.simulation.runs import open_parts
from tests.simulation.scheduler import Process, SimulationLoop, SimulationStuck
from tests.simulation.shrinker import shrink
from tests.simulation.world import World

EMPTY = Plan(seed=1, workers=1, partitions=1, batch_size=1, skews_ms=(0,), deeds=(), faults=())
ROW = "INSERT INTO kept_settings VALUES (:name, 'v')"
COUNT = text("SELECT COUNT(*) FROM kept_settings")


@pytest.fixture(scope="module")
def parts() -> Iterator[Parts]:
    """What the runs of this module share."""
    with open_parts() as made:
        yield made


def in_a_world(parts: Parts, plan: Plan, scene: Callable[[World, Store, Store], Awaitable[None]]) -> None:
    """Plays a scene with two stores on one simulated database."""
    world = World(plan, parts)
    parts.begin(world.database)
    first, second = parts._stores[:2]
    try:
        world.loop.run_until_complete(world.loop.spawn(world.loop.world, scene(world, first, second)))  # type: ignore[arg-type]
    finally:
        world._take_down()


def test_a_process_keeps_its_order_and_others_do_not() -> None:
    """Callbacks of one process run as they were set; between processes, any order comes up under some seed."""
    orders = set()
    for seed in range(20):
        loop = SimulationLoop(Random(seed))
        told: list[str] = []
        for process in (Process("a"), Process("b")):
            for number in range(2):
                loop.tell(process, told.append, f"{process}{number}")
        loop.call_later(1.0, loop.stop)
        loop.run_forever()
        loop.close()
        assert [name for name in told if name.startswith("a")] == ["a0", "a1"]
        orders.add(tuple(told))
    assert len(orders) > 3


def test_time_jumps_and_the_frozen_and_the_dead_stand_still() -> None:
    """A minute passes at once; the frozen find their timers due when they go on, the dead never do."""
    loop = SimulationLoop(Random(1))
    told: list[tuple[Process, float]] = []
    frozen, dead = Process("frozen"), Process("dead")

    def tell(process: Process) -> None:
        told.append((process, loop.time()))

    for process in (frozen, dead):
        loop.call_later(1.0, tell, process, context=process.context)
    loop.freeze(frozen)
    loop.kill(dead)
    loop.call_later(60.0, loop.thaw, frozen)
    loop.call_later(61.0, loop.stop)
    loop.run_forever()
    loop.close()
    assert told == [(frozen, 60.0)]


def test_a_loop_in_which_nobody_can_go_on_says_so() -> None:
    """Instead of waiting forever."""
    loop = SimulationLoop(Random(1))
    waiting = loop.create_future()
    with pytest.raises(SimulationStuck, match="no timer is set"):
        loop.run_until_complete(waiting)
    loop.close()


def test_the_store_shows_what_is_committed_and_nothing_else(parts: Parts) -> None:
    """Read committed: another's row is invisible until its commit, and visible then, within one transaction of ours."""

    async def scene(_world: World, first: Store, second: Store) -> None:
        async with second.transaction() as reading:
            assert await reading.scalar(COUNT) == 0
            async with first.transaction() as writing:
                await writing.execute(text(ROW), {"name": "a"})
                assert await writing.scalar(COUNT) == 1
                assert await reading.scalar(COUNT) == 0
            assert await reading.scalar(COUNT) == 1

    in_a_world(parts, EMPTY, scene)


def test_a_writer_waits_for_the_one_before_and_sees_what_it_left(parts: Parts) -> None:
    """The second update looks at the row as the first one's commit leaves it, as on PostgreSQL."""

    async def scene(_world: World, first: Store, second: Store) -> None:
        taken: list[int] = []

        async def take(store: Store) -> None:
            async with store.transaction() as connection:
                done = await connection.execute(text("UPDATE kept_settings SET value = 'w' WHERE value = 'v'"))
                await asyncio.sleep(0.5)
                taken.append(done.rowcount)

        async with first.transaction() as connection:
            await connection.execute(text(ROW), {"name": "a"})
        await asyncio.gather(take(first), take(second))
        assert sorted(taken) == [0, 1]

    in_a_world(parts, EMPTY, scene)


def test_a_transaction_that_sits_idle_is_ended_for_whoever_waits(parts: Parts) -> None:
    """The limit frees the lock; the idle one finds its session closed and nothing of it done."""

    async def scene(world: World, first: Store, second: Store) -> None:
        async def idle() -> None:
            async with first.transaction() as connection:
                await connection.execute(text(ROW), {"name": "idle"})
                await asyncio.sleep(LIMIT_S * 2)
                await connection.execute(text(ROW), {"name": "late"})

        sitting = asyncio.ensure_future(idle())
        await asyncio.sleep(0.5)
        since = world.loop.time()
        async with second.transaction() as connection:
            await connection.execute(text(ROW), {"name": "other"})
        assert world.loop.time() - since <= LIMIT_S + 0.5
        with pytest.raises(StoreUnavailable):
            await sitting
        async with second.reading() as connection:
            assert await connection.scalar(text("SELECT group_concat(name) FROM kept_settings")) == "other"

    in_a_world(parts, EMPTY, scene)


@pytest.mark.parametrize(
    ("effect", "there_at_once", "there_later"), [("fail", 0, 0), ("lose_answer", 1, 1), ("late", 0, 1)]
)
def test_a_commit_may_fail_in_three_ways(parts: Parts, effect: str, there_at_once: int, there_later: int) -> None:
    """Not done; done and unanswered; unanswered and done later. The caller gets the same error for all."""
    plan = Plan(
        seed=1,
        workers=1,
        partitions=1,
        batch_size=1,
        skews_ms=(0,),
        deeds=(),
        faults=(Fault(point="commit", nth=1, effect=effect, for_s=1.0),),  # type: ignore[arg-type]
    )

    async def scene(_world: World, first: Store, second: Store) -> None:
        with pytest.raises(StoreUnavailable):
            async with first.transaction() as connection:
                await connection.execute(text(ROW), {"name": "a"})
        for expected in (there_at_once, there_later):
            async with second.reading() as connection:
                assert await connection.scalar(COUNT) == expected
            await asyncio.sleep(2.0)

    in_a_world(parts, plan, scene)


def test_the_triggers_of_the_trail_are_in_force(parts: Parts) -> None:
    """The simulated store is the migrated one: its trail refuses to be changed."""
    parts.files.empty()
    columns = parts.files.writer.execute("SELECT COUNT(*) FROM pragma_table_info('trail')").fetchone()[0]
    names = [row[1] for row in parts.files.writer.execute("PRAGMA table_info(trail)")]
    assert len(names) == columns
    values = ", ".join("1" if name in ("partition", "seq") else "'x'" for name in names)
    parts.files.writer.execute(f"INSERT INTO trail VALUES ({values})")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        parts.files.writer.execute("DELETE FROM trail")
    parts.files.empty()


def test_shrinking_keeps_what_matters() -> None:
    """Of many deeds and faults, those remain without which the failure does not come."""
    plan = Plan(
        seed=5,
        workers=3,
        partitions=2,
        batch_size=7,
        skews_ms=(5, 6, 7),
        deeds=tuple(Jump(at=number / 3, by_ms=number) for number in range(30)),
        faults=tuple(Fault(point="commit", nth=number, effect="fail") for number in range(1, 6)),
    )

    def run(smaller: Plan) -> str | None:
        needed = {jump.by_ms for jump in smaller.deeds if isinstance(jump, Jump)} >= {7, 21}
        return f"partition 0: broken at {len(smaller.deeds)}" if needed and smaller.workers > 1 else None

    small, problem = shrink(plan, "partition 1: broken at 30", run)
    assert [jump.by_ms for jump in small.deeds if isinstance(jump, Jump)] == [7, 21]
    assert (small.workers, small.partitions, small.faults, problem) == (2, 1, (), "partition 0: broken at 2")
