"""Standard Webhooks, verification: `webhook-id`, `webhook-timestamp`, `webhook-signature`.

The signature is HMAC-SHA256 over `id.timestamp.body`, base64, written `v1,…`; the header may list several, separated by
spaces, while a partner rotates, and we may hold several live secrets for the same reason. Versions that we do not
know are passed over. Header values arrive as text in which bytes that are no UTF-8 are escaped; they are signed as the
bytes they were.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence

from multidict import CIMultiDictProxy

from schemas.errors import NotAuthenticated
from schemas.refusals import Why
from service.dialects.header_tokens import header_bytes, single_header

TOLERANCE_S = 300
ID_HEADER = "webhook-id"
_TIMESTAMP_HEADER = "webhook-timestamp"
_SIGNATURE_HEADER = "webhook-signature"
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_DIGEST_SIZE = 32
_MOST_SIGNATURES = 20


def verify_signature(headers: CIMultiDictProxy[str], raw: bytes, secrets: Sequence[bytes], *, now_ms: int) -> None:
    """Returns when one of the listed v1 signatures is that of one of the secrets over exactly these bytes, made within
    five minutes of now. Raises NotAuthenticated with the reason otherwise.
    """
    message_id = single_header(headers, ID_HEADER)
    timestamp = single_header(headers, _TIMESTAMP_HEADER)
    offered = _signatures(single_header(headers, _SIGNATURE_HEADER))
    if not _TIMESTAMP.fullmatch(timestamp):
        raise NotAuthenticated(Why.MALFORMED_SIGNATURE)
    message = b".".join((header_bytes(message_id), timestamp.encode(), raw))
    matches = False
    for secret in secrets:
        expected = hmac.digest(secret, message, hashlib.sha256)
        for signature in offered:
            matches |= hmac.compare_digest(expected, signature)
    if not matches:
        raise NotAuthenticated(Why.BAD_SIGNATURE)
    if abs(now_ms - int(timestamp) * 1000) > TOLERANCE_S * 1000:
        raise NotAuthenticated(Why.OLD_TIMESTAMP)


def _signatures(listed: str) -> list[bytes]:
    """The v1 signatures of the header that could be ones."""
    found = []
    for item in listed.split(" ", _MOST_SIGNATURES)[:_MOST_SIGNATURES]:
        version, _, text = item.partition(",")
        if version != "v1":
            continue
        try:
            signature = binascii.a2b_base64(text, strict_mode=True)
        except ValueError:  # not base64, or not even ASCII
            continue
        if len(signature) == _DIGEST_SIZE:
            found.append(signature)
    return found
