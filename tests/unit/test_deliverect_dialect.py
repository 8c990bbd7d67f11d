"""Deliverect: which repeats are one fact and which are two, where no message has an id and few have a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from schemas.errors import MalformedEvent
from schemas.events import FactEvent, OrderPlaced, StatusEvent
from schemas.statuses import OrderStatus, Role
from service.dialects.deliverect import DIALECT
from service.dialects.port import Inbound, Parsed, ParsedEvent
from tests.support.dialect_fixtures import partners

SOURCE = partners()["deliverect"].source()
TILL = {
    "orderId": "d-1",
    "channelOrderId": "A-17",
    "status": 50,
    "timeStamp": "2026-01-02T12:00:00.000000Z",
    "reason": "",
}
COURIER = {"orderId": "d-1", "channelOrderId": "A-17", "status": 83, "courierName": "First", "courierId": "c"}
REPORT = {"received": "2026-01-02T12:00:00Z", "orderId": "d-1", "rawDriverUpdate": [], "courier": {"status": 83}}
FORMS = pytest.mark.parametrize("form", [TILL, COURIER, REPORT], ids=["till", "courier", "report"])


def said(body: dict[str, Any], **changes: Any) -> Parsed:
    """What a body means."""
    meaning = DIALECT.parse(
        Inbound(CIMultiDictProxy(CIMultiDict()), orjson.dumps({**body, **changes}), "/v1/webhooks/s1", 0), SOURCE
    )
    assert isinstance(meaning, Parsed)
    return meaning


def event(body: dict[str, Any], **changes: Any) -> ParsedEvent:
    """Its one event."""
    [one] = said(body, **changes).events
    return one


@FORMS
def test_the_same_message_again_is_the_same_event(form: dict[str, Any]) -> None:
    """Also where its number is written as text."""
    assert event(form) == event(form)
    if form is not REPORT:
        assert event(form, status=str(form["status"])) == event(form)


def test_a_courier_who_moves_is_the_same_fact_in_a_new_place() -> None:
    """Neither coordinates nor an expected time of delivery make another event; the position is new."""
    first = said(COURIER, coordinates={"coordinates": [-4.1, 55.7]}, deliveryTime="2026-01-02T12:30:00Z")
    moved = said(COURIER, coordinates={"coordinates": [-4.2, 55.8]}, deliveryTime="2026-01-02T12:35:00Z")
    assert first.events == moved.events
    assert [(at.latitude, at.longitude) for at in first.positions + moved.positions] == [(55.7, -4.1), (55.8, -4.2)]


@pytest.mark.parametrize(
    ("form", "changes"),
    [
        (TILL, {"timeStamp": "2026-01-02T12:00:00.000001Z"}),
        (TILL, {"status": 60}),
        (TILL, {"reason": "busy"}),
        (TILL, {"isIgnoredPOSStatus": True}),
        (TILL, {"channelOrderId": "A-18"}),
        (COURIER, {"status": 85}),
        (COURIER, {"courierId": "another"}),
        (COURIER, {"courierId": 7}),
        (COURIER, {"courierName": "Second"}),
        (COURIER, {"dispatchPartner": "another"}),
        (REPORT, {"received": "2026-01-02T12:00:01Z"}),
        (REPORT, {"courier": {"status": 85}}),
    ],
)
def test_an_honest_later_message_is_another_event(form: dict[str, Any], changes: dict[str, Any]) -> None:
    """What tells one of its facts from the next is in the id."""
    assert event(form, **changes).event_id != event(form).event_id


@pytest.mark.parametrize(("form", "field"), [(TILL, "timeStamp"), (REPORT, "received")], ids=["till", "report"])
def test_without_a_readable_time_the_whole_body_tells(form: dict[str, Any], field: str) -> None:
    """A masked time: the same body is a repeat, any other one is not."""
    masked = {**form, field: "YYYY-MM-DDTHH:mm:ss.SSSSSSZ"}
    assert event(masked) == event(masked)
    assert event(masked).event_id != event(masked, location="elsewhere").event_id


@pytest.mark.parametrize("code", [90, 95, "90", " 95 "])
@pytest.mark.parametrize(
    "extra", [{}, {"courierName": "First"}, {"courier": {"status": 90}}], ids=["", "name", "courier"]
)
def test_a_till_never_delivers(code: int | str, extra: dict[str, Any]) -> None:
    """Whatever else stands in a body that has a till's `timeStamp`, even without a value."""
    for at in (TILL["timeStamp"], None, ""):
        assert isinstance(event(TILL, status=code, timeStamp=at, **extra).event, FactEvent)


def test_a_courier_delivers_and_cancels_no_order() -> None:
    """Of a courier's numbers two move an order."""
    moves = {}
    for code in range(130):
        held = event(COURIER, status=code).event
        if isinstance(held, StatusEvent):
            moves[code] = held.status
    assert moves == {87: OrderStatus.TAKEN_BY_COURIER, 90: OrderStatus.DELIVERED}


def test_an_announcement_keeps_deliverects_own_id() -> None:
    """Beside the channel's; not where it is the order's id itself."""
    for changes, expected in (({}, ("d-1",)), ({"channelOrderId": ""}, ())):
        held = event(TILL, status=10, **changes).event
        assert isinstance(held, OrderPlaced)
        assert held.external_ids == expected


def test_couriers_with_numbers_for_ids_are_told_apart() -> None:
    """7 and 8 are two, 7 and "7" one."""
    first, second, text = (event(COURIER, courierId=number) for number in (7, 8, "7"))
    assert first.event_id != second.event_id
    assert first == text


@pytest.mark.parametrize("form", [TILL, COURIER, REPORT], ids=["till", "courier", "report"])
@pytest.mark.parametrize("code", [90, 95, "90"])
def test_a_restaurants_source_never_delivers(form: dict[str, Any], code: int | str) -> None:
    """It is the till, whatever its message looks like."""
    body = {**form, "courier": {"status": code}} if form is REPORT else {**form, "status": code}
    raw = orjson.dumps(body)
    request = Inbound(CIMultiDictProxy(CIMultiDict()), raw, "/v1/webhooks/s1", 0)
    meaning = DIALECT.parse(request, replace(SOURCE, role=Role.RESTAURANT))
    assert isinstance(meaning, Parsed)
    assert [type(one.event) for one in meaning.events] == [FactEvent]


def test_an_order_is_not_named_by_the_next_best_id() -> None:
    """A channel's order id that can be none is refused: the message is about no other order."""
    with pytest.raises(MalformedEvent):
        said(TILL, channelOrderId="x" * 129)
