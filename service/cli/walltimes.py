"""Wall-clock times of administration, for people."""

from __future__ import annotations

from datetime import UTC, datetime


def wall_time(ms: int) -> str:
    """A wall-clock time of administration for people, UTC, to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def short_time(ms: int) -> str:
    """The same to the minute, without the year."""
    return wall_time(ms)[5:16]
