"""JSON Web Tokens as a partner's proof: HS256 alone, whatever the token's own header asks for.

`none`, and a public key taken for a shared one (RS256), both begin with believing the header; the list of one algorithm
ends them. Expiry claims are not looked at: a partner's retry carries the token of the first attempt.
"""

from __future__ import annotations

from collections.abc import Sequence

from jwt import InvalidKeyError, InvalidSignatureError, PyJWS, PyJWTError
from jwt.algorithms import HMACAlgorithm

from schemas.errors import NotAuthenticated
from schemas.refusals import Why

_LONGEST_HEAD = 1024


class _IssuedKey(HMACAlgorithm):
    """HS256 under keys as partners issue them, which may be shorter than the standard's 32 bytes."""

    def check_key_length(self, key: bytes) -> None:
        """No remark: nobody here chose the key."""


def _verifier() -> PyJWS:
    verifier = PyJWS(algorithms=["HS256"])
    verifier.unregister_algorithm("HS256")
    verifier.register_algorithm("HS256", _IssuedKey(_IssuedKey.SHA256))
    return verifier


_VERIFIER = _verifier()


def read_hs256(token: object, secrets: Sequence[bytes]) -> bytes:
    """The claims of a compact token that one of the secrets signed, as bytes. Raises NotAuthenticated with the reason:
    `missing_signature` for what is no text, `malformed_signature` for what is no token or of another algorithm.
    """
    if not isinstance(token, str) or not token:
        raise NotAuthenticated(Why.MISSING_SIGNATURE)
    if not token.isascii() or token.count(".") != 2 or token.index(".") > _LONGEST_HEAD:
        raise NotAuthenticated(Why.MALFORMED_SIGNATURE)
    claims: bytes | None = None
    for secret in secrets:
        try:
            claims = _VERIFIER.decode_complete(token, secret, algorithms=["HS256"])["payload"]
        except (InvalidSignatureError, InvalidKeyError):
            continue
        except PyJWTError as error:
            raise NotAuthenticated(Why.MALFORMED_SIGNATURE) from error
    if claims is None:
        raise NotAuthenticated(Why.BAD_SIGNATURE)
    return claims
