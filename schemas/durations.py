"""Durations as people write them: `24h`, `2m`, `30s`, `500ms`, `1h30m`, `0`."""

from __future__ import annotations

import re

DAY_MS = 86_400_000
_UNIT_MS = {"d": DAY_MS, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PART = re.compile(r"(\d+)(ms|d|h|m|s)", re.ASCII)
_WHOLE = re.compile(r"(?:\d+(?:ms|d|h|m|s))+", re.ASCII)


def parse_duration(text: str, *, most_days: int) -> int:
    """The duration in milliseconds.

    Numbers with units d, h, m, s or ms, largest first, each unit once; `0` needs no unit. Raises ValueError for
    anything else (also a bare number other than 0: nobody knows its unit) and for more than `most_days`.
    """
    wanted = "a duration is a number with a unit, such as 24h, 2m, 30s, 500ms, or 0"
    text = text.strip()
    if text == "0":
        return 0
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is no duration: {wanted}")
    parts = [(int(number), _UNIT_MS[unit]) for number, unit in _PART.findall(text)]
    units = [unit for _, unit in parts]
    if units != sorted(set(units), reverse=True):
        raise ValueError(f"{text!r} is no duration: each unit once, the largest first")
    total = sum(number * unit for number, unit in parts)
    if total > most_days * DAY_MS:
        raise ValueError(f"{text!r} is too long: at most {most_days}d")
    return total
