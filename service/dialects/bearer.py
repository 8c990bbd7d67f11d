"""A static bearer token as proof, for partners that cannot sign."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from multidict import CIMultiDictProxy

from backbone.store.secrets import hash_token
from schemas.errors import NotAuthenticated
from schemas.refusals import Why

_LONGEST_TOKEN = 512


def bearer_token(headers: CIMultiDictProxy[str]) -> str | None:
    """The token of the one `Authorization: Bearer` header; None where there is none that could be one."""
    given = headers.getall("Authorization", [])
    if len(given) != 1:
        return None
    scheme, _, token = given[0].partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN or not token.isascii():
        return None
    return token


def verify_token(headers: CIMultiDictProxy[str], token_hashes: Sequence[str]) -> None:
    """Returns when the bearer token is one of those hashed. Raises NotAuthenticated with the reason otherwise."""
    token = bearer_token(headers)
    given = hash_token(token or "")
    matches = False
    for known in token_hashes:
        matches |= hmac.compare_digest(known, given)
    if token is None:
        raise NotAuthenticated(Why.MISSING_TOKEN)
    if not matches:
        raise NotAuthenticated(Why.BAD_TOKEN)
