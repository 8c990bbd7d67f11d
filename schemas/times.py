"""Two kinds of time, never mixed: log time (whole milliseconds) and a partner's claim (microseconds).

Both are integers since 1970-01-01T00:00Z, so that nothing in a decision depends on a clock, a zone or a float.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_US = -62_135_596_800_000_000  # 0001-01-01T00:00:00Z
LATEST_US = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z
PLAUSIBLE_FROM_US = 946_684_800_000_000  # 2000-01-01T00:00:00Z
PLAUSIBLE_AHEAD_US = 86_400_000_000  # a day ahead of log time


class TimeMark(StrEnum):
    """What is wrong with a claimed time. Only a time without a mark takes part in decisions."""

    MISSING = "missing"
    NAIVE = "naive"
    IMPLAUSIBLE = "implausible"


def micros(moment: datetime) -> int:
    """An aware datetime as microseconds since the epoch, exact."""
    return (moment - EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=4096)
def _whole_second(seconds: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS` of a second since the epoch; neighbours in a log share it.

    A time is printed up to four times, too: hashed, published, and once more each as the one of the step before.
    """
    return (EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


@lru_cache(maxsize=8192)
def rfc3339_micros(us: int) -> str:
    """Microseconds since the epoch as `YYYY-MM-DDTHH:MM:SS.ffffffZ`, always six digits."""
    seconds, fraction = divmod(us, 1_000_000)
    return f"{_whole_second(seconds)}.{fraction:06d}Z"


@lru_cache(maxsize=4096)
def rfc3339_millis(ms: int) -> str:
    """Milliseconds since the epoch as `YYYY-MM-DDTHH:MM:SS.fffZ`, always three digits."""
    seconds, fraction = divmod(ms, 1000)
    return f"{_whole_second(seconds)}.{fraction:03d}Z"


def is_plausible(occurred_us: int, log_ms: int) -> bool:
    """Whether a claimed time may be believed: not before 2000, not over a day ahead of the log's time."""
    return PLAUSIBLE_FROM_US <= occurred_us <= log_ms * 1000 + PLAUSIBLE_AHEAD_US
