"""Signing as partners do it, by rules that a fixture's `source.json` writes down from the partner's document.

Nothing here comes from `service/`: what verifies there must agree with what an independent reader of the documents
makes. The rules are data:

    {"headers": {"X-Signature": "t={t},sign={signature}"}, "message": "{t}.{raw}", "encoding": "hex"}
    {"jwt_field": "token"}                                    the body becomes {"token": <HS256 over it>}
    {"headers": {"Authorization": "Bearer {secret}"}}         or "Basic {secret_base64}", or a header of its own

In `message` and in headers: {raw} (message only), {url}, {guid}, {t} (seconds), {t_ms}, {secret}, {secret_base64},
{signature} (headers only). The key is the secret's own text.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Posting:
    """What goes over the wire."""

    raw: bytes
    headers: dict[str, str]


def sign(rules: Mapping[str, Any], raw: bytes, *, secret: str, url: str = "") -> Posting:
    """The body and the headers that prove it under this secret."""
    now = time.time()
    values = {
        "url": url,
        "guid": str(uuid.uuid4()),
        "t": str(int(now)),
        "t_ms": str(int(now * 1000)),
        "secret": secret,
        "secret_base64": base64.b64encode(secret.encode()).decode(),
    }
    if "jwt_field" in rules:
        raw = json.dumps({rules["jwt_field"]: jwt(raw, secret)}).encode()
    if "message" in rules:
        digest = hmac.new(secret.encode(), _filled(rules["message"], values, raw), hashlib.sha256).digest()
        encoded = digest.hex() if rules.get("encoding", "hex") == "hex" else base64.b64encode(digest).decode()
        values["signature"] = encoded
    headers = {name: _filled(text, values).decode() for name, text in rules.get("headers", {}).items()}
    return Posting(raw, headers)


def jwt(claims: bytes, secret: str, *, head: Mapping[str, Any] | None = None) -> str:
    """A compact JSON Web Token over these bytes, HS256 whatever its header says (RFC 7515, 3.1)."""
    parts = [json.dumps({"typ": "JWT", "alg": "HS256"} if head is None else head).encode(), claims]
    signed = b".".join(_base64url(part) for part in parts)
    return (signed + b"." + _base64url(hmac.new(secret.encode(), signed, hashlib.sha256).digest())).decode()


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _filled(template: str, values: Mapping[str, str], raw: bytes = b"") -> bytes:
    """The template with its names replaced, in one pass: a body may hold braces."""
    before, mark, after = template.partition("{raw}")
    text = [part.format_map(values).encode() for part in (before, after)]
    return text[0] + (raw if mark else b"") + text[1]
