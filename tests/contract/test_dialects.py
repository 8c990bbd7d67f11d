"""What `service.dialects.port` promises of every dialect, whatever a stranger or a partner sends."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, get_type_hints

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
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
from schemas.events import FactEvent, OrderPlaced, StatusEvent
from schemas.identifiers import normalise_id
from schemas.refusals import Why
from schemas.statuses import OrderStatus, Policy, Role
from schemas.times import rfc3339_micros
from service.dialects.days import Signing
from service.dialects.endpoints import POSTED, Endpoint
from service.dialects.partner import PartnerDialect
from service.dialects.port import Answer, AnswerOnly, Dialect, Inbound, Meaning, Parsed, ParsedEvent, Taken
from service.dialects.profile import Refusal
from service.dialects.registry import DIALECTS, NATIVE
from service.failures import failure_of
from tests.support.courierese import Courierese
from tests.support.dialect_fixtures import Case, Partner, cases, partners
from tests.support.hostile import HOSTILE, spoiled
from tests.support.signing import Posting

EVERY = [*DIALECTS.values(), Courierese()]
UNSIGNED = [NATIVE, Courierese()]
PARTNERED = [dialect for dialect in DIALECTS.values() if isinstance(dialect, PartnerDialect)]
PARTNERS = partners()
CASES = cases()
GENUINE = [case for case in CASES if case.given["expects"].get("refused") != 401]
REFUSED = {
    Refusal.MALFORMED: MalformedEvent("x"),
    Refusal.UNAUTHENTICATED: NotAuthenticated(Why.BAD_TOKEN),
    Refusal.UNSUITABLE: BodyTooLarge("x"),
    Refusal.RATE_LIMITED: RateLimited(1),
    Refusal.OUTAGE: LogUnavailable("x"),
}
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


def inbound(
    headers: list[tuple[str, str]],
    raw: bytes,
    endpoint: Endpoint = POSTED,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Inbound:
    """A request with these headers and this body."""
    return Inbound(
        CIMultiDictProxy(CIMultiDict(headers)),
        raw,
        "/v1/webhooks/s1?a=%ff",
        1_700_000_000_000,
        method=endpoint.method,
        endpoint=endpoint.path,
        variables=variables,
    )


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


def check_meaning(said: Meaning) -> None:
    """What a dialect gave can be answered, logged or kept."""
    if isinstance(said, AnswerOnly):
        assert said.answer.status < 300
        return
    assert said.events or said.positions or isinstance(said.events, tuple)
    for event in said.events:
        assert (normalise_id(event.order_id), normalise_id(event.event_id)) == (event.order_id, event.event_id)
        assert event.event.model_dump_json()
    for position in said.positions:
        assert abs(position.latitude) <= 90
        assert abs(position.longitude) <= 180


def parse(dialect: Dialect, request: Inbound, source: Source) -> Meaning | None:
    """What a request says; None where it is refused, which only the two legal errors may do."""
    try:
        dialect.authenticate(request, source)
        said = dialect.parse(request, source)
    except (NotAuthenticated, MalformedEvent, ValidationError):
        return None
    check_meaning(said)
    return said


@pytest.mark.parametrize("dialect", UNSIGNED, ids=lambda dialect: dialect.name)
@given(headers=HEADERS, raw=BODIES)
def test_a_body_is_events_or_malformed_and_nothing_else(
    dialect: Dialect, headers: list[tuple[str, str]], raw: bytes
) -> None:
    """Events with ids that are ids, or MalformedEvent; pydantic's own finding about an event counts as one."""
    try:
        said = dialect.parse(inbound(headers, raw), SOURCE)
    except (MalformedEvent, ValidationError):
        return
    check_meaning(said)


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
        told = dialect.answer_failure(failure_of(refusal))
        assert told is None or told.status == failure_of(refusal).status
    assert dialect.answer([Taken("A", "e", "r")], "/v1/receipts/r").status < 300
    assert dialect.expects
    assert not dialect.takes("")


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=lambda dialect: dialect.name)
def test_a_profile_is_complete(dialect: Dialect) -> None:
    """`source add` and the tables of the guide find all they need."""
    profile = dialect.profile
    assert profile.name == dialect.name
    assert set(profile.refusals) == set(Refusal)
    assert all(told.causes and (told.status is None or 400 <= told.status < 600) for told in profile.refusals.values())
    assert profile.roles
    assert profile.schemes
    assert set(profile.schemes) <= set(AUTH_SCHEMES)
    assert Role.OPERATOR not in profile.roles
    assert profile.endpoints
    assert profile.token is None or ("bearer" in profile.schemes and profile.token.scopes)
    assert ("header" in profile.schemes) == (profile.token_header is not None)
    assert dialect is NATIVE or profile.facts
    assert all(fact.startswith(("[O] ", "[I] ", "[D] ")) for fact in profile.facts)
    told = {refusal: (dialect.answer_refusal(error), error) for refusal, error in REFUSED.items()}
    for refusal, (answer, error) in told.items():
        wanted = profile.refusals[refusal].status
        assert (None if answer is None else answer.status) == wanted, error
    outage = told[Refusal.OUTAGE][0]
    assert outage is None or outage.status >= 500, "an outage is an unknown outcome: only sending again helps"


