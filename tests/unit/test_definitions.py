"""Credentials as a person describes them."""

from __future__ import annotations

import base64
from typing import Any, get_args

import pytest

from backbone.store.definitions import (
    AUTH_SCHEMES,
    BASIC,
    BEARER,
    HEADER,
    KEPT_AS_HASH,
    SIGNATURE,
    STANDARD_WEBHOOKS,
    Auth,
    NewSource,
    check_source,
    make_credential,
)
from backbone.store.secrets import hash_token
from schemas.errors import DefinitionInvalid
from schemas.statuses import Role

RAW = "acme-shared-secret!"


def test_text_is_a_key_in_base64_and_bytes_are_the_key() -> None:
    """A partner's own text that is no base64 is refused with a hint, and taken when it comes as the key itself."""
    with pytest.raises(DefinitionInvalid, match="encoding is raw"):
        make_credential(STANDARD_WEBHOOKS, RAW)
    made = make_credential(STANDARD_WEBHOOKS, RAW.encode())
    assert made.key == RAW.encode()
    assert made.shown == "whsec_" + base64.b64encode(RAW.encode()).decode()
    assert make_credential(STANDARD_WEBHOOKS, made.shown).key == made.key


def test_there_is_one_list_of_schemes() -> None:
    """Every scheme makes a credential of its own kind; one that is not listed makes none."""
    assert AUTH_SCHEMES == get_args(Auth) == (STANDARD_WEBHOOKS, BEARER, SIGNATURE, HEADER, BASIC)
    assert make_credential(BEARER, RAW.encode()).token_hash == hash_token(RAW)
    for scheme in AUTH_SCHEMES:
        made = make_credential(scheme, None)
        assert (made.token_hash is not None, made.key is not None) == (
            scheme in KEPT_AS_HASH,
            scheme not in KEPT_AS_HASH,
        )
        if scheme != STANDARD_WEBHOOKS:
            assert make_credential(scheme, made.shown) == made, "what is printed can be brought in again"
    later: Any = "of-a-later-release"
    with pytest.raises(DefinitionInvalid, match="standard-webhooks or bearer"):
        make_credential(later, None)


def test_a_partners_signing_secret_is_its_own_text() -> None:
    """As partners issue them: any text of 8 bytes or more, outer spaces of a pasted file aside."""
    assert make_credential(SIGNATURE, "dummysecret\n").key == b"dummysecret"
    assert make_credential(SIGNATURE, b"\xff" * 8).key == b"\xff" * 8
    for wrong in ("", "short", "x" * 513):
        with pytest.raises(DefinitionInvalid, match="8 to 512"):
            make_credential(SIGNATURE, wrong)


def test_fixed_secrets_in_headers() -> None:
    """A token of 8 characters or more; a user and a password of 8 or more. Only their hash is kept."""
    assert make_credential(HEADER, "tok3n-of-theirs").token_hash == hash_token("tok3n-of-theirs")
    assert make_credential(BASIC, "door:dash-password").token_hash == hash_token("door:dash-password")
    wrongs: tuple[tuple[Auth, str], ...]
    wrongs = ((HEADER, "with space"), (HEADER, "short"), (BASIC, "no-colon-here"), (BASIC, "user:short"))
    for scheme, wrong in wrongs:
        with pytest.raises(DefinitionInvalid):
            make_credential(scheme, wrong)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"id_prefix": ""}, "id prefix"),
        ({"id_prefix": "a b"}, "id prefix"),
        ({"id_prefix": "x" * 33}, "id prefix"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"zone": "../../etc/passwd"}, "zone"),
        ({"zone": ""}, "zone"),
        ({"stores": {"": "r1"}}, "store"),
        ({"stores": {"a": " r1"}}, "store"),
        ({"stores": {str(n): "r1" for n in range(10_001)}}, "stores"),
    ],
)
def test_what_a_format_needs_is_checked_before_it_is_stored(changes: dict[str, Any], problem: str) -> None:
    """A prefix that keeps ids readable, zones that exist, stores that can be ids."""
    with pytest.raises(DefinitionInvalid, match=problem):
        check_source(NewSource(name="a", role=Role.COURIER, **changes))
    check_source(NewSource(name="a", role=Role.COURIER, id_prefix="if-", zone="America/Bogota", stores={"9": "r1"}))
