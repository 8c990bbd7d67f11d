"""What `service.dialects.port` promises of every dialect, whatever a stranger or a partner sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_type_hints

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from pydantic import ValidationError

from backbone.store.definitions import AUTH_SCHEMES, Auth
from backbone.store.secrets import hash_token
from backbone.store.sources import Source
from schemas.errors import (
    BodyTooLarge,
    LogUnavailable,
    MalformedEvent,
    NotAuthenticated,
    RateLimited,
    UnsupportedContentType,
)
from schemas.identifiers import normalise_id
from schemas.refusals import Why
from schemas.statuses import Policy, Role
from service.dialects.port import Answer, Dialect, Inbound, Taken
from service.dialects.registry import DIALECTS, NATIVE
from tests.support.courierese import Courierese

EVERY = [*DIALECTS.values(), Courierese()]
SOURCE = Source(
    workspace="default",
    uid="u1",
    name="s1",
    dialect="native",
    role=Role.PLATFORM,
    parties=None,
    policy=Policy.FORWARD,
    hold_ms=5,
    skew_ms=6,
    rate=1000,
    auth="bearer",
    url=None,
    receipt_key=b"r" * 32,
    secrets=(b"s" * 32,),
    token_hashes=(hash_token("t" * 32),),
    created_at=0,
    disabled_at=None,
)
# Header values arrive with bytes that are no UTF-8 as lone surrogates.
VALUES = st.text(st.characters(exclude_characters="\r\n\0"), max_size=60) | st.sampled_from(
    ["Bearer", "Bearer x", "v1,", "v1,AAAA v2,x", "1700000000", "99999999999999", "\udcff", "msg_1"]
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["Authorization", "webhook-id", "webhook-timestamp", "webhook-signature", "X-Other"]), VALUES
    ),
    max_size=6,
)
NAMES = st.sampled_from(["order_id", "status", "comment", "reason", "attributes", "occurred_at", "event_id", "id", "x"])
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["READY", "CANCELLED", "\0", "  A  ", "x" * 600, "2025-01-31T12:00:00Z"])
)  # fmt: skip
DOCUMENTS = st.recursive(
    LEAVES, lambda below: st.lists(below, max_size=4) | st.dictionaries(NAMES, below, max_size=6), max_leaves=12
).map(lambda value: orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str) if _fits(value) else b"1e999")
BODIES = st.binary(max_size=200) | DOCUMENTS


def _fits(value: object) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def inbound(headers: list[tuple[str, str]], raw: bytes) -> Inbound:
    """A request with these headers and this body."""
    return Inbound(CIMultiDictProxy(CIMultiDict(headers)), raw, "/v1/webhooks/s1?a=%ff", 1_700_000_000_000)


@pytest.mark.parametrize("scheme", [*AUTH_SCHEMES, "of-a-later-release"])
@pytest.mark.parametrize("dialect", EVERY, ids=lambda dialect: dialect.name)
@given(headers=HEADERS, raw=BODIES)
def test_a_stranger_is_not_authenticated_and_nothing_else(
    dialect: Dialect, scheme: Auth, headers: list[tuple[str, str]], raw: bytes
) -> None:
    """Whatever is sent and however the source proves itself: NotAuthenticated, with a reason of the closed set."""
    with pytest.raises(NotAuthenticated) as refused:
        dialect.authenticate(inbound(headers, raw), replace(SOURCE, auth=scheme))
    assert refused.value.reason in Why
    assert isinstance(refused.value.reason, Why)


def test_a_scheme_of_a_later_release_is_no_other_scheme() -> None:
    """A source that proves itself in a way nobody here knows is not measured by another way, and the operator sees."""
    later: Any = "of-a-later-release"
    with pytest.raises(NotAuthenticated) as refused:
        NATIVE.authenticate(inbound([("Authorization", "Bearer " + "t" * 32)], b"{}"), replace(SOURCE, auth=later))
    assert refused.value.reason is Why.UNKNOWN_SCHEME


@pytest.mark.parametrize("dialect", EVERY, ids=lambda dialect: dialect.name)
@given(headers=HEADERS, raw=BODIES)
def test_a_body_is_events_or_malformed_and_nothing_else(
    dialect: Dialect, headers: list[tuple[str, str]], raw: bytes
) -> None:
    """Events with ids that are ids, or MalformedEvent; pydantic's own finding about an event counts as one."""
    try:
        events = dialect.parse(inbound(headers, raw), SOURCE)
    except (MalformedEvent, ValidationError):
        return
    for event in events:
        assert (normalise_id(event.order_id), normalise_id(event.event_id)) == (event.order_id, event.event_id)


@pytest.mark.parametrize("dialect", EVERY, ids=lambda dialect: dialect.name)
def test_every_refusal_has_an_answer_or_is_left_to_the_house(dialect: Dialect) -> None:
    """No refusal or outage makes a dialect raise, and it says in words what it takes."""
    refusals = (
        NotAuthenticated(Why.BAD_TOKEN),
        BodyTooLarge("x"),
        RateLimited(1),
        UnsupportedContentType("x"),
        MalformedEvent("x"),
        LogUnavailable("x"),
    )
    for refusal in refusals:
        assert isinstance(dialect.answer_refusal(refusal), Answer | None)
    assert dialect.answer([Taken("A", "e", "r")], "/v1/receipts/r").status < 300
    assert dialect.expects
    assert not dialect.takes("")


def test_reasons_are_typed_where_they_are_made() -> None:
    """A reason outside the closed set is found by the type checker, before a partner gets a 500 for it."""
    assert get_type_hints(NotAuthenticated.__init__)["reason"] is Why
