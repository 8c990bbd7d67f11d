"""Identifiers: order ids as strings, the record key, receipt ids, and the partition a key belongs to."""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
import unicodedata
from typing import NamedTuple

DEFAULT_WORKSPACE = "default"
MAX_ID_LENGTH = 128
_RECEIPT = struct.Struct(">BIQ16s")
_RECEIPT_VERSION = 1


def normalise_id(value: object) -> str:
    """An order, party or event id as the string it is known by.

    Integers become their decimal text, outer spaces are trimmed; `017873` stays different from `17873`.
    Raises ValueError for anything else, for an empty id, control characters, lone surrogates or over 128 characters.
    """
    if type(value) is str and len(value) <= MAX_ID_LENGTH and value.isascii() and value.isprintable():
        text = value.strip()  # nearly every id: nothing else can be wrong with it, and records are read by the thousand
        if text:
            return text
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be a string or an integer")  # noqa: TRY004 - pydantic turns ValueError into a field error
    if isinstance(value, int) and abs(value) >= 1 << 63:
        raise ValueError("must fit in 64 bits")
    text = str(value).strip()
    if not text:
        raise ValueError("must not be empty")
    if len(text) > MAX_ID_LENGTH:
        raise ValueError(f"must be at most {MAX_ID_LENGTH} characters")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise ValueError("must not contain control characters")
    return text


def record_key(workspace: str, order_id: str) -> bytes:
    """The record key of an order: `default:ORDER-ID`. One key lives in one partition."""
    return f"{workspace}:{order_id}".encode()


def receipt_digest(receipt_key: bytes, order_id: str, event_id: str) -> str:
    """Hex of 16 bytes of HMAC-SHA256 over (order, event id) under the source's own random key.

    It is the deduplication key and the unguessable part of a receipt id: same source, order and event id, same digest.
    """
    message = len(order_id.encode()).to_bytes(2, "big") + order_id.encode() + event_id.encode()
    return hmac.digest(receipt_key, message, "sha256")[:16].hex()


class ReceiptId(NamedTuple):
    """Where a callback lies in the received log, and the digest that names its event."""

    partition: int
    offset: int
    digest: str

    def __str__(self) -> str:
        """URL-safe text of 39 characters."""
        raw = _RECEIPT.pack(_RECEIPT_VERSION, self.partition, self.offset, bytes.fromhex(self.digest))
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

    @classmethod
    def parse(cls, text: str) -> ReceiptId:
        """The receipt id that `str` gave. Raises ValueError for any other text."""
        try:
            raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            version, partition, offset, digest = _RECEIPT.unpack(raw)
        except (binascii.Error, struct.error, UnicodeEncodeError) as error:
            raise ValueError("not a receipt id") from error
        receipt = cls(partition, offset, digest.hex())
        if version != _RECEIPT_VERSION or str(receipt) != text or offset >= 1 << 63:
            raise ValueError("not a receipt id")
        return receipt
