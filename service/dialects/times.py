"""RFC 3339 times as partners write them, read into exact microseconds.

Zero to nine fractional digits (cut to microseconds), `Z` or an offset such as +03:00 or +00:20, a small `t` or `z`, a
space for the `T`. A leap second is read as the last microsecond before it. A time without an offset is read as UTC
and marked, so that no decision leans on it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from schemas.times import EARLIEST_US, LATEST_US, TimeMark, micros

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))?"
)
_EXPECTED = "must be an RFC 3339 date-time such as 2025-01-31T12:00:00.000000+03:00"


def read_time(text: str) -> tuple[int, TimeMark | None]:
    """Microseconds since the epoch and the mark NAIVE where there is no offset.

    Raises ValueError, with words for the sender, for anything that is no time or lies outside the years 1 to 9999.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(_EXPECTED)
    year, month, day, hour, minute, second = (int(part) for part in match.group(1, 2, 3, 4, 5, 6))
    fraction = int((match[7] or "").ljust(6, "0")[:6])
    if second == 60:  # a leap second
        second, fraction = 59, 999_999
    try:
        local = micros(datetime(year, month, day, hour, minute, second, fraction, tzinfo=UTC))
    except ValueError as error:
        raise ValueError(f"is not a date and time: {error}") from error
    if match[9] is None:
        return local, None if match[8] else TimeMark.NAIVE
    hours, minutes = int(match[10]), int(match[11])
    if hours > 23 or minutes > 59:
        raise ValueError("has an offset that is none")
    offset = (hours * 60 + minutes) * 60_000_000
    us = local - offset if match[9] == "+" else local + offset
    if not EARLIEST_US <= us <= LATEST_US:
        raise ValueError("lies outside the years 1 to 9999")
    return us, None
