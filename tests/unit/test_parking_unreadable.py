"""What cannot be read, and people's acts that fail: set aside as well, though there is no event to decide."""

from __future__ import annotations

import orjson
import pytest

from consumers.fold import fold
from consumers.ledger import Ledger
from consumers.logged_event import LoggedControl, Unreadable, read_event
from schemas.errors import RecordUnappliable, RecordUnknown
from schemas.records import ApplicableRecord, SourceStamp, dump_record
from tests.support.model import understood
from tests.support.received import Broken, event_record, logged, status
from tests.support.tale import KITCHEN, OPERATOR, Tale


def test_bytes_that_nobody_can_read_park_the_order_of_their_key() -> None:
    """No receipt and no row, now or when they are discarded; a replay that fails again puts them back."""
    tale = Tale().announced().broken().reports(KITCHEN, "COOKING")
    assert tale.waiting() == {2: "parked"}
    tale.replays(1).fails(1)
    assert tale.still_open() == [(3, 1)]
    assert tale.discards(3, 1).trail()[1:] == [
        "(applied NEW>ACCEPTED_BY_RESTAURANT)",
        "applied ACCEPTED_BY_RESTAURANT>COOKING",
    ]
    assert len(tale.applied().receipts) == 2


def test_bytes_without_a_readable_key_park_nothing() -> None:
    """Acts name them by the id that was made for them."""
    tale = Tale().announced().broken(None).reports(KITCHEN, "COOKING")
    assert (tale.waiting(), tale.still_open()) == ({}, [(1, 1)])
    assert tale.discards(1, order="unreadable-1").still_open() == []


def test_what_cannot_be_read_fails_unless_it_is_set_aside() -> None:
    """Like any event whose decision fails, the record itself being to blame."""
    ledger = Ledger(partition=0)
    [record] = logged([(Broken("A"), 0)])
    with pytest.raises(RecordUnappliable, match="offset 0 cannot be read"):
        fold(ledger, understood(record))
    assert ledger.deciding == 0


def test_a_broken_record_is_told_from_one_of_a_later_release() -> None:
    """No JSON at all, or no body for its kind, is broken; an unknown kind stops the partition."""
    for value in (b"", b"\xff", b"[]", b"{}", b'{"kind":7}', b'{"kind":"erase","event_id":"x"}', b'{"kind":"tick"}'):
        assert isinstance(read_event(3, 0, value, key=b"default:A:1"), Unreadable)
    with pytest.raises(RecordUnknown):
        read_event(3, 0, b'{"kind":"prune","event_id":"x"}')
    assert isinstance(read_event(3, 0, b'{"kind":"tick","event_id":"x"}'), LoggedControl)


def changed(record: ApplicableRecord, *where: str, to: object) -> bytes:
    """The record's value with something else at that place."""
    document = orjson.loads(dump_record(record))
    place = document
    for name in where[:-1]:
        place = place[name]
    place[where[-1]] = to
    return orjson.dumps(document)


@pytest.mark.parametrize("by", [KITCHEN, OPERATOR])
@pytest.mark.parametrize("where", [("event", "type"), ("event", "status"), ("source", "role"), ("source", "policy")])
def test_a_name_that_only_a_later_release_knows_stops_the_partition(where: tuple[str, str], by: SourceStamp) -> None:
    """Its event would park an order that a later release has no trouble with. What is no name is broken."""
    record = event_record("A", status("READY"), by)
    with pytest.raises(RecordUnknown, match=where[1]):
        read_event(3, 0, changed(record, *where, to="younger"))
    for broken in (7, None, ["younger"]):
        assert isinstance(read_event(3, 0, changed(record, *where, to=broken)), Unreadable)


@pytest.mark.parametrize(
    ("where", "to"),
    [(("source",), "younger"), (("event",), "younger"), (("event", "occurred_mark"), "odd"), (("order_id",), "")],
)
def test_what_else_is_wrong_in_a_known_kind_is_broken(where: tuple[str, ...], to: object) -> None:
    """Upgrading would not help."""
    record = event_record("A", status("READY"), KITCHEN)
    assert isinstance(read_event(3, 0, changed(record, *where, to=to)), Unreadable)


@pytest.mark.parametrize(
    ("key", "order_key"),
    [(b"default:A:1", ("default", "A:1")), (b"default:", None), (b"other:A", None), (b"\xff", None), (None, None)],
)
def test_the_key_names_the_order_of_what_cannot_be_read(key: bytes | None, order_key: tuple[str, str] | None) -> None:
    """Where it is one of ours."""
    entry = read_event(3, 0, b"", key=key, event_id="evt\0")
    assert isinstance(entry, Unreadable)
    assert (entry.order_key, entry.event_id) == (order_key, "unreadable-3")


def test_a_persons_act_that_fails_parks_nothing_and_can_be_done_later() -> None:
    """A replay that could not be done leaves its pair open, and is simply asked for again."""
    tale = Tale().announced().reports(KITCHEN, "COOKING").fails().replays(1).fails()
    assert tale.still_open() == [(1, 1), (2, 2)]
    assert tale.replays(2).still_open() == [(1, 1)]
    assert tale.replays(1).last() == "applied ACCEPTED_BY_RESTAURANT>COOKING"