def test_reasons_are_typed_where_they_are_made() -> None:
    """A reason outside the closed set is found by the type checker, before a partner gets a 500 for it."""
    assert get_type_hints(NotAuthenticated.__init__)["reason"] is Why


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fixture_means_what_it_says(case: Case) -> None:
    """A genuine request is authenticated and has the meaning that its fixture gives it."""
    dialect, source, request = DIALECTS[case.partner.dialect], case.partner.source(**case.changes), request_of(case)
    expected = case.given["expects"]
    if "refused" in expected:
        kind = NotAuthenticated if expected["refused"] == 401 else (MalformedEvent, ValidationError)
        with pytest.raises(kind):
            _take(dialect, request, source)
        return
    dialect.authenticate(request, source)
    said = dialect.parse(request, source)
    if expected.get("answer_only"):
        assert isinstance(said, AnswerOnly)
        return
    assert isinstance(said, Parsed)
    found = [_described(event) for event in said.events]
    wanted = expected["events"]
    assert len(found) == len(wanted), found
    for one, other in zip(found, wanted, strict=True):
        assert {name: one[name] for name in other} == other
    positions = [{"order_id": at.order_id, "latitude": at.latitude, "longitude": at.longitude} for at in said.positions]
    assert positions == expected.get("positions", [])
    again = dialect.parse(request, source)
    assert isinstance(again, Parsed)
    if not any(event.event_id.startswith("random-") for event in said.events):
        assert again == said, "a partner's repeat must be the same events, ids too"


