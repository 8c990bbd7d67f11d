"""Rappi: what its fixtures do not show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from backbone.store.sources import Source
from schemas.details import OrderDetails
from schemas.errors import NotAuthenticated
from schemas.events import FactEvent, OrderPlaced, StatusEvent
from schemas.refusals import Why
from schemas.statuses import Fulfilment, OrderStatus
from service.dialects.port import AnswerOnly, Inbound, Parsed, ParsedEvent
from service.dialects.rappi import DIALECT
from tests.support.dialect_fixtures import cases, partners

SOURCE = partners()["rappi"].source()
TAKEN = {"event": "taken_visible_order", "order_id": "344949817", "store_id": "10000682"}


def fixture(name: str) -> dict[str, Any]:
    """A fixture's body."""
    [case] = [case for case in cases() if case.name == f"rappi/{name}"]
    body: dict[str, Any] = orjson.loads(case.raw)
    return body


def request_of(body: object, headers: Mapping[str, str] | None = None) -> Inbound:
    """A request with this body."""
    return Inbound(CIMultiDictProxy(CIMultiDict(headers or {})), orjson.dumps(body), "/", 0)


def parse(body: object, source: Source = SOURCE) -> tuple[ParsedEvent, ...]:
    """The events of a body."""
    said = DIALECT.parse(request_of(body), source)
    assert isinstance(said, Parsed)
    return said.events


def test_a_courier_assigned_is_an_event_of_its_own() -> None:
    """The second taken_visible_order is not lost, whether its time or its courier tells it apart; a repeat is one."""
    courier = {"additional_information": {"courier_data": {"id": 1}}}
    at = {"event_time": "2023-05-04 12:01:22"}
    bodies = [
        TAKEN,
        TAKEN | courier,
        TAKEN | {"additional_information": {"courier_data": {"id": 2}}},
        TAKEN | at,
        TAKEN | at | courier,
        TAKEN | {"event_time": "2023-05-04 12:01:23"} | courier,
    ]
    found = [parse(body) for body in bodies]
    ids = [event.event_id for events in found for event in events]
    assert len(ids) == len(set(ids)) == len(bodies)
    assert [parse(body) for body in bodies] == found
    held = [events[0].event for events in found]
    assert [isinstance(event, StatusEvent) for event in held] == [True, False, False, True, False, False]
    assert isinstance(held[1], FactEvent)
    assert held[1].comment == "courier assigned"


def test_an_assignment_without_its_courier_is_not_the_taking() -> None:
    """An ETA alone, and neither message with a time: two facts, of which one moves."""
    [taken], [assigned] = parse(TAKEN), parse(TAKEN | {"additional_information": {"eta_to_store": 147}})
    assert taken.event_id != assigned.event_id
    assert isinstance(assigned.event, FactEvent)


def test_times_that_cannot_be_read_leave_the_whole_body() -> None:
    """Two facts that only an odd time tells apart are two."""
    replaced = {"event": "replace_storekeeper", "order_id": 1}
    [first], [again], [second] = (parse(replaced | {"event_time": at}) for at in ("soon", "soon", "later"))
    assert first == again
    assert first.event_id != second.event_id


def test_a_courier_that_was_replaced_twice_is_two_events() -> None:
    """Also without a time."""
    replaced = {"event": "replace_storekeeper", "order_id": 1}
    first, second = (replaced | {"additional_information": {"courier_data": {"id": number}}} for number in (1, 2))
    assert parse(first)[0].event_id != parse(second)[0].event_id


@pytest.mark.parametrize(
    ("event", "cancels"),
    [
        ("cancel_by_user", True),
        ("CANCELED_WITH_CHARGE", True),
        ("cancelled_by_support", True),
        ("canceled_store_closed", True),
        ("CANCELED", True),
        ("cancelled", True),
        ("cancel", False),
        ("cancel_by_user_requested", False),
        ("cancel_by_user_request", False),
        ("cancel_by_support_denied", False),
        ("cancel_by_support_rejected", False),
        ("canceled_with_charge_reversed", False),
        ("cancel_by_somebody_new", False),
        ("cancel_request", False),
        ("cancel_requested_by_user", False),
        ("cancel_by_", False),
        ("not_cancel_by_user", False),
    ],
)
def test_a_request_to_cancel_is_no_cancellation(event: str, cancels: bool) -> None:
    """The documented words cancel, in either spelling; nothing else does."""
    [parsed] = parse({"event": event, "order_id": "1"})
    held = parsed.event
    assert (isinstance(held, StatusEvent) and held.status is OrderStatus.CANCELLED) is cancels


