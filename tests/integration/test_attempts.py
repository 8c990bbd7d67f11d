"""Counting failed tries, on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from backbone.store.engine import Store
from backbone.store.tables import attempts, offsets
from consumers.attempts import PROCESS_DIED, AttemptRepository, Begun, forget_passed
from consumers.dead_letter import Failure
from schemas.canonical import GENESIS
from schemas.errors import PartitionLost
from tests.support.stores import store

__all__ = ["store"]
FAR = 1 << 40


async def at(store: Store, following: int) -> AttemptRepository:
    """Counts of a partition whose next offset is `following`."""
    async with store.transaction() as connection:
        await connection.execute(
            offsets.insert().values(partition=0, next=following, watermark_ms=0, published=0, seq=0, hash=GENESIS)
        )
    return AttemptRepository(store, 0)


async def test_tries_are_counted_by_pair(store: Store) -> None:
    """Each pair has its own count, with the error of its last try; one written again counts once."""
    counts = await at(store, FAR)
    await counts.note((FAR, 2), Failure("KeyError", 1))
    for _ in range(2):
        await counts.note((FAR, 2), Failure("TypeError", 2))
    await counts.note((FAR, FAR), Failure(PROCESS_DIED, 1))
    assert await counts.of(FAR) == {2: Failure("TypeError", 2), FAR: Failure(PROCESS_DIED, 1)}


async def test_a_worker_that_lost_the_partition_counts_nothing(store: Store) -> None:
    """The offset in hand is not the partition's next one: somebody else has passed it."""
    counts = await at(store, 8)
    with pytest.raises(PartitionLost):
        await counts.note((7, 7), Failure("KeyError", 1))
    assert await counts.of(7) == {}


async def test_the_offset_does_not_move(store: Store) -> None:
    """A count is no fence and passes no record."""
    counts = await at(store, 7)
    await counts.note((7, 7), Failure("KeyError", 1))
    async with store.reading() as connection:
        assert await connection.scalar(select(offsets.c.next)) == 7


async def test_a_try_that_went_well_counts_no_more(store: Store) -> None:
    """What counted before it stands again, in the transaction that counts the next one or by itself."""
    counts = await at(store, 7)
    await counts.note((7, 1), Failure("KeyError", 1))
    await counts.note((7, 1), Failure(PROCESS_DIED, 2))
    one = Begun((7, 1), Failure(PROCESS_DIED, 2), Failure("KeyError", 1))
    other = Begun((7, 2), Failure(PROCESS_DIED, 1), None)
    await counts.note(other.pair, other.counted, ended=one)
    assert await counts.of(7) == {1: Failure("KeyError", 1), 2: Failure(PROCESS_DIED, 1)}
    await counts.take_back(other)
    await counts.take_back(other)
    assert await counts.of(7) == {1: Failure("KeyError", 1)}


async def test_passed_offsets_are_forgotten(store: Store) -> None:
    """Counts of offsets before the next one go with the transaction that passes them, later ones stay."""
    counts = await at(store, 7)
    await counts.note((7, 7), Failure("KeyError", 1))
    async with store.transaction() as connection:
        await connection.execute(attempts.insert().values(partition=0, in_hand_offset=9, event_offset=9, attempts=1))
        await forget_passed(connection, 0, 8)
    assert (await counts.of(7), await counts.of(9)) == ({}, {9: Failure(PROCESS_DIED, 1)})
    assert await counts.is_any_at(9)
    await counts.forget(9)
    assert not await counts.is_any_at(0)
