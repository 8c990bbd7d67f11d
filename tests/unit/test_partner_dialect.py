"""What partners' dialects share, by an example that no partner speaks."""

from __future__ import annotations

import base64
import importlib
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from backbone.store.secrets import hash_token
from schemas.errors import LogUnavailable, MalformedEvent, NotAuthenticated, NotFound
from schemas.refusals import Why
from schemas.statuses import Role
from schemas.times import TimeMark
from service.dialects import registry
from service.dialects.days import Signing
from service.dialects.ifood import DIALECT as IFOOD
from service.dialects.partner import PartnerDialect, fact, words
from service.dialects.port import Inbound, Meaning, Parsed, Position
from service.dialects.profile import Profile, refusal_of
from tests.unit.test_native_dialect import source


class _Example(PartnerDialect):
    profile = Profile(
        name="example",
        title="Example",
        roles=(Role.COURIER,),
        schemes=("bearer", "basic", "header", "signature"),
        proof="",
        token_header="X-Example",
        refusals={},
        within="",
        resends="",
        order_field="",
        event_id="",
        times="",
    )

    def parse(self, inbound: Inbound, source: Any) -> Meaning:  # noqa: ARG002 - part of the port
        return Parsed()


EXAMPLE = _Example()
CARRIED = {
    "bearer": {"Authorization": "Bearer user:password"},
    "basic": {"Authorization": "Basic " + base64.b64encode(b"user:password").decode()},
    "header": {"x-example": "user:password"},
}


@pytest.mark.parametrize("scheme", CARRIED)
def test_a_source_proves_itself_by_its_own_scheme_alone(scheme: str) -> None:
    """The same secret carried in another scheme's way is no proof."""
    auth: Any = scheme
    mine = replace(source(), auth=auth, token_hashes=(hash_token("user:password"),))
    for carried, headers in CARRIED.items():
        request = Inbound(CIMultiDictProxy(CIMultiDict(headers)), b"{}", "/", 0)
        if carried == scheme:
            EXAMPLE.authenticate(request, mine)
        else:
            with pytest.raises(NotAuthenticated):
                EXAMPLE.authenticate(request, mine)


@pytest.mark.parametrize("scheme", ["signature", "standard-webhooks"])
def test_a_scheme_that_the_dialect_does_not_have(scheme: Any) -> None:
    """Nobody is measured by another scheme, and a dialect that signs nothing verifies nothing."""
    with pytest.raises(NotAuthenticated) as refused:
        EXAMPLE.authenticate(Inbound(CIMultiDictProxy(CIMultiDict()), b"", "/", 0), replace(source(), auth=scheme))
    assert refused.value.reason is Why.UNKNOWN_SCHEME


def test_a_declared_scheme_that_nobody_can_check() -> None:
    """A header scheme without a header's name lets nobody in."""

    class Nameless(_Example):
        profile = replace(_Example.profile, token_header=None)

    mine = replace(source(), auth="header", token_hashes=(hash_token("user:password"),))
    with pytest.raises(NotAuthenticated) as refused:
        Nameless().authenticate(Inbound(CIMultiDictProxy(CIMultiDict(CARRIED["header"])), b"{}", "/", 0), mine)
    assert refused.value.reason is Why.UNKNOWN_SCHEME


def test_refusals_are_told_as_the_profile_says() -> None:
    """One that the table does not have is ours, and what is no refusal at all has no place in it."""
    assert EXAMPLE.answer_refusal(LogUnavailable("x")) is None
    assert refusal_of(NotFound("x")) is None
    assert IFOOD.answer_refusal(NotFound("x")) is None
    assert EXAMPLE.expects == "JSON, sent as application/json"
    assert EXAMPLE.takes("application/vnd.example+json")


def test_a_dialect_without_a_day_says_so() -> None:
    """Both sides of a day are the partner's own."""
    with pytest.raises(NotImplementedError):
        EXAMPLE.day("A", "s", datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(NotImplementedError):
        EXAMPLE.sign(b"", Signing(secret="", auth="bearer", url="", now_ms=0))


@pytest.mark.parametrize(
    ("code", "kept"),
    [("CAR", "CAR"), (115, "115"), (" a\tb\0c ", "a?b?c"), ("é" * 70, "?" * 64), ("", "?"), ("\ud800", "?")],
)
def test_any_word_of_a_partner_can_be_noted(code: object, kept: str) -> None:
    """Under as much of it as a code can hold."""
    assert fact(code, (5, None)).code == kept


@pytest.mark.parametrize("code", [None, True, 1.5, [], {}])
def test_what_is_no_word_is_refused(code: object) -> None:
    """It could be anything."""
    with pytest.raises(MalformedEvent):
        fact(code, (None, TimeMark.MISSING))


def test_free_words_are_cut_to_what_is_kept() -> None:
    """A long reason is no reason to lose the event."""
    assert (words(" no onions "), words("x" * 600), words(""), words(5)) == ("no onions", "x" * 500, None, None)


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [(99.99999, 0), (0, 1234.5), (float("nan"), 0), (0, float("inf")), ("1", 0), (0, None), (True, 0), (0, False)],
)
def test_no_place_on_earth_is_no_position(latitude: object, longitude: object) -> None:
    """Masked and missing coordinates are passed over."""
    assert Position.at("A", latitude, longitude) is None
    assert Position.at("A", 90, -180) == Position("A", 90.0, -180.0)
    with pytest.raises(MalformedEvent):
        Position.at(" ", 1, 1)


def test_two_dialects_of_one_name_are_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one a source spoke would depend on the order of files."""
    twin = SimpleNamespace(DIALECT=SimpleNamespace(name="native"))
    real = importlib.import_module

    def load(name: str) -> Any:
        return twin if name.endswith(".ifood") else real(name)

    monkeypatch.setattr(importlib, "import_module", load)
    with pytest.raises(RuntimeError, match="native"):
        registry._find()
