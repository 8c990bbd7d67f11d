"""What a person says a source or a token should be, checked before anything is stored."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from backbone.store.secrets import hash_token, new_token
from schemas.errors import DefinitionInvalid
from schemas.identifiers import normalise_id
from schemas.records import DEFAULT_AHEAD_HOLD_MS, DEFAULT_HOLD_MS, DEFAULT_SKEW_MS
from schemas.statuses import Policy, Role

Auth = Literal["standard-webhooks", "bearer", "signature", "header", "basic"]
"""How a source proves who it is. The one list of schemes: the command line offers it, the door measures by it."""
AUTH_SCHEMES: tuple[Auth, ...] = get_args(Auth)
STANDARD_WEBHOOKS: Final = "standard-webhooks"
BEARER: Final = "bearer"
SIGNATURE: Final = "signature"
"""The signature that the source's dialect describes; the key is the secret's own text."""
HEADER: Final = "header"
"""A fixed token in the header that the dialect names."""
BASIC: Final = "basic"
"""User and password (RFC 7617); the secret is `user:password`."""
KEPT_AS_HASH: frozenset[Auth] = frozenset({"bearer", "header", "basic"})
"""Schemes whose secret is compared and never computed with, so that only its hash is kept."""

DAY_MS = 24 * 3600 * 1000
MAX_HOLD_MS = 30 * DAY_MS
MAX_RATE = 1_000_000
MAX_PARTIES = 1000
MAX_STORES = 10_000
MAX_ID_PREFIX = 32
SHORT_SECRET_BYTES = 16
"""Partners issue shorter secrets than we would make; they are taken, and whoever brings one in is told."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - the mark that Standard Webhooks puts before a secret
NEW_SECRET_BYTES = 32
_SECRET_BYTES = range(16, 257)
_ISSUED_BYTES = range(8, 513)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TOKEN = re.compile(r"[\x21-\x7e]{16,512}")
_HEADER_TOKEN = re.compile(r"[\x21-\x7e]{8,512}")
_BASIC = re.compile(r"[^:\x00-\x1f\x7f]{1,128}:[^\x00-\x1f\x7f]{8,256}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSource:
    """A source to be made. `secret` is one that the partner issued; without it a new one is made.

    Of a Standard Webhooks secret, text is the key in base64 as the standard writes it, and bytes are the key itself; of
    a dialect's own signature, text and bytes are both the key.
    """

    name: str
    role: Role
    auth: Auth = STANDARD_WEBHOOKS
    dialect: str = "native"
    parties: tuple[str, ...] | None = None
    policy: Policy = Policy.FORWARD
    hold_ms: int = DEFAULT_HOLD_MS
    ahead_hold_ms: int = DEFAULT_AHEAD_HOLD_MS
    skew_ms: int = DEFAULT_SKEW_MS
    rate: int = 1000
    url: str | None = None
    id_prefix: str | None = None
    """Put before every order id that it names."""
    stores: Mapping[str, str] = field(default_factory=dict)
    """The partner's store id to our party, where they differ."""
    zone: str | None = None
    """IANA name; for times that come without an offset."""
    secret: bytes | str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Credential:
    """A source's secret in its stored forms (one of the two is set), and the text that is shown once."""

    shown: str = field(repr=False)
    key: bytes | None = field(default=None, repr=False)
    token_hash: str | None = field(default=None, repr=False)


def name_problem(name: str) -> str | None:
    """What is wrong with the name of a source or a token, or None."""
    if _NAME.fullmatch(name):
        return None
    return "the name must be 1 to 64 of a-z, 0-9, '.', '_', '-', and start with a letter or digit"


def check_source(new: NewSource) -> tuple[str, ...] | None:
    """The source's parties, normalised, without repeats. Raises DefinitionInvalid with everything that is wrong."""
    problems = [problem] if (problem := name_problem(new.name)) else []
    if new.role is Role.OPERATOR:
        problems.append("the role operator is a person's at the command line, not a source's")
    if new.auth not in AUTH_SCHEMES:
        problems.append(f"auth must be {' or '.join(AUTH_SCHEMES)}")
    if not _NAME.fullmatch(new.dialect):
        problems.append("the dialect is not a name")
    if not 0 <= new.hold_ms <= MAX_HOLD_MS:
        problems.append("hold must be between 0 and 30 days")
    if not 0 <= new.ahead_hold_ms <= MAX_HOLD_MS:
        problems.append("ahead hold must be between 0 and 30 days")
    if not 0 <= new.skew_ms <= DAY_MS:
        problems.append("skew must be between 0 and 1 day")
    if not 1 <= new.rate <= MAX_RATE:
        problems.append(f"rate must be between 1 and {MAX_RATE} requests a second")
    if new.url is not None and not re.fullmatch(r"https?://[\x21-\x7e]{1,2000}", new.url):
        problems.append("the URL must start with http:// or https:// and hold no spaces")
    parties = _check_parties(new.parties, problems)
    _check_identity(new, problems)
    if problems:
        raise DefinitionInvalid("; ".join(problems))
    return parties


def _check_parties(given: tuple[str, ...] | None, problems: list[str]) -> tuple[str, ...] | None:
    if given is None:
        return None
    parties: dict[str, None] = {}
    for party in given:
        try:
            parties[normalise_id(party)] = None
        except ValueError as error:
            problems.append(f"party {party!r} {error}")
    if not given:
        problems.append("an empty list of parties would see nothing; leave parties out for all")
    if len(given) > MAX_PARTIES:
        problems.append(f"at most {MAX_PARTIES} parties")
    return tuple(parties)


def _check_identity(new: NewSource, problems: list[str]) -> None:
    if new.id_prefix is not None and not re.fullmatch(rf"[\x21-\x7e]{{1,{MAX_ID_PREFIX}}}", new.id_prefix):
        problems.append(f"the id prefix must be 1 to {MAX_ID_PREFIX} visible ASCII characters without spaces")
    if len(new.stores) > MAX_STORES:
        problems.append(f"at most {MAX_STORES} stores")
    for store, party in new.stores.items():
        try:
            if (normalise_id(store), normalise_id(party)) != (store, party):
                problems.append(f"store {store!r}: neither it nor its party may have outer spaces")
        except ValueError as error:
            problems.append(f"store {store!r} or its party {error}")
    if new.zone is not None and not is_zone(new.zone):
        problems.append(f"the zone {new.zone!r} is no IANA name such as America/Bogota")


def is_zone(name: str) -> bool:
    """Whether this is the IANA name of a time zone that this machine knows."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def make_credential(auth: Auth, issued: bytes | str | None) -> Credential:
    """A new credential, or the one that the partner issued. Raises DefinitionInvalid for one that cannot be used."""
    match auth:
        case "bearer":
            return _bearer_credential(issued)
        case "standard-webhooks":
            return _signing_credential(issued)
        case "signature":
            return _issued_key(issued)
        case "header":
            return _hashed_credential(issued, _HEADER_TOKEN, "the token must be 8 to 512 visible ASCII characters")
        case "basic":
            what = "the secret must be user:password, the password of 8 to 256 characters"
            return _hashed_credential(issued, _BASIC, what, prefix="mealtrail:")
        case _:
            raise DefinitionInvalid(f"auth must be {' or '.join(AUTH_SCHEMES)}")


def _signing_credential(issued: bytes | str | None) -> Credential:
    if issued is None:
        key = secrets.token_bytes(NEW_SECRET_BYTES)
    elif isinstance(issued, bytes):
        key = issued
    else:
        key = _decode_secret(issued)
    if len(key) not in _SECRET_BYTES:
        raise DefinitionInvalid(f"the secret has {len(key)} bytes; it must have 16 to 256 (24 to 64 by the standard)")
    return Credential(SECRET_PREFIX + base64.b64encode(key).decode(), key=key)


def _decode_secret(text: str) -> bytes:
    """The key in a Standard Webhooks secret: base64, with or without the prefix, as the standard's libraries read it.

    Those of some languages skip characters outside the alphabet and would sign with another key than those that do
    not; such a secret is refused here rather than failing on every request.
    """
    encoded = text.strip().removeprefix(SECRET_PREFIX).rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DefinitionInvalid(
            f"the secret is not base64, with or without {SECRET_PREFIX} before it; if its text is the key itself, say"
            " that its encoding is raw"
        ) from error


def _bearer_credential(issued: bytes | str | None) -> Credential:
    if issued is None:
        token = new_token("mts")
    else:
        token = (issued.decode("latin-1") if isinstance(issued, bytes) else issued).strip()
        if not _TOKEN.fullmatch(token):
            raise DefinitionInvalid("the token must be 16 to 512 visible ASCII characters without spaces")
    return Credential(token, token_hash=hash_token(token))


def _issued_key(issued: bytes | str | None) -> Credential:
    """A key that is its own text, as partners issue it. A new one is made as text too, so that it can be given out."""
    text = new_token("mtk") if issued is None else issued
    key = text if isinstance(text, bytes) else text.strip().encode()
    if len(key) not in _ISSUED_BYTES:
        raise DefinitionInvalid(f"the secret has {len(key)} bytes; it must have 8 to 512")
    return Credential(key.decode("utf-8", "backslashreplace"), key=key)


def _hashed_credential(
    issued: bytes | str | None, form: re.Pattern[str], problem: str, *, prefix: str = ""
) -> Credential:
    if issued is None:
        text = prefix + new_token("mts")
    else:
        text = (issued.decode("utf-8", "replace") if isinstance(issued, bytes) else issued).strip()
        if not form.fullmatch(text):
            raise DefinitionInvalid(problem)
    return Credential(text, token_hash=hash_token(text))
