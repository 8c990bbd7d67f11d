from __future__ import annotations

from dataclasses import dataclass

import pytest

from schemas.errors import RateLimited
from service.ingress.rate_limit import RateLimiter


@dataclass
class Hands:
    """A clock that is moved by hand."""

    seconds: float = 100.0

    def __call__(self) -> float:
        """The time now."""
        return self.seconds


def count(limiter: RateLimiter, key: str, rate: int) -> int:
    """How many requests pass before one is refused."""
    taken = 0
    while True:
        try:
            limiter.take(key, rate)
        except RateLimited:
            return taken
        taken += 1


def test_burst_is_twice_the_rate_and_refills_with_time() -> None:
    """A fresh source may send two seconds' worth at once, then what time gives back, never more than the burst."""
    clock = Hands()
    limiter = RateLimiter(clock)
    assert count(limiter, "a", 10) == 20
    clock.seconds += 0.5
    assert count(limiter, "a", 10) == 5
    clock.seconds += 3600
    assert count(limiter, "a", 10) == 20


def test_sources_do_not_share_room() -> None:
    """One source's flood leaves another's bucket full."""
    limiter = RateLimiter(Hands())
    count(limiter, "a", 10)
    assert count(limiter, "b", 3) == 6


def test_retry_after_is_the_whole_seconds_until_there_is_room() -> None:
    """The advice holds: one second earlier is refused, at the time it passes."""
    clock = Hands()
    limiter = RateLimiter(clock)
    count(limiter, "a", 1)
    with pytest.raises(RateLimited) as refused:
        limiter.take("a", 1)
    assert refused.value.retry_after == 1
    clock.seconds += refused.value.retry_after
    limiter.take("a", 1)


def test_lowered_rate_takes_effect_at_once() -> None:
    """What was saved up under a higher rate is cut to the new burst."""
    limiter = RateLimiter(Hands())
    limiter.take("a", 1000)
    assert count(limiter, "a", 2) == 4