@pytest.mark.parametrize("dialect", PARTNERED, ids=lambda dialect: dialect.name)
def test_every_word_for_a_status_has_a_fixture(dialect: PartnerDialect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each word of the maps, made to mean another status, and some fixture notices."""
    module = sys.modules[type(dialect).__module__]
    mine = [case for case in CASES if case.partner.dialect == dialect.name and not _is_noticed(case)]
    maps = {name: held for name, held in vars(module).items() if _is_status_map(held)}
    assert maps
    unnoticed = []
    for name, held in maps.items():
        for word, status in held.items():
            other = OrderStatus.READY if status is OrderStatus.COOKING else OrderStatus.COOKING
            monkeypatch.setattr(module, name, MappingProxyType({**held, word: other}))
            if not any(_is_noticed(case) for case in mine):
                unnoticed.append((name, word))
            monkeypatch.setattr(module, name, held)
    assert not unnoticed


def _is_status_map(held: object) -> bool:
    return isinstance(held, Mapping) and any(isinstance(one, OrderStatus) for one in held.values())


def _is_noticed(case: Case) -> bool:
    try:
        test_a_fixture_means_what_it_says(case)
    except (AssertionError, MalformedEvent, ValidationError, pytest.fail.Exception):
        return True
    return False


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_zone_is_not_looked_at_where_a_profile_says_so(case: Case) -> None:
    """`source add` remarks on a --zone that means nothing; it is right about that."""
    dialect, request = DIALECTS[case.partner.dialect], request_of(case)
    if dialect.profile.reads_zone or "refused" in case.given["expects"]:
        return
    changes = {name: text for name, text in case.changes.items() if name != "zone"}
    plain, elsewhere = (case.partner.source(**changes, zone=zone) for zone in (None, "Asia/Tokyo"))
    assert dialect.parse(request, plain) == dialect.parse(request, elsewhere)


@pytest.mark.parametrize("case", GENUINE, ids=lambda case: case.name)
def test_a_flipped_byte_is_no_proof(case: Case) -> None:
    """Any bit of a body that is signed, any bit of a proof in a header: refused, and told apart for the operator."""
    dialect, source, posting = DIALECTS[case.partner.dialect], case.partner.source(**case.changes), case.posting()
    if case.signs_body:
        for place in {0, len(posting.raw) // 2, len(posting.raw) - 1}:
            flipped = bytearray(posting.raw)
            flipped[place] ^= 1
            refuse(dialect, source, bytes(flipped), posting.headers)
    elif not posting.headers:  # the token is in the body
        place = posting.raw.rindex(b'"') - 8
        flipped = bytearray(posting.raw)
        flipped[place] = ord("A") if flipped[place] != ord("A") else ord("B")
        refuse(dialect, source, bytes(flipped), {})
    for name, value in proofs(case, posting).items():
        changed = value[:-3] + ("0" if value[-3] != "0" else "1") + value[-2:]
        refuse(dialect, source, posting.raw, {**posting.headers, name: changed})
        refuse(dialect, source, posting.raw, {key: held for key, held in posting.headers.items() if key != name})
        twice = [*posting.headers.items(), (name, value)]
        with pytest.raises(NotAuthenticated):
            dialect.authenticate(inbound(twice, posting.raw), source)
    other = case.partner.source(**{**case.changes, "secret": "another-secret:of-the-same-length"})
    refuse(dialect, other, posting.raw, posting.headers)


@pytest.mark.parametrize("case", [case for case in GENUINE if case.signs_body], ids=lambda case: case.name)
def test_the_raw_bytes_are_what_is_signed(case: Case) -> None:
    """The same JSON with other spacing is another body."""
    posting = case.posting()
    respaced = orjson.dumps(orjson.loads(posting.raw), option=orjson.OPT_INDENT_2)
    assert respaced != posting.raw
    dialect, source = DIALECTS[case.partner.dialect], case.partner.source(**case.changes)
    refuse(dialect, source, respaced, posting.headers)


@pytest.mark.parametrize("case", GENUINE, ids=lambda case: case.name)
def test_several_live_secrets_and_sealed_ones(case: Case) -> None:
    """An old secret works while it lives; a source without an open one authenticates nobody."""
    dialect, source, posting = DIALECTS[case.partner.dialect], case.partner.source(**case.changes), case.posting()
    request = inbound(list(posting.headers.items()), posting.raw)
    two = replace(
        source, secrets=(b"newer-secret-0123456789", *source.secrets), token_hashes=("0" * 64, *source.token_hashes)
    )
    dialect.authenticate(request, two)
    with pytest.raises(NotAuthenticated):
        dialect.authenticate(request, replace(source, secrets=(), token_hashes=()))
    later: Any = "of-a-later-release"
    with pytest.raises(NotAuthenticated) as refused:
        dialect.authenticate(request, replace(source, auth=later))
    assert refused.value.reason is Why.UNKNOWN_SCHEME


@pytest.mark.parametrize("partner", PARTNERS.values(), ids=lambda partner: partner.dialect)
@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_genuinely_signed_nonsense_is_refused_or_noted(partner: Partner, data: st.DataObject) -> None:
    """Bodies that were truncated, wrongly typed or hostile, properly signed: events that can be kept, or a reason."""
    mine = [case for case in CASES if case.partner.dialect == partner.dialect]
    case = data.draw(st.sampled_from(mine))
    posting = partner.sign(data.draw(spoiled(case)))
    variables = {name: data.draw(st.just(text) | st.text(max_size=140)) for name, text in case.variables.items()}
    request = inbound(list(posting.headers.items()), posting.raw, case.endpoint, variables)
    parse(DIALECTS[partner.dialect], request, partner.source())


@pytest.mark.parametrize("partner", PARTNERS.values(), ids=lambda partner: partner.dialect)
@pytest.mark.parametrize("raw", HOSTILE, ids=lambda raw: raw[:20].decode("latin-1").encode("unicode_escape").decode())
def test_hostile_bodies_properly_signed(partner: Partner, raw: bytes) -> None:
    """What breaks parsers breaks no dialect, also where the partner signed it."""
    posting = partner.sign(raw)
    for endpoint in DIALECTS[partner.dialect].profile.endpoints:
        request = inbound(list(posting.headers.items()), posting.raw, endpoint, {"orderId": "A-17"})
        parse(DIALECTS[partner.dialect], request, partner.source())
    unsigned = inbound([], raw)
    with pytest.raises(NotAuthenticated):
        DIALECTS[partner.dialect].authenticate(unsigned, partner.source())


@pytest.mark.parametrize("dialect", PARTNERED, ids=lambda dialect: dialect.name)
def test_a_day_is_signed_and_means_something(dialect: PartnerDialect) -> None:
    """Every message of the day that `mealtrail send` plays verifies and is understood; played again it is the same."""
    assert dialect.name in PARTNERS, "a dialect has fixtures: tests/fixtures/dialects/NAME/source.json"
    described = PARTNERS[dialect.name].described
    source = PARTNERS[dialect.name].source()
    day = dialect.day("A-17", "R17", datetime(2026, 1, 31, 18, tzinfo=UTC))
    assert day == dialect.day("A-17", "R17", datetime(2026, 1, 31, 18, tzinfo=UTC))
    events: list[ParsedEvent] = []
    for message in day:
        signing = Signing(
            secret=described["secret"],
            auth=source.auth,
            url=source.url or "",
            now_ms=1_700_000_000_000,
            token_header=dialect.profile.token_header,
        )
        outgoing = dialect.sign(message.raw(), signing)
        assert message.endpoint in dialect.profile.endpoints
        headers = {**message.headers, **outgoing.headers}
        request = inbound(list(headers.items()), outgoing.body, message.endpoint, message.variables)
        said = parse(dialect, request, source)
        assert said is not None, message.says
        events += said.events if isinstance(said, Parsed) else ()
    assert {event.order_id for event in events} == {"A-17"}
    assert len({event.event_id for event in events}) < len(events), "a day shows the partner's repeats"


def _take(dialect: Dialect, request: Inbound, source: Source) -> None:
    dialect.authenticate(request, source)
    dialect.parse(request, source)


def refuse(dialect: Dialect, source: Source, raw: bytes, headers: Mapping[str, str]) -> None:
    """The request is not authenticated."""
    with pytest.raises(NotAuthenticated):
        dialect.authenticate(inbound(list(headers.items()), raw), source)


def request_of(case: Case) -> Inbound:
    """The fixture's request."""
    posting = case.posting()
    return inbound(list(posting.headers.items()), posting.raw, case.endpoint, case.variables)


def proofs(case: Case, posting: Posting) -> dict[str, str]:
    """The headers that prove the sender."""
    if case.given.get("signed"):
        return dict(posting.headers)
    rules = case.partner.described["signing"].get("headers", {})
    marks = ("{signature}", "{secret}", "{secret_base64}")
    return {name: posting.headers[name] for name, text in rules.items() if any(mark in text for mark in marks)}


def _described(event: ParsedEvent) -> dict[str, Any]:
    held = event.event
    return {
        "order_id": event.order_id,
        "event_id": event.event_id,
        "store": event.store,
        "status": held.status.value if isinstance(held, StatusEvent) else None,
        "fact": held.code if isinstance(held, FactEvent) else None,
        "announces": isinstance(held, OrderPlaced),
        "reason": held.reason if isinstance(held, StatusEvent) else None,
        "comment": held.comment,
        "occurred_at": None if held.occurred_us is None else rfc3339_micros(held.occurred_us),
        "mark": None if held.occurred_mark is None else held.occurred_mark.value,
    }
