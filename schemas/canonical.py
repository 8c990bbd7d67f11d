"""Canonical JSON and the digests made from it.

RFC 8785 (JCS) orders keys by UTF-16 code units and prints numbers as ECMAScript does. We keep to ASCII keys,
integers below 2^53 and no floats, where orjson with sorted keys gives the same bytes (a test holds the two together).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

GENESIS = bytes(32)
"""The hash before the first row of every partition's chain."""


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """RFC 8785 bytes of a mapping with ASCII keys and no floats."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def chain_hash(previous: bytes, fields: Mapping[str, Any]) -> bytes:
    """SHA-256 over the previous row's hash and the canonical JSON of this row's fields; 32 bytes."""
    return hashlib.sha256(previous + canonical_json(fields)).digest()


def content_digest(value: Mapping[str, Any]) -> str:
    """Hex SHA-256 of an event's own parsed fields; tells a repeat from an event id used for something else."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def payload_digest(salt: bytes, payload: bytes) -> str:
    """Hex SHA-256 of salt and payload. Once the salt is erased, nobody can test a guess against it."""
    return hashlib.sha256(salt + payload).hexdigest()
