"""Uber Eats and Uber Direct: what their fixtures do not show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from schemas.errors import NotAuthenticated
from schemas.events import FactEvent
from service.dialects.days import hmac_text
from service.dialects.partner import PartnerDialect
from service.dialects.port import Inbound, Parsed, ParsedEvent
from service.dialects.uber_direct import DIALECT as DIRECT
from service.dialects.uber_eats import DIALECT as EATS
from tests.support.dialect_fixtures import partners

DIRECT_PARTNER = partners()["uber-direct"]
STATUSES = ["pending", "pickup", "pickup_complete", "dropoff", "delivered", "canceled", "returned", "Delivered ", "new"]
DAPI_STATUSES = ["SCHEDULED", "EN_ROUTE_TO_PICKUP", "EN_ROUTE_TO_DROPOFF", "ARRIVED_AT_DROPOFF", "COMPLETED", "FAILED"]


def request_of(body: object, headers: Mapping[str, str] | None = None) -> Inbound:
    """A request with this body."""
    return Inbound(CIMultiDictProxy(CIMultiDict(headers or {})), orjson.dumps(body), "/", 0)


def parse(dialect: PartnerDialect, body: object) -> ParsedEvent:
    """The event of a body."""
    said = dialect.parse(request_of(body), DIRECT_PARTNER.source())
    assert isinstance(said, Parsed)
    [event] = said.events
    return event


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    "mark",
    [
        {"delivery_id": "ret_1"},
        {"delivery_id": "RET_1"},
        {"data": {"id": "ret_1"}},
        {"data": {"related_deliveries": [{"relationship": "returned"}, {"relationship": "original"}]}},
        {"data": {"related_deliveries": {"id": "del_1", "relationship": "original"}}},
    ],
)
def test_a_return_moves_nothing(status: str, mark: dict[str, Any]) -> None:
    """However it is marked and whatever it reaches, DELIVERED above all."""
    data = {"external_id": "X-1", **mark.get("data", {})}
    body = {"kind": "event.delivery_status", "id": "evt_1", "status": status, **mark, "data": data}
    event = parse(DIRECT, body).event
    assert isinstance(event, FactEvent)
    assert event.code == f"return.{status.strip()}"


@pytest.mark.parametrize("status", DAPI_STATUSES)
@pytest.mark.parametrize("returning", [True, "true", 1, {}])
def test_a_return_of_the_older_generation_moves_nothing(status: str, returning: object) -> None:
    """Only false, null and nothing at all say that it is none."""
    meta = {"external_order_id": "X-1", "status": status, "is_returning": returning}
    event = parse(DIRECT, {"event_type": "dapi.status_changed", "event_id": "e", "meta": meta}).event
    assert isinstance(event, FactEvent)


def test_an_event_without_an_id_has_the_one_of_its_body() -> None:
    """The same body is a repeat, another body another event."""
    body: dict[str, Any] = {"kind": "event.refund_request", "external_id": "X-1", "data": {"id": "rfd_1"}}
    first = parse(DIRECT, body)
    assert first == parse(DIRECT, body)
    assert first.event_id != parse(DIRECT, {**body, "data": {"id": "rfd_2"}}).event_id


def test_the_newer_header_decides_where_both_are_there() -> None:
    """A genuine older signature beside a wrong newer one is no proof."""
    source, body = DIRECT_PARTNER.source(), {"kind": "event.delivery_status"}
    genuine = hmac_text(DIRECT_PARTNER.described["secret"], orjson.dumps(body))
    DIRECT.authenticate(request_of(body, {"X-Postmates-Signature": genuine}), source)
    DIRECT.authenticate(request_of(body, {"X-Uber-Signature": genuine, "X-Postmates-Signature": "0" * 64}), source)
    for headers in ({"X-Uber-Signature": "0" * 64, "X-Postmates-Signature": genuine}, {"X-Postmates-Signature": ""}):
        with pytest.raises(NotAuthenticated):
            DIRECT.authenticate(request_of(body, headers), source)


@pytest.mark.parametrize("time", [1427343990, "1427343990", 1427343990000])
def test_seconds_and_milliseconds_are_told_apart(time: object) -> None:
    """By magnitude."""
    body = {"event_type": "orders.notification", "event_id": "e", "event_time": time, "meta": {"resource_id": "o"}}
    assert parse(EATS, body).event.occurred_us == 1_427_343_990_000_000