def test_a_new_order_brings_its_details() -> None:
    """Items, amounts, customer, payment and fulfilment, in the form of our order details."""
    [parsed] = parse(fixture("new-order"))
    placed = parsed.event
    assert isinstance(placed, OrderPlaced)
    assert placed.fulfilment is Fulfilment.DELIVERY
    details = OrderDetails.model_validate(placed.details).model_dump(mode="json", exclude_none=True)
    assert details == placed.details
    assert details == {
        "subtotal": "57800",
        "total": "57800",
        "cash_amount": "60800.5",
        "delivery_charge": "3000",
        "service_charge": "0.5",
        "process_time_minutes": 10,
        "payment_method": {"key": "cash"},
        "delivery_method": {"name": "delivery"},
        "vendor": {"id": "900105814", "name": "..."},
        "customer": {"name": "... ...", "phone": "...", "address": "Calle 1 # 2-3, Bogotá"},
        "items": [
            {
                "id": "729970",
                "price": "14450",
                "quantity": "4",
                "options": ["Sin cebolla"],
                "product": {"vendor_reference_id": "0007", "name": "Producto 8"},
            }
        ],
    }


@pytest.mark.parametrize(
    ("method", "fulfilment"),
    [("marketplace", Fulfilment.OWN_DELIVERY), ("pickup", Fulfilment.PICKUP), ("drone", None), (None, None)],
)
def test_who_delivers_follows_from_the_delivery_method(method: str | None, fulfilment: Fulfilment | None) -> None:
    """Rappi's own word for the restaurant's couriers is marketplace."""
    body = fixture("new-order")
    body["order_detail"]["delivery_method"] = method
    placed = parse(body)[0].event
    assert isinstance(placed, OrderPlaced)
    assert placed.fulfilment is fulfilment


@pytest.mark.parametrize(
    ("store", "stores", "found"),
    [
        ({"internal_id": "900", "external_id": "mine"}, {}, "mine"),
        ({"internal_id": "900", "external_id": "mine"}, {"900": "r1"}, "900"),
        ({"internal_id": 900}, {}, "900"),
        ({"internal_id": {}, "external_id": []}, {}, None),
        (None, {}, None),
    ],
)
def test_the_restaurant_is_the_one_that_the_map_has_or_its_own_id(
    store: dict[str, Any] | None, stores: dict[str, str], found: str | None
) -> None:
    """Both ids of a store are in a new order."""
    body = {"order_detail": {"order_id": "1"}, "store": store}
    assert parse(body, replace(SOURCE, stores=stores))[0].store == found


def test_a_ping_is_answered_with_ok() -> None:
    """A missing or another status would close the store."""
    said = DIALECT.parse(request_of({"store_id": 999}), SOURCE)
    assert isinstance(said, AnswerOnly)
    assert said.answer.status == 200
    assert said.answer.body["status"] == "OK"


@pytest.mark.parametrize(
    "header",
    ["t=1", "sign=00", "t=1;sign=00", "t=-1,sign=00", "t=1,t=2,sign=00", "t=1,sign=00,v=1", "t=\udcff,sign=0", ","],
)
def test_a_header_of_another_form_is_malformed(header: str) -> None:
    """And never anything else."""
    with pytest.raises(NotAuthenticated) as refused:
        DIALECT.verify_signature(request_of({}, {"Rappi-Signature": header}), SOURCE)
    assert refused.value.reason is Why.MALFORMED_SIGNATURE


def test_the_sandbox_testers_signature_has_a_reason_of_its_own() -> None:
    """Recomputed from the vendor's own request; a changed byte, another secret or a long body make it a bad one."""
    [case] = [case for case in cases() if case.name == "rappi/sandbox-tester"]
    headers = case.posting().headers

    def reason(raw: bytes, source: Source = SOURCE) -> Why:
        with pytest.raises(NotAuthenticated) as refused:
            DIALECT.verify_signature(Inbound(CIMultiDictProxy(CIMultiDict(headers)), raw, "/", 0), source)
        return refused.value.reason

    assert reason(case.raw) is Why.RESERIALISED_BODY
    assert reason(orjson.dumps(fixture("sandbox-tester"), option=orjson.OPT_INDENT_2)) is Why.RESERIALISED_BODY
    assert reason(case.raw.replace(b"147", b"148")) is Why.BAD_SIGNATURE
    assert reason(case.raw, replace(SOURCE, secrets=(b"another",))) is Why.BAD_SIGNATURE
    assert reason(case.raw + b" " * 40_000) is Why.BAD_SIGNATURE
