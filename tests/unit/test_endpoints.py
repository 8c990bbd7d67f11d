from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from backbone.store.secrets import hash_token
from backbone.store.sources import Source
from schemas.errors import NotAuthenticated
from schemas.statuses import Role
from service.dialects import registry
from service.dialects.endpoints import Endpoint, overlap
from service.dialects.grabfood import DIALECT as GRAB
from service.dialects.ifood import DIALECT as IFOOD
from service.dialects.order_status import DIALECT as ORDER_STATUS
from service.dialects.port import Dialect, Inbound, Parsed, ParsedEvent
from service.failures import Failure
from service.ingress.partner_paths import mount_webhooks
from tests.support.dialect_fixtures import partners

SOURCE = partners()["order-status"].source()


@pytest.mark.parametrize(
    "path", ["order", "/", "//", "/a/", "/a b", "/{a", "/{}", "/a{b}", "/é", "/a?b", "/..//x", "/%2f"]
)
def test_what_is_no_path(path: str) -> None:
    """A declaration that could not be routed is found when it is made."""
    with pytest.raises(ValueError, match="no path"):
        Endpoint("PUT", path)


def test_an_address_is_filled_in() -> None:
    """Variables are one segment each, whatever they hold; a missing one is a fault of whoever calls."""
    endpoint = Endpoint("PUT", "/order/{orderId}/status")
    assert endpoint.address({"orderId": "1/2 %é{x}"}) == "/order/1%2F2%20%25%C3%A9%7Bx%7D/status"
    assert Endpoint("POST").address({}) == ""
    with pytest.raises(KeyError):
        endpoint.address({})


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("/order/state", "/order/state", True),
        ("/order/{id}", "/order/state", True),
        ("/order/{id}/status", "/order/{orderId}/courier", False),
        ("/order/state", "/order/state/now", False),
        ("/oauth/token", "/security/oauth/token", False),
        ("/{a}/x", "/y/{b}", True),
    ],
)
def test_paths_that_one_request_fits(one: str, other: str, wanted: bool) -> None:
    """A variable fits whatever the other path has there."""
    assert overlap(one, other) is overlap(other, one) is wanted


def test_two_dialects_never_share_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose words a stranger is answered in is the path's to say, so it must say one: found at the start."""
    other: Any = SimpleNamespace(name="other", profile=replace(GRAB.profile, name="other", token=None))
    monkeypatch.setitem(registry.DIALECTS, "other", other)

    async def nobody() -> None:
        raise AssertionError("mounted, and never called")

    nothing: Any = SimpleNamespace(take=nobody, nowhere=nobody)
    with pytest.raises(RuntimeError, match=r"other and grabfood both declare /order/state"):
        mount_webhooks(web.Application(), nothing, nothing)


def _inbound(token: str, issued_to: str | None) -> Inbound:
    headers = CIMultiDictProxy(CIMultiDict({"Authorization": f"Bearer {token}"}))
    return Inbound(headers, b"{}", "/", 0, issued_to=issued_to)


def test_an_issued_token_speaks_for_its_own_source() -> None:
    """Of a dialect whose partner fetches tokens, of this source and by the bearer scheme: nowhere else."""
    ORDER_STATUS.authenticate(_inbound("a.b.c", SOURCE.uid), SOURCE)
    refused: list[tuple[Dialect, Source, str | None]] = [
        (ORDER_STATUS, SOURCE, None),
        (ORDER_STATUS, SOURCE, "another"),
        (ORDER_STATUS, replace(SOURCE, auth="header"), SOURCE.uid),
        (registry.NATIVE, SOURCE, SOURCE.uid),
        (IFOOD, replace(SOURCE, auth="signature"), SOURCE.uid),
    ]
    for dialect, source, issued_to in refused:
        with pytest.raises(NotAuthenticated):
            dialect.authenticate(_inbound("a.b.c", issued_to), source)
    static = replace(SOURCE, token_hashes=(hash_token("t" * 32),))
    ORDER_STATUS.authenticate(_inbound("t" * 32, None), static)


def test_failures_that_no_request_shows() -> None:
    """A 401 of the calls and of the token endpoint differ in shape; what is left to the house is None."""
    told = ORDER_STATUS.answer_failure(Failure(401, "unauthenticated", "x"))
    assert set(told.body) == {"reason"}
    told = ORDER_STATUS.answer_failure(Failure(401, "invalid_client", "x"))
    assert told.body == [{"code": 133, "description": "invalid_client: x"}]
    assert GRAB.answer_failure(Failure(404, "not_found", "x")) is None
    native: Dialect = registry.NATIVE
    assert native.answer_failure(Failure(404, "not_found", "x")) is None


def _event_ids(dialect: Any, body: bytes, **more: Any) -> str:
    request = Inbound(CIMultiDictProxy(CIMultiDict()), body, "/", 0, **more)
    said = dialect.parse(request, SOURCE)
    assert isinstance(said, Parsed)
    return said.events[0].event_id


def test_what_identifies_a_report() -> None:
    """Order, status and time; without a time the body. Of GrabFood order and state, of its news the words too."""
    at = {"method": "PUT", "endpoint": "/order/{orderId}/status"}

    def reported(body: bytes, order: str = "A") -> str:
        return _event_ids(ORDER_STATUS, body, variables={"orderId": order}, **at)

    one = reported(b'{"status":"DELIVERED","updatedAt":"2026-01-31T12:00:00Z"}')
    assert one == reported(b'{"status":"DELIVERED","comment":"x","updatedAt":"2026-01-31T12:00:00.000+00:00"}')
    others = {
        reported(b'{"status":"DELIVERED","updatedAt":"2026-01-31T12:00:01Z"}'),
        reported(b'{"status":"CANCELLED","updatedAt":"2026-01-31T12:00:00Z"}'),
        reported(b'{"status":"DELIVERED","updatedAt":"2026-01-31T12:00:00Z"}', "B"),
        reported(b'{"status":"DELIVERED"}'),
        reported(b'{"status":"DELIVERED","comment":"x"}'),
    }
    assert len(others | {one}) == 6
    states = [
        b'{"orderID":"A","state":"COLLECTED"}',
        b'{"orderID":"A","state":"COLLECTED","message":"x"}',
        b'{"orderID":"A","state":"DRIVER_ALLOCATED","driverETA":60}',
        b'{"orderID":"A","state":"DRIVER_ALLOCATED","driverETA":90}',
        b'{"orderID":"B","state":"COLLECTED"}',
    ]
    ids = [_event_ids(GRAB, body) for body in states]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4


def test_a_couriers_person_is_nowhere_in_the_event() -> None:
    """Neither name nor phone, and no digest of them: another person with the same words is the same fact."""
    body = b'{"courier":{"name":"%s","phone":"%s","type":"bicycle","status":"accepted"}}'
    at: dict[str, Any] = {"endpoint": "/order/{orderId}/courier", "variables": {"orderId": "A"}}
    events: list[ParsedEvent] = []
    for name, phone in ((b"Pablo", b"+1"), (b"Another", b"+2")):
        request = Inbound(CIMultiDictProxy(CIMultiDict()), body % (name, phone), "/", 0, **at)
        said = ORDER_STATUS.parse(request, replace(SOURCE, role=Role.PLATFORM))
        assert isinstance(said, Parsed)
        events += said.events
    assert events[0] == events[1]
