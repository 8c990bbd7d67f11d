"""The order-status API's access tokens: JWTs that every ingress process can make and read, so that nothing is kept.

A token is signed (HS256) with a key derived from the ring of `MEALTRAIL_SECRET_KEYS`, whose id it names. It lasts an
hour, and no longer than what it stands on: it carries a keyed digest of the credential that issued it, so disabling the
source or letting that credential end takes the token with it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping

import jwt

from backbone.store.sources import Source
from service.credentials import SourceCache

PURPOSE = "order-status access tokens"
LIFETIME_S = 3600
_AUDIENCE = "order-status"
_CLAIMS = ("sub", "iat", "exp", "aud", "credential")


class IssuedTokens:
    """Makes and reads access tokens. `keys` by id, the first one signs; `now_ms` is the wall clock."""

    def __init__(self, keys: Mapping[str, bytes], sources: SourceCache, now_ms: Callable[[], int]) -> None:
        self._keys = dict(keys)
        self._first = next(iter(keys))
        self._sources = sources
        self._now_ms = now_ms

    def issue(self, source: Source, token_hash: str, lifetime_s: int = LIFETIME_S) -> str:
        """An access token of the source, as long as the credential with this hash lives."""
        now, key = self._now_ms() // 1000, self._keys[self._first]
        claims = {
            "aud": _AUDIENCE,
            "sub": source.uid,
            "iat": now,
            "exp": now + lifetime_s,
            "credential": _digest(key, token_hash),
        }
        return jwt.encode(claims, key, algorithm="HS256", headers={"kid": self._first})

    def source_of(self, token: str) -> Source | None:
        """The source that a token of ours speaks for; None for any other text, and once it ended."""
        try:
            key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=["HS256"],
                audience=_AUDIENCE,
                # Times are held to our own clock, below.
                options={"require": list(_CLAIMS), "verify_exp": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError):
            return None
        if not isinstance(claims["exp"], int) or self._now_ms() >= claims["exp"] * 1000:
            return None
        source = self._sources.by_uid(str(claims["sub"]))
        if source is None:
            return None
        lives = False
        for token_hash in source.token_hashes:
            lives |= hmac.compare_digest(_digest(key, token_hash), str(claims["credential"]))
        return source if lives else None


def _digest(key: bytes, token_hash: str) -> str:
    """Names a credential without giving anybody anything to guess it by."""
    return hmac.new(key, token_hash.encode(), hashlib.sha256).hexdigest()[:32]
