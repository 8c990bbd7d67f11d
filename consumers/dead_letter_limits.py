"""How often a decision may fail, and how many events may be set aside before the release is taken to be at fault.

Setting aside is for the odd event that nobody thought of. A release whose rules fail on everything would empty the
log into the list of dead letters; so past a limit the partition stops instead, with nothing lost, until a person has
looked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import exists, select

from backbone.store.engine import Store
from backbone.store.tables import dead_letters
from schemas.dead_letters import DEFAULT_ATTEMPTS, DEFAULT_RUN, DEFAULT_SHARE
from schemas.errors import TooManyDeadLetters

WINDOW = 1000
"""Offsets that the share is taken of."""
ALWAYS_ALLOWED = 20
"""Events that may be set aside in the window, however small the share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterLimits:
    """What `MEALTRAIL_DEAD_LETTER_*` say."""

    attempts: int = DEFAULT_ATTEMPTS
    """Failures after which an event is set aside."""
    run: int = DEFAULT_RUN
    """Events that records in a row may have set aside."""
    share: float = DEFAULT_SHARE
    """Events set aside, to each of the last 1,000 offsets."""

    def problem(self, set_aside: Iterable[int], in_hand: int, *, already: int = 0) -> str | None:
        """Why nothing more may be set aside at the offset in hand, or None. `set_aside` are the earlier offsets where
        events were, each as often as there were; `already` is how many are to be at the one in hand.
        """
        counts = Counter(offset for offset in set_aside if offset < in_hand)
        run, before = already, in_hand - 1
        while before in counts:
            run, before = run + counts[before], before - 1
        if run >= self.run:
            return f"{run} events were set aside in a row"
        window = min(WINDOW, in_hand + 1)
        recent = already + sum(count for offset, count in counts.items() if in_hand - window < offset)
        if recent >= max(ALWAYS_ALLOWED, int(self.share * window)):
            return f"{recent} events were set aside in the last {window} records"
        return None


DEFAULT_LIMITS = DeadLetterLimits()


async def check_limits(store: Store, limits: DeadLetterLimits, partition: int, in_hand: int, *, already: int) -> None:
    """Raises TooManyDeadLetters when one event more than the `already` so many may not be set aside at this offset,
    StoreUnavailable.

    Events that a replay put back count at the offset where they were set aside first: a replay that comes too early is
    no new failure.
    """
    # Never fewer than the run, which a setting may make longer than the window.
    since = in_hand + 1 - max(WINDOW, limits.run + 1)
    own, before = dead_letters.c, dead_letters.alias().c
    put_back = exists().where(
        before.partition == own.partition,
        before.event_offset == own.event_offset,
        before.in_hand_offset < own.in_hand_offset,
    )
    query = select(own.in_hand_offset).where(
        own.partition == partition, own.in_hand_offset >= since, own.in_hand_offset < in_hand, ~put_back
    )
    async with store.reading() as connection:
        found = list(await connection.scalars(query))
    if (problem := limits.problem(found, in_hand, already=already)) is not None:
        raise TooManyDeadLetters(
            f"partition {partition}, offset {in_hand}: {problem}, so this release is at fault rather than the events; "
            "nothing is lost. Deploy a release that decides them (or the one before), restart the consumers, then "
            '`mealtrail dead-letters replay --all --reason "…"`. If these events are to be set aside all the same, '
            "raise MEALTRAIL_DEAD_LETTER_RUN or MEALTRAIL_DEAD_LETTER_SHARE and restart",
            partition=partition,
            offset=in_hand,
        )
