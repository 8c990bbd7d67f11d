"""What may enter the log is decided by the records' own types, whoever makes them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.errors import MalformedEvent, RecordUnknown
from schemas.events import FactEvent, OrderAmended, OrderPlaced, StatusEvent
from schemas.records import EventRecord, OperatorRecord, TickRecord, dump_record, load_record
from schemas.statuses import OrderStatus
from schemas.storable import DEEPEST, value_problem
from schemas.times import EARLIEST_US, LATEST_US, rfc3339_micros
from service.cli.operator_move import operator_record
from service.dialects.port import ParsedEvent
from tests.support.received import event_record, source, status

RECORD = orjson.loads(dump_record(event_record("o1", status("READY"), source("restaurant", "r1"), event_id="e1")))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=9), below, max_size=3),
    max_leaves=6,
)


def nested(depth: int) -> dict[str, Any]:
    """An object nested so deep."""
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 501])
def test_texts_that_cannot_be_kept_make_no_event(text: str) -> None:
    """NUL, a lone surrogate, too long: refused for comment, reason and attributes, and for a person's words."""
    ready = OrderStatus.READY
    for make in (
        lambda: StatusEvent(status=ready, comment=text),
        lambda: StatusEvent(status=ready, reason=text),
        lambda: StatusEvent(status=ready, attributes=(text,)),
        lambda: FactEvent(code="eta", comment=text),
        lambda: FactEvent(code=text),
    ):
        with pytest.raises(ValidationError):
            make()
    if len(text) <= 500:
        with pytest.raises(ValidationError):
            operator_record("A", ready, why=text, actor="anna")
    assert StatusEvent(status=ready, comment="line\nßecond 😀\n").comment == "line\nßecond 😀\n"


@pytest.mark.parametrize(
    "details",
    [
        {"a": "\0"}, {"a": {"b": ["\ud800"]}}, {"\0": 1}, {"a": {"\udfff": 1}}, {"a": 1 << 63}, {"a": float("nan")},
        {"a": [float("inf")]}, nested(DEEPEST + 1), {"a": object()}, {"a": {1: 2}}, {"a": b"x"},
    ],
)  # fmt: skip
def test_details_that_cannot_be_kept_make_no_event(details: dict[str, Any]) -> None:
    """What the JSON reader refuses in a body is refused in details too, however they were made."""
    for kind in (OrderPlaced, OrderAmended):
        with pytest.raises(ValidationError):
            kind(details=details)


def test_details_just_within_the_limits_make_an_event() -> None:
    """The limits are where they are said to be, and what passed comes back from the log as it was."""
    details = {"a": (1 << 63) - 1, "b": -(1 << 63), "c": [1.5, None, True, "ä😀"], "d": nested(DEEPEST - 1)}
    assert value_problem(details) is None
    record = event_record("o1", OrderPlaced(details=details), source("platform"), event_id="e1")
    assert load_record(dump_record(record)) == record


@pytest.mark.parametrize("us", [EARLIEST_US - 1, LATEST_US + 1, 1 << 70])
def test_times_outside_the_calendar_make_no_event(us: int) -> None:
    """A claimed time that nobody could write down is refused; the first and the last are not."""
    with pytest.raises(ValidationError):
        StatusEvent(status=OrderStatus.READY, occurred_us=us)
    assert rfc3339_micros(EARLIEST_US) == "0001-01-01T00:00:00.000000Z"
    assert rfc3339_micros(LATEST_US) == "9999-12-31T23:59:59.999999Z"


def test_ids_are_normalised_on_records_and_parsed_events() -> None:
    """One order is one id, in whatever way it was written."""
    event = status("READY")
    assert ParsedEvent("  A  ", "\te1 ", event) == ParsedEvent("A", "e1", event)
    number: Any = 17
    assert ParsedEvent(number, "e1", event).order_id == "17"
    record = event_record("  A  ", event, source("restaurant", "r1"), event_id=" e1 ")
    assert (record.order_id, record.event_id) == ("A", "e1")
    assert TickRecord(event_id=" t ").event_id == "t"
    assert isinstance(load_record(dump_record(record)), EventRecord)
    assert isinstance(operator_record(" A ", OrderStatus.READY, why="asked", actor="anna"), OperatorRecord)


@pytest.mark.parametrize("bad", ["", "   ", "x" * 70_000, "A\0", "A\nB", "\ud800", None, True, 1.5, 1 << 63, ["A"]])
def test_what_is_no_id_is_named(bad: Any) -> None:
    """The field and what is wrong with it, for the partner; no record is made of it."""
    for order_id, event_id, field in ((bad, "e1", "order_id"), ("A", bad, "event_id")):
        with pytest.raises(MalformedEvent) as refused:
            ParsedEvent(order_id, event_id, status("READY"))
        assert [name for name, _ in refused.value.errors] == [field]
    with pytest.raises(ValidationError):
        EventRecord.model_validate({**RECORD, "order_id": bad})


@given(field=st.sampled_from(sorted(RECORD)), value=JSON, inside=st.sampled_from([None, "event", "source"]))
def test_reading_a_record_raises_nothing_but_record_unknown(field: str, value: object, inside: str | None) -> None:
    """Whatever a field holds, at the top or below: a record, or RecordUnknown."""
    changed = {**RECORD, field: value} if inside is None else {**RECORD, inside: {**RECORD[inside], field: value}}
    _load(orjson.dumps(changed) if _is_json(changed) else repr(changed).replace("'", '"').encode())


@given(
    st.binary(max_size=300) | st.builds(lambda n, raw: orjson.dumps(RECORD)[:n] + raw, st.integers(0, 600), st.binary())
)
def test_reading_bytes_raises_nothing_but_record_unknown(raw: bytes) -> None:
    """Bytes that are no record at all, or begin like one."""
    _load(raw)


@pytest.mark.parametrize(
    ("field", "value"), [("order_id", b'"A\\u0000"'), ("event_id", b'"\\ud800"'), ("order_id", b"1" * 5000)]
)
def test_a_strangers_record_stops_its_reader_in_words(field: str, value: bytes) -> None:
    """Ids that no face would have logged are no records of this release."""
    raw = orjson.dumps({**RECORD, field: "HERE"}).replace(b'"HERE"', value)
    with pytest.raises(RecordUnknown):
        load_record(raw)


def _is_json(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def _load(raw: bytes) -> None:
    try:
        load_record(raw)
    except RecordUnknown:
        return
