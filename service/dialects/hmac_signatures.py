"""HMAC-SHA256 as partners send it: hex or base64 in one header, over the raw body or something put before it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Literal

from multidict import CIMultiDictProxy

from schemas.errors import NotAuthenticated
from schemas.refusals import Why
from service.dialects.header_tokens import single_header

_HEX = re.compile(r"[0-9a-fA-F]{64}")
_DIGEST_SIZE = 32
Encoding = Literal["hex", "base64"]


def verify_hmac_header(
    headers: CIMultiDictProxy[str],
    name: str,
    messages: Sequence[bytes],
    secrets: Sequence[bytes],
    *,
    encoding: Encoding = "hex",
) -> None:
    """Returns when the one header of this name is the signature, by one of the secrets, over one of the messages (more
    than one where a partner has signed in two ways). Raises NotAuthenticated with the reason otherwise.
    """
    verify_hmac(read_signature(single_header(headers, name), encoding), messages, secrets)


def read_signature(text: str, encoding: Encoding = "hex") -> bytes:
    """The bytes of a signature as written. Raises NotAuthenticated (`malformed_signature`)."""
    try:
        if encoding == "hex":
            signature = bytes.fromhex(text) if _HEX.fullmatch(text) else b""
        else:
            signature = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise NotAuthenticated(Why.MALFORMED_SIGNATURE) from error
    if len(signature) != _DIGEST_SIZE:
        raise NotAuthenticated(Why.MALFORMED_SIGNATURE)
    return signature


def verify_hmac(offered: bytes, messages: Sequence[bytes], secrets: Sequence[bytes]) -> None:
    """The same for a signature that was read already. Every secret and message is tried, in constant time."""
    matches = False
    for secret in secrets:
        for message in messages:
            matches |= hmac.compare_digest(hmac.digest(secret, message, hashlib.sha256), offered)
    if not matches:
        raise NotAuthenticated(Why.BAD_SIGNATURE)
