"""Durations on the command line."""

from __future__ import annotations

from schemas import durations

_MOST_DAYS = 366
MAX_MS = _MOST_DAYS * durations.DAY_MS
"""Nothing that mealtrail waits for may last longer than a leap year."""


def parse_duration(text: str) -> int:
    """The duration in milliseconds, see `schemas.durations`; at most 366 days. Raises ValueError."""
    return durations.parse_duration(text, most_days=_MOST_DAYS)
