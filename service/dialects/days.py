"""A partner's day for one order, as `mealtrail send --day` and the tests play it, and the partner's side of its proof.

What signs here is written from the partners' documents and shares nothing with the code that verifies, so that a
message that is taken proves something.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from schemas.identifiers import MAX_ID_LENGTH
from service.dialects.endpoints import POSTED, Endpoint


@dataclass(frozen=True, slots=True)
class Message:
    """One posting. The same message again in a day's list is the partner's repeat, byte for byte."""

    says: str
    """What it means, for people, in a few words."""
    body: Mapping[str, Any]
    """Before it is signed."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Beside those of the proof; the content type is JSON unless they name another."""
    endpoint: Endpoint = POSTED
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the endpoint's path."""

    def raw(self) -> bytes:
        """The body's bytes."""
        return orjson.dumps(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """What the partner signs with. The secret does not show."""

    secret: str = field(repr=False)
    auth: str
    url: str
    """The address that it posts to, as configured on its side."""
    now_ms: int
    token_header: str | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A posting, ready to be sent."""

    body: bytes
    headers: Mapping[str, str]


def day_id(*parts: object) -> str:
    """An id that a day makes from its order's: parts with hyphens between them, or their digest if that is long."""
    text = "-".join(str(part) for part in parts)
    return text if len(text) <= MAX_ID_LENGTH else hashlib.sha256(text.encode()).hexdigest()[:32]


def hmac_text(secret: str, *parts: bytes, encoding: Literal["hex", "base64"] = "hex") -> str:
    """HMAC-SHA256 under the secret's own text over the parts put together, as hex or base64."""
    digest = hmac.new(secret.encode(), b"".join(parts), hashlib.sha256)
    return digest.hexdigest() if encoding == "hex" else base64.b64encode(digest.digest()).decode()


def hs256_token(secret: str, claims: bytes) -> str:
    """A compact JSON Web Token (RFC 7515) over these bytes."""
    head = _base64url(b'{"alg":"HS256","typ":"JWT"}')
    signed = f"{head}.{_base64url(claims)}"
    return f"{signed}.{_base64url(hmac.digest(secret.encode(), signed.encode(), 'sha256'))}"


def token_headers(signing: Signing) -> dict[str, str]:
    """The header that carries a fixed secret: bearer, basic, or the partner's own."""
    if signing.auth == "basic":
        return {"Authorization": f"Basic {base64.b64encode(signing.secret.encode()).decode()}"}
    if signing.auth == "header" and signing.token_header is not None:
        return {signing.token_header: signing.secret}
    return {"Authorization": f"Bearer {signing.secret}"}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
