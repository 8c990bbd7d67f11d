"""A static bearer token as proof, for partners that cannot sign."""

from __future__ import annotations

from collections.abc import Sequence

from multidict import CIMultiDictProxy

from service.dialects.header_tokens import compare_token

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
    compare_token(bearer_token(headers), token_hashes)
