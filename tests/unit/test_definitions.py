"""Credentials as a person describes them."""

from __future__ import annotations

import base64
from typing import Any, get_args

import pytest

from backbone.store.definitions import AUTH_SCHEMES, BEARER, STANDARD_WEBHOOKS, Auth, make_credential
from backbone.store.secrets import hash_token
from schemas.errors import DefinitionInvalid

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
    assert AUTH_SCHEMES == get_args(Auth) == (STANDARD_WEBHOOKS, BEARER)
    assert make_credential(BEARER, RAW.encode()).token_hash == hash_token(RAW)
    later: Any = "of-a-later-release"
    with pytest.raises(DefinitionInvalid, match="standard-webhooks or bearer"):
        make_credential(later, None)
