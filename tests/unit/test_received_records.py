"""Records on their way into the received log: partition, key and headers are the same whoever appends them."""

import pytest

from backbone.eventlog.partitioner import partition_of
from backbone.eventlog.received import event_id_of, tick_to_log, to_log
from schemas.cloudevents import header
from schemas.errors import RecordUnknown
from schemas.records import TickRecord, load_record
from schemas.statuses import OrderStatus
from service.cli.operator_move import operator_record
from tests.support.received import event_record, source, status


def test_an_event_comes_from_its_source() -> None:
    """The order's key and partition; the source's name, the trace and the event id in the headers."""
    record = event_record("o1", status("READY"), source("restaurant", "r1", uid="kitchen"), event_id="evt-7")
    new = to_log(record, 12, traceparent="00-aa-bb-01")
    assert (new.key, new.partition) == (b"default:o1", partition_of(b"default:o1", 12))
    assert load_record(new.value) == record
    assert header(new.headers, "ce_source") == "/sources/kitchen"
    assert header(new.headers, "ce_subject") == "o1"
    assert header(new.headers, "traceparent") == "00-aa-bb-01"
    assert event_id_of(new.headers) == "evt-7"


def test_a_persons_act_comes_from_the_operator() -> None:
    """The person's name is in the record, not in a header."""
    record = operator_record("o1", OrderStatus.READY, why="asked", actor="ann")
    new = to_log(record, 12)
    assert header(new.headers, "ce_source") == "/operator"
    assert event_id_of(new.headers) == record.event_id
    assert not [value for _, value in new.headers if b"ann" in value]


def test_a_tick_belongs_to_a_partition_and_to_no_order() -> None:
    """No key and no subject; the partition is the one it is made for."""
    new = tick_to_log(TickRecord(event_id="tick-1"), 5)
    assert (new.partition, new.key, header(new.headers, "ce_subject")) == (5, None, None)
    assert (event_id_of(new.headers), header(new.headers, "ce_source")) == ("tick-1", "/consumers")


def test_a_strangers_record_has_no_event_id() -> None:
    """Told apart from an empty one."""
    assert event_id_of((("other", b"x"),)) is None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b'{"kind": "merge"}', "the record is none that this release knows: Input tag 'merge' found"),
        (b'{"kind": "tick"}', "the record is none that this release knows: tick.event_id: Field required"),
    ],
)
def test_an_unknown_record_is_told_with_its_place_if_it_has_one(value: bytes, told: str) -> None:
    """No empty place, and none of pydantic's own words before ours."""
    with pytest.raises(RecordUnknown) as raised:
        load_record(value)
    assert str(raised.value).startswith(told)
    assert ": :" not in str(raised.value)
