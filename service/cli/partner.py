"""A webhook as a partner would send it: the native body, signed by Standard Webhooks or carrying a bearer token.

Written from the specification and not with the code that verifies, so that `mealtrail send` proves something.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

_SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix that the specification gives to secrets


def signing_key(secret: str) -> bytes:
    """The key bytes of a `whsec_…` secret (the prefix may be missing). Raises ValueError, never quoting the secret."""
    try:
        encoded = secret.strip().removeprefix(_SECRET_PREFIX).rstrip("=")
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the secret is not whsec_ and base64, as `mealtrail source add` prints it") from error
    if not key:
        raise ValueError("the secret is empty")
    return key


def signature_headers(key: bytes, event_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three Standard Webhooks headers over exactly these bytes."""
    signed = f"{event_id}.{timestamp_s}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {"webhook-id": event_id, "webhook-timestamp": str(timestamp_s), "webhook-signature": f"v1,{signature}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """What is reported. `occurred_at` is the partner's own text, sent as it is; None leaves the field out."""

    order_id: str
    status: str
    event_id: str
    occurred_at: str | None = None
    comment: str | None = None
    reason: str | None = None
    attributes: tuple[str, ...] = ()

    def body(self) -> bytes:
        """The native body; fields without a value are left out."""
        fields: dict[str, Any] = {
            "order_id": self.order_id,
            "status": self.status,
            "occurred_at": self.occurred_at,
            "comment": self.comment,
            "reason": self.reason,
            "attributes": list(self.attributes) or None,
            "event_id": self.event_id,
        }
        return orjson.dumps({name: value for name, value in fields.items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Exactly one of the two is set; neither is shown."""

    key: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def headers(self, event_id: str, timestamp_s: int, body: bytes) -> Mapping[str, str]:
        """What proves the sender for this body at this time."""
        if self.key is not None:
            return signature_headers(self.key, event_id, timestamp_s, body)
        return {"Authorization": f"Bearer {self.token}", "webhook-id": event_id}
