"""Deliveroo: logs that repeat what is known, and its two signatures."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from schemas.errors import MalformedEvent, NotAuthenticated
from schemas.events import FactEvent, OrderPlaced, StatusEvent
from schemas.statuses import Fulfilment, OrderStatus
from service.dialects.days import hmac_text
from service.dialects.deliveroo import DIALECT, GUID_HEADER, SIGNATURE_HEADER
from service.dialects.port import Inbound, Parsed, ParsedEvent
from tests.support.dialect_fixtures import partners

PARTNER = partners()["deliveroo"]
SOURCE = PARTNER.source()
SECRET = str(PARTNER.described["secret"])
PLACED, ACCEPTED, CONFIRMED = (
    {"at": f"2026-01-02T12:0{minute}:00Z", "status": status}
    for minute, status in enumerate(("placed", "accepted", "confirmed"))
)


def inbound(body: Any, headers: dict[str, str] | None = None) -> Inbound:
    """A request."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Inbound(CIMultiDictProxy(CIMultiDict(headers or {})), raw, "/v1/webhooks/s1", 0)


def said(body: Any) -> tuple[ParsedEvent, ...]:
    """The events of a body."""
    meaning = DIALECT.parse(inbound(body), SOURCE)
    assert isinstance(meaning, Parsed)
    return meaning.events


def ordered(*log: dict[str, Any], event: str = "order.status_update", **more: Any) -> tuple[ParsedEvent, ...]:
    """The events of an order's message."""
    return said({"event": event, "body": {"order": {"id": "gb:1", "status_log": log, **more}}})


def rode(*logs: list[tuple[str, str]]) -> tuple[ParsedEvent, ...]:
    """The events of riders with these logs."""
    riders = [{"status_log": [{"at": at, "status": f"rider_{word}"} for at, word in log]} for log in logs]
    return said({"event": "rider.status_update", "body": {"order_id": "gb:1", "riders": riders}})


def test_a_growing_log_adds_one_event_at_a_time() -> None:
    """What a later message repeats are the same events, whatever message came with them."""
    grown = [ordered(*(PLACED, ACCEPTED, CONFIRMED)[:length]) for length in (1, 2, 3)]
    assert grown[1][:1] == grown[0]
    assert grown[2][:2] == grown[1]
    assert len({event.event_id for event in grown[2]}) == 3
    assert ordered(PLACED, event="order.new") == grown[0]


def test_entries_without_a_time_go_by_their_place() -> None:
    """The same word twice, neither with a time, is two facts; the log repeated is the same two."""
    first = ordered({"status": "waiting"}, {"status": "waiting", "at": "soon"})
    assert len({event.event_id for event in first}) == 2
    assert ordered({"status": "waiting"}, {"status": "waiting", "at": "soon"}, ACCEPTED)[:2] == first


def test_a_status_that_its_log_lacks_is_one_event_however_the_log_grows() -> None:
    """Its place in the log is none, so that a longer log does not make it new."""
    once, again = ordered(PLACED, status="canceled"), ordered(PLACED, ACCEPTED, status="canceled")
    assert once[-1] == again[-1]
    assert isinstance(once[-1].event, StatusEvent)
    assert once[-1].event.status is OrderStatus.CANCELLED


def test_two_riders_in_the_same_second_are_one_fact() -> None:
    """They have no ids, and an event is in a request once."""
    [one] = rode([("2026-01-02T12:00:00Z", "assigned")], [("2026-01-02T12:00:00Z", "assigned")])
    assert isinstance(one.event, FactEvent)


def test_delivered_is_what_the_last_rider_makes_it() -> None:
    """Noted while another one rides; then the same entry is another event, since it says something else."""
    done, riding = ("2026-01-02T12:30:00Z", "delivered"), ("2026-01-02T12:05:00Z", "in_transit")
    [partly, taken] = rode([done], [riding])
    assert isinstance(partly.event, FactEvent)
    assert isinstance(taken.event, StatusEvent)
    [alone] = rode([done])
    assert isinstance(alone.event, StatusEvent)
    assert alone.event.status is OrderStatus.DELIVERED
    assert alone.event_id != partly.event_id


