"""Finding the event whose rows the store refuses, by setting some of those decided under one record aside."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from consumers.culprit import Takes, find_culprit

SUSPECTS = tuple(range(1000, 0, -1))
"""The last one decided first."""


def trials(is_taken: Callable[[set[int]], bool]) -> tuple[Takes, list[int]]:
    """A store that takes a record by that rule, and how many were aside at each trial."""
    asked: list[int] = []

    async def takes(event_offsets: Sequence[int]) -> bool:
        asked.append(len(event_offsets))
        return is_taken(set(event_offsets))

    return takes, asked


@pytest.mark.parametrize("guilty", [1, 2, 500, 949, 999, 1000])
async def test_one_of_a_thousand_is_found_in_a_dozen_trials(guilty: int) -> None:
    """Wherever it stands among them."""
    takes, asked = trials(lambda aside: guilty in aside)
    assert await find_culprit(takes, SUSPECTS) == guilty
    assert len(asked) <= 12


async def test_several_are_found_one_after_the_other() -> None:
    """Each answer is one of them, the first one decided first."""
    guilty, found = {3, 400, 998}, set[int]()
    while not guilty <= found:
        takes, _ = trials(lambda aside: guilty <= aside | found)
        culprit = await find_culprit(takes, SUSPECTS)
        assert culprit in guilty - found
        found.add(culprit)


async def test_who_released_the_culprit_is_not_blamed() -> None:
    """Without event 5 nothing after it would be decided, the guilty 8 not either: 8 is found all the same."""
    takes, _ = trials(lambda aside: bool(aside & {5, 8}))
    assert await find_culprit(takes, tuple(range(10, 0, -1))) == 8


async def test_each_is_tried_alone_where_setting_all_aside_does_harm() -> None:
    """The last resort."""
    takes, _ = trials(lambda aside: aside == {7})
    assert await find_culprit(takes, SUSPECTS[-20:]) == 7


async def test_nobody_is_blamed_where_nothing_helps() -> None:
    """Then it is the record's own fault."""
    takes, _ = trials(lambda _: False)
    assert await find_culprit(takes, SUSPECTS[:5]) is None
    assert await find_culprit(takes, ()) is None
