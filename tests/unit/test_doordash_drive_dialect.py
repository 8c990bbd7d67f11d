"""DoorDash Drive: what its fixtures do not show."""

from __future__ import annotations

import base64
from dataclasses import replace

import orjson
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from backbone.store.definitions import make_credential
from schemas.errors import NotAuthenticated
from service.dialects.days import Signing
from service.dialects.doordash_drive import DIALECT
from service.dialects.port import Inbound, Parsed, ParsedEvent
from tests.support.dialect_fixtures import partners

SOURCE = partners()["doordash-drive"].source()
PICKED_UP = {
    "event_name": "DASHER_PICKED_UP",
    "external_delivery_id": "A-17",
    "created_at": "2022-02-01T23:18:22.791883Z",
    "dasher_id": 123212,
}


def parse(**changes: object) -> ParsedEvent:
    """The event of a body."""
    raw = orjson.dumps({name: value for name, value in (PICKED_UP | changes).items() if value is not None})
    said = DIALECT.parse(Inbound(CIMultiDictProxy(CIMultiDict()), raw, "/", 0), SOURCE)
    assert isinstance(said, Parsed)
    [event] = said.events
    return event


@pytest.mark.parametrize(
    ("delivery", "order_id"),
    [
        ("A-17", "A-17"),
        ("A-17--2", "A-17"),
        ("A-17--10", "A-17"),
        ("A-17-2", "A-17-2"),
        ("A-17--", "A-17--"),
        ("A-17--x2", "A-17--x2"),
        ("A-17--12345", "A-17--12345"),
        ("--2", "--2"),
        ("A--1--2", "A--1"),
    ],
)
def test_the_number_of_a_dispatch_is_taken_off(delivery: str, order_id: str) -> None:
    """Two hyphens and up to four digits at the end, and nothing else."""
    assert parse(external_delivery_id=delivery).order_id == order_id


def test_what_happens_twice_is_two_events_and_a_repeat_is_one() -> None:
    """Another time, another Dasher, another dispatch: each tells events apart, also where the time never changes."""
    found = [
        parse(),
        parse(created_at="2022-02-01T23:18:22.791884Z"),
        parse(dasher_id=5),
        parse(dasher_id=None),
        parse(external_delivery_id="A-17--2"),
        parse(event_name="DASHER_CONFIRMED"),
        parse(created_at=None),
        parse(created_at=None, fee=1),
    ]
    assert len({event.event_id for event in found}) == len(found)
    assert parse() == parse(tip=230, event_name="dasher_picked_up") == found[0]


def test_user_and_password() -> None:
    """The other scheme of the portal: right, wrong, and as a bearer token."""
    secret = "doordash:drive-password-0123456789"
    held = make_credential("basic", secret).token_hash
    assert held is not None
    source = replace(SOURCE, auth="basic", token_hashes=(held,))
    signing = Signing(secret=secret, auth="basic", url="", now_ms=0)
    outgoing = DIALECT.sign(b"{}", signing)
    DIALECT.authenticate(Inbound(CIMultiDictProxy(CIMultiDict(outgoing.headers)), b"{}", "/", 0), source)
    wrong = base64.b64encode(b"doordash:drive-password-0123456780").decode()
    for value in (f"Basic {wrong}", f"Bearer {secret}"):
        with pytest.raises(NotAuthenticated):
            DIALECT.authenticate(
                Inbound(CIMultiDictProxy(CIMultiDict({"Authorization": value})), b"{}", "/", 0), source
            )
