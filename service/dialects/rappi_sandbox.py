"""The signature of the tester in Rappi's sandbox, told from a bad one so that nobody looks for a wrong secret.

It signs compact JSON in which every bool, number and null became a string, and sends the body as it was. That proves
nothing about the body, so it is refused all the same.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

_LONGEST = 32_768
"""Bytes. More is no tester's, and not to be written anew for a stranger."""
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[ \t\r\n]+|true|false|null|-?[0-9][0-9.eE+-]*')
"""A text without an end goes to the end: to look from every quote in it for one would take a stranger's time."""


def is_the_testers(signature: bytes, moment: bytes, raw: bytes, secrets: Sequence[bytes]) -> bool:
    """Whether it is the signature, by one of the secrets, of `moment` and the body as the tester writes it for itself.
    Compares in constant time.
    """
    if len(raw) > _LONGEST:
        return False
    text = _TOKEN.sub(_as_the_tester_writes, raw)
    return any(hmac.compare_digest(hmac.digest(key, moment + text, "sha256"), signature) for key in secrets)


def _as_the_tester_writes(token: re.Match[bytes]) -> bytes:
    """Texts as they are, no spaces, and everything else in quotes."""
    found = token[0]
    return found if found.startswith(b'"') else b'"' + found + b'"' if found.strip() else b""
