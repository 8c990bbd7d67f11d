"""The limit that ends appends: each call at its own time, by one timer for all of them."""

import asyncio

import pytest

from backbone.eventlog.port import Position
from backbone.eventlog.publishing import Append, PublishLimit
from schemas.errors import LogUnavailable
from tests.support.waiting import wait_until

AT = Position(0, 7, 1000)


async def test_each_call_ends_when_its_own_time_is_over() -> None:
    """In the order in which they began and not before their time, whoever else was ended by the same timer."""
    limit = PublishLimit(0.05)
    ended: list[int] = []

    async def wait_for(number: int) -> float:
        began = limit.loop.time()
        with pytest.raises(LogUnavailable, match=r"within 0\.05 s; the outcome is unknown"):
            async with asyncio.timeout(10):
                await Append(1, limit).result()
        ended.append(number)
        return limit.loop.time() - began

    first = asyncio.create_task(wait_for(1))
    await asyncio.sleep(0.02)  # the passing of time is what this is about
    others = [asyncio.create_task(wait_for(number)) for number in (2, 3)]
    took = await asyncio.gather(first, *others)
    assert ended == [1, 2, 3]
    assert all(seconds >= 0.049 for seconds in took)


async def test_a_call_that_ended_is_left_alone_and_later_ones_are_still_ended() -> None:
    """One that was stored, or given up by its caller, is forgotten at once; the timer goes on for those that wait."""
    limit = PublishLimit(0.05)
    stored, given_up, waiting = Append(1, limit), Append(1, limit), Append(1, limit)
    stored.place(0, AT)
    assert await stored.result() == [AT]
    caller = asyncio.create_task(given_up.result())
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert given_up.abandoned
    with pytest.raises(LogUnavailable):
        await waiting.result()
    assert not stored.abandoned
    with pytest.raises(LogUnavailable):  # there was nobody to wait for in between
        await Append(1, limit).result()


async def test_a_cancelled_caller_ends_nobody_elses_call() -> None:
    """Those that wait for the same batch get their positions."""
    limit = PublishLimit(5)
    calls = [Append(1, limit) for _ in range(3)]
    callers = [asyncio.create_task(call.result()) for call in calls]
    await asyncio.sleep(0)
    callers[1].cancel()
    await wait_until(callers[1].done)
    for call in calls:
        call.place(0, AT)
    assert await callers[0] == await callers[2] == [AT]
    assert [call.abandoned for call in calls] == [False, True, False]
