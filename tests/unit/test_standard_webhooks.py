from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from standardwebhooks.webhooks import Webhook

from schemas.errors import NotAuthenticated
from service.dialects.standard_webhooks import TOLERANCE_S, verify_signature
from service.ingress.refusals import Why

NOW_S = 1_700_000_000
KEY = b"k" * 32
OTHER = b"o" * 32
BODY = '{"order_id":"A","status":"READY"}'


def official(key: bytes = KEY, *, at: int = NOW_S, body: str = BODY, event_id: str = "msg_1") -> dict[str, str]:
    """Headers by the official library."""
    moment = datetime.fromtimestamp(at, tz=UTC)
    secret = "whsec_" + base64.b64encode(key).decode()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at),
        "webhook-signature": Webhook(secret).sign(event_id, moment, body),
    }


def check(headers: dict[str, str] | CIMultiDict[str], *secrets: bytes, raw: bytes = BODY.encode()) -> str:
    """`ok`, or the reason of the refusal."""
    try:
        verify_signature(CIMultiDictProxy(CIMultiDict(headers)), raw, secrets or (KEY,), now_ms=NOW_S * 1000)
    except NotAuthenticated as refused:
        return refused.reason
    return "ok"


def test_official_signature_is_accepted() -> None:
    """What the official library signs passes, by any of several live secrets, among several signatures."""
    assert check(official()) == "ok"
    assert check(official(), OTHER, KEY) == "ok"
    headers = official()
    other = official(OTHER)["webhook-signature"]
    headers["webhook-signature"] = f"v1a,abc v2,def {other} {headers['webhook-signature']}"
    assert check(headers) == "ok"


def test_text_beyond_ascii_is_signed_as_its_bytes() -> None:
    """An id and a body outside ASCII are covered as they travelled."""
    body = '{"comment":"żurek"}'
    assert check(official(body=body, event_id="zamówienie"), raw=body.encode()) == "ok"
    raw_id = b"\xff\xfe"
    message = raw_id + f".{NOW_S}.".encode() + BODY.encode()
    signature = base64.b64encode(hmac.digest(KEY, message, hashlib.sha256)).decode()
    headers = {
        "webhook-id": raw_id.decode("utf-8", "surrogateescape"),
        "webhook-timestamp": str(NOW_S),
        "webhook-signature": f"v1,{signature}",
    }
    assert check(headers) == "ok"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"webhook-signature": "v1," + base64.b64encode(bytes(32)).decode()}, Why.BAD_SIGNATURE),
        ({"webhook-signature": official()["webhook-signature"].replace("v1,", "v2,")}, Why.BAD_SIGNATURE),
        ({"webhook-signature": official()["webhook-signature"].replace("v1,", "V1,")}, Why.BAD_SIGNATURE),
        ({"webhook-signature": "v1"}, Why.BAD_SIGNATURE),
        ({"webhook-signature": "v1,ł"}, Why.BAD_SIGNATURE),
        ({"webhook-id": "msg_2"}, Why.BAD_SIGNATURE),
        ({"webhook-timestamp": str(NOW_S + 1)}, Why.BAD_SIGNATURE),
        ({"webhook-timestamp": f"{NOW_S}.0"}, Why.MALFORMED_SIGNATURE),
        ({"webhook-timestamp": "\u0661\u0667"}, Why.MALFORMED_SIGNATURE),
        ({"webhook-timestamp": "9" * 400}, Why.MALFORMED_SIGNATURE),
        ({"webhook-timestamp": "-5"}, Why.MALFORMED_SIGNATURE),
        ({"webhook-id": ""}, Why.MISSING_SIGNATURE),
        (official(OTHER), Why.BAD_SIGNATURE),
        (official(at=NOW_S - TOLERANCE_S - 1), Why.OLD_TIMESTAMP),
        (official(at=NOW_S + TOLERANCE_S + 1), Why.OLD_TIMESTAMP),
        (official(at=NOW_S - TOLERANCE_S), "ok"),
    ],
)
def test_every_way_to_fail_has_its_reason(changed: dict[str, str], reason: str) -> None:
    """Wrong key, other version, edited header, old or future time: refused with the true reason."""
    assert check({**official(), **changed}) == reason


def test_one_flipped_bit_of_the_body_fails() -> None:
    """Every single byte of the body counts."""
    for index in range(len(BODY)):
        raw = bytearray(BODY.encode())
        raw[index] ^= 1
        assert check(official(), raw=bytes(raw)) == Why.BAD_SIGNATURE


def test_header_sent_twice_is_refused() -> None:
    """Two signatures headers could be read in two ways, so they are not read at all."""
    for name in official():
        headers = CIMultiDict(official())
        headers.add(name, "x")
        assert check(headers) == Why.MALFORMED_SIGNATURE


RAW_TEXT = st.binary(max_size=80).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
HEADER_TEXT = st.one_of(st.text(max_size=80), RAW_TEXT)


@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "Webhook-Signature"]),
            st.one_of(HEADER_TEXT, st.sampled_from(["v1,", "v1,AAAA", f"{NOW_S}", "v1,," + "A" * 43 + "="])),
        ),
        max_size=6,
    ),
    raw=st.binary(max_size=60),
)
def test_no_headers_whatever_break_the_check(headers: list[tuple[str, str]], raw: bytes) -> None:
    """Arbitrary headers are refused with a known reason; nothing but NotAuthenticated is ever raised."""
    assert check(CIMultiDict(headers), raw=raw) in set(Why)
