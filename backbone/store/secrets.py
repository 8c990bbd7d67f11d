"""Secrets at rest: signing secrets are encrypted, tokens are hashed; each is shown once, when it is made.

A signing secret is needed in clear to check a signature, so it lies encrypted under a key that is not in the database.
Keys have ids and stand in a ring: the first encrypts, the others still decrypt what was sealed before. Each ciphertext
is bound to the row it belongs to, so one that is copied to another row does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.errors import SecretSealed, SettingsInvalid

KEY_BYTES = 32
KEY_FILE = "secret.keys"
_NONCE_BYTES = 12
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class SecretBox:
    """AES-256-GCM under a ring of keys. Holds the keys in memory and never shows them."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._keys = dict(keys)
        self._first = next(iter(keys))

    def __repr__(self) -> str:
        return f"SecretBox(key ids: {', '.join(self._ciphers)})"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The ring written as `id:base64,id2:base64`. Raises SettingsInvalid with all problems and without any key."""
        keys: dict[str, bytes] = {}
        problems: list[str] = []
        items = [item.strip() for item in text.split(",") if item.strip()]
        for number, item in enumerate(items, 1):
            key_id, colon, encoded = item.partition(":")
            if not colon or not _KEY_ID.fullmatch(key_id):
                # Without a colon the item may be a bare key: it must not be repeated in the message.
                problems.append(f"item {number} is not of the form id:base64 (ids: letters, digits, '.', '_', '-')")
                continue
            try:
                key = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                problems.append(f"key {key_id!r} is not base64")
                continue
            if len(key) != KEY_BYTES:
                problems.append(f"key {key_id!r} has {len(key)} bytes, not {KEY_BYTES}")
            if key_id in keys:
                problems.append(f"key id {key_id!r} is there twice")
            keys[key_id] = key
        if not items:
            problems.append("there is no key")
        if problems:
            raise SettingsInvalid("MEALTRAIL_SECRET_KEYS: " + "; ".join(problems))
        return cls(keys)

    @classmethod
    def in_directory(cls, data_dir: Path) -> Self:
        """The ring of an embedded installation, in `data_dir/secret.keys`, made at the first call (mode 0600).

        Blocks on the file system. May be repeated and called by several processes at once: all get the same ring.
        Raises SettingsInvalid when the file holds no ring, and OSError.
        """
        path = data_dir / KEY_FILE
        if not path.exists():
            _create_once(path, f"k{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}\n")
        try:
            return cls.parse(path.read_text("utf-8"))
        except SettingsInvalid as error:
            raise SettingsInvalid(f"{path}: {str(error).partition(': ')[2]}") from error

    def derive(self, purpose: str) -> dict[str, bytes]:
        """A key of 32 bytes for this purpose from each key of the ring (HKDF-SHA256), by key id, the first one first.

        Every process with the same ring derives the same keys; none of them gives the ring's away.
        """
        info = f"mealtrail/{purpose}".encode()
        return {
            key_id: HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(key)
            for key_id, key in self._keys.items()
        }

    def seal(self, plain: bytes, *, bound_to: str) -> tuple[bytes, str]:
        """Nonce and ciphertext of `plain`, and the id of the key; it opens only with the same `bound_to`."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._ciphers[self._first].encrypt(nonce, plain, bound_to.encode()), self._first

    def open(self, sealed: bytes, key_id: str, *, bound_to: str) -> bytes:
        """What was sealed. Raises SecretSealed when the ring lacks the key, or the key does not fit."""
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise SecretSealed(
                f"MEALTRAIL_SECRET_KEYS lacks the key {key_id!r}, which {bound_to} is encrypted with; "
                "add it to the end",
                problem=f"key {key_id!r} missing",
            )
        try:
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())
        except (InvalidTag, ValueError) as error:
            raise SecretSealed(
                f"{bound_to} does not open with the key {key_id!r}: another key had this id, or the row was changed",
                problem=f"key {key_id!r} does not fit",
            ) from error


def _create_once(path: Path, text: str) -> None:
    """Make the file whole or not at all; when another process was first, its file stays."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
    # A secret that is sealed with a key which a power cut then forgets is lost: the name must be on disk too.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def hash_token(token: str) -> str:
    """Hex SHA-256 of a token. Tokens are long and random, so a slow hash would only slow down requests."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token(prefix: str) -> str:
    """A new random token, `prefix_` and 43 URL-safe characters.

    Prefixes are mts (source), mta (access), mtu (account) and mtl (store location).
    """
    return f"{prefix}_{secrets.token_urlsafe(32)}"
