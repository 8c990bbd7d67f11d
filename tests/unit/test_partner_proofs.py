"""Partners' proofs, each building block by itself: what is no proof, and the reason that the operator sees."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from backbone.store.secrets import hash_token
from schemas.errors import NotAuthenticated
from schemas.refusals import Why
from service.dialects.days import Signing, token_headers
from service.dialects.header_tokens import header_bytes, verify_basic, verify_header_token
from service.dialects.hmac_signatures import read_signature, verify_hmac_header
from service.dialects.json_tokens import read_hs256
from tests.support.signing import jwt

SECRET = b"partner-secret"
# RFC 7515, A.1
RFC_KEY = base64.urlsafe_b64decode(
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow=="
)
RFC_TOKEN = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
PEM = b"-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"


def held(*headers: tuple[str, str]) -> CIMultiDictProxy[str]:
    """Headers of a request."""
    return CIMultiDictProxy(CIMultiDict(headers))


def reason(call: Any, *arguments: Any, **named: Any) -> Why:
    """Why it is refused."""
    with pytest.raises(NotAuthenticated) as refused:
        call(*arguments, **named)
    return refused.value.reason


def test_hex_and_base64_over_one_of_several_messages() -> None:
    """Either case of hex; every live secret and every legal form of what is signed is tried."""
    digest = hmac.digest(SECRET, b"legacy", hashlib.sha256)
    for text, encoding in (
        (digest.hex(), "hex"),
        (digest.hex().upper(), "hex"),
        (base64.b64encode(digest).decode(), "base64"),
    ):
        verify_hmac_header(held(("S", text)), "s", (b"new", b"legacy"), (b"other", SECRET), encoding=encoding)  # type: ignore[arg-type]
        assert (
            reason(verify_hmac_header, held(("S", text)), "s", (b"new",), (SECRET,), encoding=encoding)
            is Why.BAD_SIGNATURE
        )
        assert (
            reason(verify_hmac_header, held(("S", text)), "s", (b"legacy",), (), encoding=encoding) is Why.BAD_SIGNATURE
        )


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ((), Why.MISSING_SIGNATURE),
        ((("S", ""),), Why.MISSING_SIGNATURE),
        ((("S", "00"), ("s", "00")), Why.MALFORMED_SIGNATURE),
        ((("S", "0" * 63),), Why.MALFORMED_SIGNATURE),
        ((("S", "\u0660" * 64),), Why.MALFORMED_SIGNATURE),
        ((("S", "\udcff" * 64),), Why.MALFORMED_SIGNATURE),
        ((("S", "0" * 64),), Why.BAD_SIGNATURE),
    ],
)
def test_what_is_no_signature(headers: tuple[tuple[str, str], ...], why: Why) -> None:
    """Missing, twice, too short, other alphabets: each with its reason."""
    assert reason(verify_hmac_header, held(*headers), "S", (b"x",), (SECRET,)) is why


def test_a_genuine_signature_twice_is_none() -> None:
    """Nobody could say which one was meant."""
    text = hmac.digest(SECRET, b"x", hashlib.sha256).hex()
    twice = held(("S", text), ("s", text))
    assert reason(verify_hmac_header, twice, "S", (b"x",), (SECRET,)) is Why.MALFORMED_SIGNATURE


@pytest.mark.parametrize("text", ["é", "!!!", "AAAA", "A" * 43, "\udcff"])
def test_what_is_no_base64_signature(text: str) -> None:
    """Strict base64 of exactly a digest."""
    assert reason(read_signature, text, "base64") is Why.MALFORMED_SIGNATURE


def test_header_values_are_the_bytes_they_were() -> None:
    """What is part of a signed message is not changed by having been decoded."""
    assert header_bytes("a\udcffé") == b"a\xff\xc3\xa9"


def test_a_token_in_a_header_of_its_own() -> None:
    """Once, as it stands."""
    live = (hash_token("other"), hash_token("tok3n"))
    verify_header_token(held(("Token", " tok3n ")), "token", live)
    for headers in (
        (),
        (("token", ""),),
        (("token", "tok3n"), ("token", "tok3n")),
        (("token", "é"),),
        (("token", "x" * 600),),
    ):
        assert reason(verify_header_token, held(*headers), "token", live) is Why.MISSING_TOKEN
    assert reason(verify_header_token, held(("token", "tok3m")), "token", live) is Why.BAD_TOKEN
    assert reason(verify_header_token, held(("token", "tok3n")), "token", ()) is Why.BAD_TOKEN


def test_user_and_password() -> None:
    """RFC 7617, once."""
    live = (hash_token("user:päss"),)
    good = "Basic " + base64.b64encode("user:päss".encode()).decode()
    verify_basic(held(("Authorization", good)), live)
    verify_basic(held(("authorization", good.replace("Basic", "bASIC"))), live)
    missing = ("", "Bearer x", "Basic", "Basic !", "Basic /w==", "Basic " + "A" * 2000)
    for text in missing:
        assert reason(verify_basic, held(("Authorization", text)), live) is Why.MISSING_TOKEN
    assert reason(verify_basic, held(("Authorization", good), ("Authorization", good)), live) is Why.MISSING_TOKEN
    other = "Basic " + base64.b64encode(b"user:pass").decode()
    assert reason(verify_basic, held(("Authorization", other)), live) is Why.BAD_TOKEN


def test_the_standards_own_token_verifies() -> None:
    """RFC 7515, appendix A.1, although it has long expired: a retry carries the token of the first attempt."""
    assert json.loads(read_hs256(RFC_TOKEN, (b"other-secret", RFC_KEY)))["iss"] == "joe"
    assert reason(read_hs256, RFC_TOKEN, (b"other-secret",)) is Why.BAD_SIGNATURE
    assert reason(read_hs256, RFC_TOKEN, ()) is Why.BAD_SIGNATURE


@pytest.mark.parametrize(
    "head",
    [
        {"alg": "none"}, {"alg": "None"}, {"alg": ""}, {"alg": None}, {"alg": ["HS256"]}, {"alg": {"HS256": 1}}, {},
        {"alg": "RS256"}, {"alg": "ES256"}, {"alg": "HS384"}, {"alg": "HS512"}, {"alg": "hs256"},
        {"alg": "HS256", "crit": ["exp"]}, {"alg": "HS256", "b64": False, "crit": ["b64"]}, {"alg": "HS256", "kid": 5},
    ],
)  # fmt: skip
def test_only_hs256_is_believed(head: dict[str, Any]) -> None:
    """Whatever the token's header asks for, and although the bytes are signed with our own secret by HS256."""
    token = jwt(b"{}", SECRET.decode(), head=head)
    assert reason(read_hs256, token, (SECRET,)) is Why.MALFORMED_SIGNATURE
    assert reason(read_hs256, token.rpartition(".")[0] + ".", (SECRET,)) is Why.MALFORMED_SIGNATURE


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (None, Why.MISSING_SIGNATURE), (5, Why.MISSING_SIGNATURE), ("", Why.MISSING_SIGNATURE),
        ({}, Why.MISSING_SIGNATURE),
        ("..", Why.MALFORMED_SIGNATURE), ("a.b", Why.MALFORMED_SIGNATURE), ("a.b.c.d", Why.MALFORMED_SIGNATURE),
        ("é.b.c", Why.MALFORMED_SIGNATURE), ("W10.e30.AA", Why.MALFORMED_SIGNATURE),
        (base64.urlsafe_b64encode(b"[" * 700).decode() + ".e30.AA", Why.MALFORMED_SIGNATURE),
        ("A" * 2000 + ".e30.AA", Why.MALFORMED_SIGNATURE),
    ],
)  # fmt: skip
def test_what_is_no_token(token: object, why: Why) -> None:
    """Refused before anything in it is believed."""
    assert reason(read_hs256, token, (SECRET,)) is why


def test_a_public_key_as_secret_signs_nothing() -> None:
    """A source that was given a public key by mistake authenticates nobody."""
    assert reason(read_hs256, jwt(b"{}", PEM.decode()), (PEM,)) is Why.BAD_SIGNATURE


def test_fixed_secrets_are_carried_as_their_scheme_says() -> None:
    """The partner's side of bearer, basic and a header of its own."""

    def carried(auth: str, header: str | None = None) -> dict[str, str]:
        return token_headers(Signing(secret="u:p", auth=auth, url="", now_ms=0, token_header=header))

    assert carried("bearer") == {"Authorization": "Bearer u:p"}
    assert carried("basic") == {"Authorization": "Basic dTpw"}
    assert carried("header", "token") == {"token": "u:p"}