def test_an_announcement_says_how_the_order_travels() -> None:
    """Its fulfilment and its number; one that says something else is another event."""
    [first] = ordered(PLACED, fulfillment_type="restaurant", order_number=17)
    assert isinstance(first.event, OrderPlaced)
    assert first.event.fulfilment is Fulfilment.OWN_DELIVERY
    assert first.event.external_ids == ("17",)
    [other] = ordered(PLACED, fulfillment_type="customer", order_number=17)
    assert other.event_id != first.event_id


def test_only_a_pickup_is_delivered_by_being_collected() -> None:
    """Else somebody has taken it to deliver it."""
    collected = {"at": "2026-01-02T12:20:00Z", "status": "collected"}
    found = {}
    for fulfilment in ("customer", "deliveroo", "restaurant", "table_service", "drone", None):
        [one] = ordered(collected, fulfillment_type=fulfilment)
        assert isinstance(one.event, StatusEvent)
        found[fulfilment] = one.event.status
    assert {name for name, status in found.items() if status is OrderStatus.DELIVERED} == {"customer"}


@pytest.mark.parametrize("between", [b" ", b" \n "], ids=["now", "retired"])
def test_both_signatures_cover_the_guid(between: bytes) -> None:
    """Another GUID, none, or one that is there twice proves nothing; nor does one that ate the body's beginning."""
    raw = b'{"event":"order.new", "body": {"order":{"id":"gb:1"}}}'
    signature = hmac_text(SECRET, b"1499765769", between, raw)
    DIALECT.verify_signature(inbound(raw, {GUID_HEADER: "1499765769", SIGNATURE_HEADER: signature}), SOURCE)
    first, rest = raw.split(b" ", 1)
    forged = [
        (raw, {GUID_HEADER: "1499765768", SIGNATURE_HEADER: signature}),
        (raw, {SIGNATURE_HEADER: signature}),
        (raw, {GUID_HEADER: "", SIGNATURE_HEADER: signature}),
        (raw, {GUID_HEADER: "1499765769"}),
        (raw + b" ", {GUID_HEADER: "1499765769", SIGNATURE_HEADER: signature}),
        (rest, {GUID_HEADER: f"1499765769 {first.decode()}", SIGNATURE_HEADER: signature}),
    ]
    for body, headers in forged:
        with pytest.raises(NotAuthenticated):
            DIALECT.verify_signature(inbound(body, headers), SOURCE)


def test_a_rider_who_was_taken_off_holds_up_no_delivery() -> None:
    """Before setting out; one who set out, or is assigned again, still has the order or a part of it."""
    done = ("2026-01-02T12:30:00Z", "delivered")
    first, off, again = (
        (f"2026-01-02T12:0{minute}:00Z", word) for minute, word in enumerate(("assigned", "unassigned", "assigned"))
    )
    found = {}
    for name, log in {
        "off": [first, off],
        "on again": [first, off, again],
        "set out": [first, ("2026-01-02T12:01:00Z", "in_transit"), off],
        "silent": [],
    }.items():
        events = rode(log, [done])
        found[name] = isinstance(events[-1].event, StatusEvent)
    assert found == {"off": True, "on again": False, "set out": False, "silent": False}


def test_no_message_is_longer_than_what_counts() -> None:
    """Of an endless log the latest entries are read, with their places; riders without end are refused."""
    entries = [{"status": f"step_{number}"} for number in range(1000)]
    events = ordered(*entries)
    assert len(events) == 100
    assert ordered(*entries, {"status": "one more"})[:-1] == events[1:], "a growing log keeps its places"
    with pytest.raises(MalformedEvent):
        rode(*([("2026-01-02T12:00:00Z", "assigned")] for _ in range(101)))
