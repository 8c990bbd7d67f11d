"""Wall-clock times of administration, for people."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.times import LATEST_US


def wall_time(ms: int) -> str:
    """A wall-clock time of administration for people, UTC, to the second. One that no calendar has is shown as it is:
    somebody has been at it.
    """
    if type(ms) is not int or not 0 <= ms <= LATEST_US // 1000:
        return repr(ms)
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def short_time(ms: int) -> str:
    """The same to the minute, without the year."""
    shown = wall_time(ms)
    return shown[5:16] if shown[4:5] == "-" else shown
