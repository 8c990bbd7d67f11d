"""Fixed secrets in headers: a token under a partner's own name, user and password (RFC 7617), and reading headers once.

Compared by hash, in constant time, against every live one.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence

from multidict import CIMultiDictProxy

from backbone.store.secrets import hash_token
from schemas.errors import NotAuthenticated
from schemas.refusals import Why

_LONGEST_TOKEN = 512
_LONGEST_BASIC = 1024


def single_header(headers: CIMultiDictProxy[str], name: str) -> str:
    """The value of a signature's header. Raises NotAuthenticated: `missing_signature` where there is none or it is
    empty, `malformed_signature` where it is there twice, since nobody could say which one was meant.
    """
    values = headers.getall(name, [])
    if not values or not values[0]:
        raise NotAuthenticated(Why.MISSING_SIGNATURE)
    if len(values) > 1:
        raise NotAuthenticated(Why.MALFORMED_SIGNATURE)
    return str(values[0])


def header_bytes(value: str) -> bytes:
    """A header's value as the bytes it was: bytes that are no UTF-8 arrive escaped."""
    return value.encode("utf-8", "surrogateescape")


def verify_header_token(headers: CIMultiDictProxy[str], name: str, token_hashes: Sequence[str]) -> None:
    """Returns when the one header of this name is a live token. Raises NotAuthenticated with the reason otherwise."""
    values = headers.getall(name, [])
    given = values[0].strip() if len(values) == 1 else ""
    usable = bool(given) and len(given) <= _LONGEST_TOKEN and given.isascii()
    compare_token(given if usable else None, token_hashes)


def verify_basic(headers: CIMultiDictProxy[str], token_hashes: Sequence[str]) -> None:
    """Returns when the one `Authorization: Basic` header holds a live `user:password`. Raises NotAuthenticated."""
    values = headers.getall("Authorization", [])
    scheme, _, encoded = (values[0] if len(values) == 1 else "").partition(" ")
    given: str | None = None
    if scheme.lower() == "basic" and len(encoded) <= _LONGEST_BASIC:
        try:
            given = base64.b64decode(encoded.strip().encode("ascii"), validate=True).decode()
        except (binascii.Error, UnicodeError):
            given = None
    compare_token(given or None, token_hashes)


def compare_token(given: str | None, token_hashes: Sequence[str]) -> None:
    """Returns when this is one of the tokens hashed, in a time that does not tell which. Raises NotAuthenticated:
    `missing_token` for None, which is what could be no token, else `bad_token`.
    """
    hashed = hash_token(given or "")
    matches = False
    for known in token_hashes:
        matches |= hmac.compare_digest(known, hashed)
    if given is None:
        raise NotAuthenticated(Why.MISSING_TOKEN)
    if not matches:
        raise NotAuthenticated(Why.BAD_TOKEN)
