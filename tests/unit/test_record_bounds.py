"""What a record of a known kind may not carry: values that the store would refuse. It is then one that nobody can read,
found where it arrives and not when its rows are written, by which time it may have waited for a day.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from consumers.logged_event import LoggedEvent, Unreadable, read_event
from schemas.records import dump_record
from tests.support.received import event_record, source, status

RECORD = event_record("o1", status("READY"), source("restaurant", "r1"))


def altered(path: tuple[str, ...], value: Any) -> bytes:
    """The record with another value at that place."""
    document = orjson.loads(dump_record(RECORD))
    at = document
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    return orjson.dumps(document)


@pytest.mark.parametrize(
    "path",
    [
        ("workspace",),
        ("receipt_digest",),
        ("payload_digest",),
        ("salt",),
        ("source", "uid"),
        ("source", "name"),
        ("source", "parties"),
    ],
)
@pytest.mark.parametrize("text", ["a\0b", "x" * 201])
def test_names_are_text_that_the_store_takes(path: tuple[str, ...], text: str) -> None:
    """NUL is refused by PostgreSQL, and keys of any length by its indexes."""
    value = [text] if path[-1] == "parties" else text
    assert isinstance(read_event(0, 0, altered(path, value)), Unreadable)
    fits = ["x" * 200] if path[-1] == "parties" else "x" * 200
    assert isinstance(read_event(0, 0, altered(path, fits)), LoggedEvent)


@pytest.mark.parametrize("name", ["hold_ms", "ahead_hold_ms", "skew_ms"])
def test_times_that_are_added_to_log_times_are_bounded(name: str) -> None:
    """Neither negative nor so long that the sum leaves 64 bits."""
    for wrong in (-1, 1 << 62):
        assert isinstance(read_event(0, 0, altered(("source", name), wrong)), Unreadable)
    assert isinstance(read_event(0, 0, altered(("source", name), 30 * 24 * 3600 * 1000)), LoggedEvent)
