"""Times as partners write them, read into exact microseconds.

RFC 3339 with zero to nine fractional digits (cut to microseconds), `Z` or an offset such as +03:00 or +00:20, a small
`t` or `z`, a space for the `T`. A leap second is read as the last microsecond before it.

A time without an offset is local to somewhere. Where the source says which zone (`--zone`), it is read there; else it
is read as UTC and marked NAIVE, so that no decision leans on it. So is a local time that the zone's clocks show twice
or never (read as the first of the two, or with the offset before the change): it may be an hour off.

`claimed_time` also reads what else partners write: epoch seconds, milliseconds and microseconds by magnitude, a colon
before the milliseconds, offsets without a colon, day/month/year. A time that is not there is marked MISSING.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from schemas.errors import MalformedEvent
from schemas.times import EARLIEST_US, LATEST_US, TimeMark

Claim = tuple[int | None, TimeMark | None]
"""Microseconds since the epoch and the mark, as events carry them."""
NO_TIME: tuple[None, TimeMark] = (None, TimeMark.MISSING)

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))?"
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - wall clocks are reckoned with before their offsets
_EXPECTED = "must be an RFC 3339 date-time such as 2025-01-31T12:00:00.000000+03:00"
_DIGITS = re.compile(r"[0-9]{1,17}")
_COLON_BEFORE_MS = re.compile(r"(:[0-9]{2}):([0-9]{3})(?=$|[Zz+-])")
_BARE_OFFSET = re.compile(r"(?<=[0-9.])([+-][0-9]{2})([0-9]{2})$")
_DAY_FIRST = re.compile(r"([0-9]{2})/([0-9]{2})/([0-9]{4})[T ](.*)")
_LONGEST = 64
_SECONDS_BELOW, _MILLIS_BELOW, _MICROS_BELOW = 10**11, 10**14, 10**17
"""10**11 seconds are the year 5138, 10**11 milliseconds are 1973: no event of ours lies on the wrong side."""


def read_time(text: str, zone: str | None = None) -> tuple[int, TimeMark | None]:
    """Microseconds since the epoch of an RFC 3339 time; one without an offset is read in `zone` (an IANA name that was
    checked when the source was made).

    Raises ValueError, with words for the sender, for anything that is no time or lies outside the years 1 to 9999.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(_EXPECTED)
    to_the_second, fraction = text[:19], match[7]
    leap = to_the_second.endswith("60")
    try:
        if to_the_second[11:13] == "24":  # later Pythons would read the next day's midnight
            raise ValueError("hour must be in 0..23")  # noqa: TRY301 - told as Python tells of every other part
        written = datetime.fromisoformat(f"{to_the_second[:17]}59" if leap else to_the_second)
    except ValueError as error:
        raise ValueError(f"is not a date and time: {error}") from error
    since = written - _EPOCH
    us = (since.days * 86_400 + since.seconds) * 1_000_000
    if leap:
        us += 999_999
    elif fraction is not None:
        us += int(fraction[:6].ljust(6, "0"))
    mark: TimeMark | None = None
    if match[9] is not None:
        hours, minutes = int(match[10]), int(match[11])
        if hours > 23 or minutes > 59:
            raise ValueError("has an offset that is none")
        offset = (hours * 60 + minutes) * 60_000_000
        us += -offset if match[9] == "+" else offset
    elif match[8] is None:
        if zone is None:
            mark = TimeMark.NAIVE
        else:
            offset, mark = _local(written, zone)
            us -= offset
    if not EARLIEST_US <= us <= LATEST_US:
        raise ValueError("lies outside the years 1 to 9999")
    return us, mark


def _local(written: datetime, zone: str) -> tuple[int, TimeMark | None]:
    """The offset of a wall clock's time in the zone in microseconds, marked where the clocks show it twice or never."""
    first, second = (written.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return first // timedelta(microseconds=1), None if first == second else TimeMark.NAIVE


def read_epoch(number: int) -> tuple[int, None]:
    """Microseconds of seconds, milliseconds or microseconds since 1970, told apart by magnitude. Raises ValueError."""
    size = abs(number)
    if size < _SECONDS_BELOW:
        return number * 1_000_000, None
    if size < _MILLIS_BELOW:
        return number * 1000, None
    if size < _MICROS_BELOW:
        return number, None
    raise ValueError("is no time since 1970 in seconds, milliseconds or microseconds")


def read_any_time(value: object, zone: str | None = None) -> Claim:
    """A time in any of the forms above; MISSING for null and for an empty text. Raises ValueError."""
    if value is None or value == "":
        return NO_TIME
    if isinstance(value, int) and not isinstance(value, bool):
        return read_epoch(value)
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ValueError("must be a time, as text or as a whole number since 1970")
    text = value.strip()
    if _DIGITS.fullmatch(text):
        return read_epoch(int(text))
    day_first = _DAY_FIRST.fullmatch(text)
    if day_first is not None:
        text = f"{day_first[3]}-{day_first[2]}-{day_first[1]}T{day_first[4]}"
    text = _COLON_BEFORE_MS.sub(r"\1.\2", text)
    return read_time(_BARE_OFFSET.sub(r"\1:\2", text), zone)


def claimed_time(
    value: object, field: str, zone: str | None = None, *, unreadable: Literal["refuse", "missing"] = "refuse"
) -> Claim:
    """`read_any_time` of a body's field. Raises MalformedEvent with the field's name for what is no time, or takes it
    for a missing one: for partners whose refused message never comes again.
    """
    try:
        return read_any_time(value, zone)
    except ValueError as error:
        if unreadable == "missing":
            return NO_TIME
        message = f"The body does not have the expected form: {field}."
        raise MalformedEvent(message, errors=((field, str(error)),)) from error
