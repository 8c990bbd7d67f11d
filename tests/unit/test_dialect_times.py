"""Times as partners write them, beyond RFC 3339."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import MalformedEvent
from schemas.times import TimeMark, rfc3339_micros
from service.dialects.event_ids import derive_body_id, derive_fact_id
from service.dialects.times import NO_TIME, claimed_time, read_any_time

BOGOTA, BERLIN = "America/Bogota", "Europe/Berlin"


@pytest.mark.parametrize(
    ("value", "zone", "expected", "mark"),
    [
        ("2023-02-20T18:19:03.20162269Z", None, "2023-02-20T18:19:03.201622Z", None),
        ("2023-05-04 12:01:22", BOGOTA, "2023-05-04T17:01:22.000000Z", None),
        ("2023-05-04 12:01:22", None, "2023-05-04T12:01:22.000000Z", TimeMark.NAIVE),
        ("2026-09-10T20:44:03", BOGOTA, "2026-09-11T01:44:03.000000Z", None),
        ("2023-05-04T12:01:22+02:00", BOGOTA, "2023-05-04T10:01:22.000000Z", None),
        ("10/10/2023 12:00:20", BOGOTA, "2023-10-10T17:00:20.000000Z", None),
        ("31/01/2023 12:00:20", None, "2023-01-31T12:00:20.000000Z", TimeMark.NAIVE),
        ("2020-10-10T20:06:02:123Z", None, "2020-10-10T20:06:02.123000Z", None),
        ("2020-10-10T20:06:02+0530", None, "2020-10-10T14:36:02.000000Z", None),
        (1427343990, None, "2015-03-26T04:26:30.000000Z", None),
        (1596640612953, None, "2020-08-05T15:16:52.953000Z", None),
        (1596640612953000, None, "2020-08-05T15:16:52.953000Z", None),
        ("1603568070000", None, "2020-10-24T19:34:30.000000Z", None),
        (0, None, "1970-01-01T00:00:00.000000Z", None),
        # the clocks go forward at 02:00 and back at 03:00
        ("2026-03-29T02:30:00", BERLIN, "2026-03-29T01:30:00.000000Z", TimeMark.NAIVE),
        ("2026-10-25T02:30:00", BERLIN, "2026-10-25T00:30:00.000000Z", TimeMark.NAIVE),
        ("2026-10-25T03:30:00", BERLIN, "2026-10-25T02:30:00.000000Z", None),
    ],
)
def test_partners_times(value: object, zone: str | None, expected: str, mark: TimeMark | None) -> None:
    """Each form has one reading; a local time that the clocks show twice or never is marked."""
    us, marked = read_any_time(value, zone)
    assert us is not None
    assert (rfc3339_micros(us), marked) == (expected, mark)


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_time_is_marked(value: object) -> None:
    """It is not refused and not made up."""
    assert claimed_time(value, "at") == NO_TIME == (None, TimeMark.MISSING)


@pytest.mark.parametrize(
    "value",
    [
        True,
        1.5,
        [],
        {},
        10**17,
        "YYYY-MM-DDTHH:mm:ss.SSSSSSZ",
        "32/01/2023 12:00:20",
        "x" * 100,
        "9" * 18,
        "0001-01-01 00:00",
    ],
)
def test_what_is_no_time_is_refused_with_its_field_or_taken_for_missing(value: object) -> None:
    """As the dialect asks: a partner that never sends again should not lose an event over its time."""
    with pytest.raises(MalformedEvent) as refused:
        claimed_time(value, "order.at", "Asia/Tokyo")
    assert refused.value.errors[0][0] == "order.at"
    assert claimed_time(value, "order.at", "Asia/Tokyo", unreadable="missing") == NO_TIME


@given(st.none() | st.integers() | st.text(max_size=70) | st.floats(), st.sampled_from([None, BERLIN, BOGOTA]))
def test_anything_is_a_time_or_a_value_error(value: object, zone: str | None) -> None:
    """Nothing else is ever raised."""
    try:
        read_any_time(value, zone)
    except ValueError:
        return


def test_derived_ids_tell_facts_apart_and_repeats_together() -> None:
    """Equal parts, equal ids; no joining of parts, no mixing of kinds makes two facts one."""
    assert derive_fact_id("a", "b", 1, None) == derive_fact_id("a", "b", 1, None)
    different = [("a", "b"), ("ab",), ("a", "b", None), ("a", "b", ""), ("a", "b", 1), ("a", "b", "1"), ("b", "a")]
    assert len({derive_fact_id(*parts) for parts in different}) == len(different)
    assert derive_body_id("a", raw=b"{}") == derive_body_id("a", raw=b"{}") != derive_body_id("a", raw=b"{ }")
