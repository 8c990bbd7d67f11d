"""Anchors: the heads of all chains at one moment, signed, to be kept where those who run mealtrail cannot change them.

A head's hash covers every row before it. So an anchor of a few kilobytes pins the whole trail: a store whose tail is
cut, from which an order was taken, or that was rewritten from its first row on, has another row at the anchored number,
or none.

An anchor is one JSON object. Signed is its canonical JSON (RFC 8785) without the member `signature`, by Ed25519 with a
key that is derived from the first key of MEALTRAIL_SECRET_KEYS; `key_id` names that key. Who has the public key (`audit
key` prints it) can check an anchor without any secret, and years later. A ring must keep its old keys for that.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from backbone.store.secrets import SecretBox
from schemas.canonical import canonical_json
from schemas.errors import (
    AnchorForged,
    AnchorKeyUnknown,
    AnchorUnreadable,
)
from schemas.times import micros, rfc3339_millis

FORMAT: Literal["mealtrail-anchor/1"] = "mealtrail-anchor/1"
PURPOSE = "anchor"
MAX_BYTES = 1024 * 1024


def _millis(text: str) -> int:
    return micros(datetime.fromisoformat(text)) // 1000


def _check_moment(text: str) -> str:
    if rfc3339_millis(_millis(text)) != text:
        raise ValueError("is no time in UTC with three digits")
    return text


_Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Count = Annotated[int, Field(ge=0)]
_Moment = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T[\d:.]{12}Z$"), AfterValidator(_check_moment)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class AnchoredHead(_Part):
    """The last row of one partition; seq 0 and a hash of zeros where there was none."""

    partition: _Count
    seq: _Count
    hash: _Hex
    watermark: _Moment


class AnchoredActs(_Part):
    """The acts of administration up to a moment."""

    count: _Count
    digest: _Hex
    until: _Moment

    @property
    def until_ms(self) -> int:
        """That moment in milliseconds."""
        return _millis(self.until)


class Anchor(_Part):
    """An anchor as it was read; whether it may be believed, `check_anchor` says."""

    format: Literal["mealtrail-anchor/1"]
    algorithm: Literal["Ed25519"]
    deployment: str
    made_at: _Moment
    rows: _Count
    partitions: _Count
    heads: list[AnchoredHead]
    acts: AnchoredActs
    key_id: str
    signature: str

    @property
    def made_ms(self) -> int:
        """When it says it was made, in milliseconds of the wall clock."""
        return _millis(self.made_at)

    def signed_bytes(self) -> bytes:
        """What the signature covers."""
        return canonical_json(self.model_dump(exclude={"signature"}))

    def document(self) -> bytes:
        """The anchor as it is kept: canonical JSON, one line."""
        return canonical_json(self.model_dump()) + b"\n"


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """Public keys of anchors by key id. `origin` says in words where they come from."""

    keys: Mapping[str, Ed25519PublicKey]
    origin: str

    @classmethod
    def of_ring(cls, box: SecretBox) -> Self:
        """Those that belong to the keys of a ring."""
        keys = {key_id: _signer(seed).public_key() for key_id, seed in box.derive(PURPOSE).items()}
        return cls(keys, "MEALTRAIL_SECRET_KEYS")

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Self:
        """Keys as `audit key` prints them, `id:base64`. Raises ValueError that says what is wrong."""
        keys = {}
        for text in texts:
            key_id, colon, encoded = text.strip().partition(":")
            try:
                key = load_der_public_key(base64.b64decode(encoded, validate=True)) if colon and key_id else None
            except (binascii.Error, ValueError):
                key = None
            if not isinstance(key, Ed25519PublicKey):
                raise ValueError(  # noqa: TRY004 - the text is wrong, not its type
                    "a public key is written id:base64, as `mealtrail audit key` prints it"
                )
            keys[key_id] = key
        return cls(keys, "--public-key")

    def texts(self) -> dict[str, str]:
        """Each key in base64 (DER, SubjectPublicKeyInfo: as in a PEM file), by id, the ring's first one first."""
        der = {
            key_id: key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for key_id, key in self.keys.items()
        }
        return {key_id: base64.b64encode(text).decode() for key_id, text in der.items()}


def _signer(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


def sign_anchor(anchor: Anchor, box: SecretBox) -> Anchor:
    """The anchor under the ring's first key: `key_id` and `signature` are set anew."""
    key_id, seed = next(iter(box.derive(PURPOSE).items()))
    named = anchor.model_copy(update={"key_id": key_id})
    signature = base64.b64encode(_signer(seed).sign(named.signed_bytes())).decode()
    return named.model_copy(update={"signature": signature})


def load_anchor(content: bytes, *, name: str) -> Anchor:
    """Read an anchor; nothing of it is believed yet. `name` is for messages. Raises AnchorUnreadable."""
    try:
        raw: Any = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise AnchorUnreadable(f"{name} is no anchor: {error}") from error
    made_by = raw.get("format") if isinstance(raw, dict) else None
    if isinstance(made_by, str) and made_by.startswith("mealtrail-anchor/") and made_by != FORMAT:
        raise AnchorUnreadable(f"{name} has the format {made_by[:40]!r}, which this release does not know")
    try:
        anchor = Anchor.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise AnchorUnreadable(f"{name} is no anchor: {where}: {first['msg']}") from error
    return anchor


def check_signature(anchor: Anchor, keys: PublicKeys, *, name: str) -> None:
    """Return when the anchor is as it was signed. Raises AnchorKeyUnknown, AnchorForged."""
    key = keys.keys.get(anchor.key_id)
    if key is None:
        hint = "put it back at the end" if keys.origin == "MEALTRAIL_SECRET_KEYS" else "give that one too"
        raise AnchorKeyUnknown(
            f"{name} is signed with the key {anchor.key_id[:64]!r}, which {keys.origin} does not have: {hint}"
        )
    try:
        key.verify(base64.b64decode(anchor.signature, validate=True), anchor.signed_bytes())
    except (InvalidSignature, binascii.Error, ValueError, TypeError) as error:
        raise AnchorForged(
            f"the signature of {name} does not fit: it was changed, or signed with another key {anchor.key_id[:64]!r}"
        ) from error
