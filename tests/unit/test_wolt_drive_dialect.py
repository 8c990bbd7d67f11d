"""Wolt Drive: which of its messages are the same one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from service.dialects.days import hs256_token
from service.dialects.port import Inbound, Parsed, ParsedEvent
from service.dialects.wolt_drive import DIALECT
from tests.support.dialect_fixtures import partners

PARTNER = partners()["wolt-drive"]
SOURCE = PARTNER.source()
AT = "2026-05-26T15:00:00.000Z"
DETAILS = {"wolt_order_reference_id": "w", "merchant_order_reference_id": "A-17", "pickup": {"eta": AT}}
TYPES = pytest.mark.parametrize("kind", ["order.picked_up", "order.pickup_arrival", "order.pickup_eta_updated"])


def event(claims: dict[str, Any]) -> ParsedEvent:
    """The one event of these claims."""
    token = hs256_token(str(PARTNER.described["secret"]), orjson.dumps(claims))
    request = Inbound(CIMultiDictProxy(CIMultiDict()), orjson.dumps({"token": token}), "/", 0)
    said = DIALECT.parse(request, SOURCE)
    assert isinstance(said, Parsed)
    [one] = said.events
    return one


@TYPES
def test_a_resend_in_another_token_is_the_same_event(kind: str) -> None:
    """Neither the token's own claims nor the order of the fields make another one."""
    claims = {"type": kind, "dispatched_at": AT, "details": DETAILS}
    turned = {"iat": 7, "details": dict(reversed(DETAILS.items())), "exp": 9, "dispatched_at": AT, "type": kind}
    assert event(claims) == event(turned)


@TYPES
def test_another_time_is_another_event(kind: str) -> None:
    """An id that came before with another time would be rejected as reused; told twice it moves nothing."""
    claims = {"type": kind, "dispatched_at": AT, "details": DETAILS}
    assert event(claims).event_id != event({**claims, "dispatched_at": "2026-05-26T15:00:25.000Z"}).event_id


def test_another_eta_is_another_event() -> None:
    """Also in the same moment, with a time that cannot be read, and of a delivery without an id."""
    for at in (AT, "today"):
        for reference in ("w", ""):
            details = {**DETAILS, "wolt_order_reference_id": reference}
            claims = {"type": "order.pickup_eta_updated", "dispatched_at": at, "details": details}
            later = {**claims, "details": {**details, "pickup": {"eta": "2026-05-26T15:10:00Z"}}}
            assert event(claims).event_id != event(later).event_id
