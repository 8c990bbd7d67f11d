from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.times import TimeMark, micros, rfc3339_micros
from service.dialects.times import read_time


@pytest.mark.parametrize(
    ("text", "expected", "mark"),
    [
        ("1937-01-01T12:00:27.870000+00:20", "1937-01-01T11:40:27.870000Z", None),
        ("2026-01-31T12:00:00+03:00", "2026-01-31T09:00:00.000000Z", None),
        ("2026-01-31t12:00:00.5z", "2026-01-31T12:00:00.500000Z", None),
        ("2026-01-31 12:00:00.123456789-00:30", "2026-01-31T12:30:00.123456Z", None),
        ("2026-01-31T12:00:00-00:00", "2026-01-31T12:00:00.000000Z", None),
        ("2026-01-31T12:00:00.000001", "2026-01-31T12:00:00.000001Z", TimeMark.NAIVE),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z", None),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z", None),
    ],
)
def test_times_are_read_exactly(text: str, expected: str, mark: TimeMark | None) -> None:
    """Fractions, offsets, small letters, a leap second and a missing offset each have one reading."""
    us, marked = read_time(text)
    assert (rfc3339_micros(us), marked) == (expected, mark)


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "2026-01-31", "2026-02-30T00:00:00Z", "2026-01-31T24:00:00Z", "2026-01-31T12:00:00+24:00",
        "2026-01-31T12:00:00.1234567891Z", "2026-01-31T12:00:00.Z", "٢٠٢٦-01-31T12:00:00Z", "2026-01-31T12:00:00Z\n",
        "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "0000-01-01T00:00:00Z", "2026-01-31T12:00:61Z",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    """Neither odd texts nor impossible days nor times outside the calendar get through."""
    with pytest.raises(ValueError):
        read_time(text)


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)), st.integers(-1439, 1439))  # noqa: DTZ001
def test_every_offset_gives_the_same_moment(local: datetime, minutes: int) -> None:
    """A moment written in any offset is read as that moment, to the microsecond."""
    sign, size = ("-" if minutes < 0 else "+"), abs(minutes)
    text = f"{local.isoformat(timespec='microseconds')}{sign}{size // 60:02}:{size % 60:02}"
    assert read_time(text) == (micros(local.replace(tzinfo=UTC) - timedelta(minutes=minutes)), None)


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    """Nothing else is ever raised."""
    try:
        read_time(text)
    except ValueError:
        return
