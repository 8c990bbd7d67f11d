"""A source as requests know it, read from its row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from sqlalchemy import RowMapping

from backbone.store.definitions import Auth
from schemas.records import DEFAULT_AHEAD_HOLD_MS
from schemas.statuses import Policy, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a request needs of its source. Secrets are in clear here and do not show in its repr."""

    workspace: str
    uid: str
    name: str
    dialect: str
    role: Role
    parties: tuple[str, ...] | None
    policy: Policy
    hold_ms: int
    skew_ms: int
    rate: int
    auth: Auth
    url: str | None
    receipt_key: bytes = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    """Live signing keys, newest first."""
    token_hashes: tuple[str, ...] = field(repr=False)
    """Hashes of live bearer tokens, newest first."""
    created_at: int
    disabled_at: int | None
    ahead_hold_ms: int = DEFAULT_AHEAD_HOLD_MS
    """Of the strict policy: how long events that skip a status wait."""
    id_prefix: str | None = None
    stores: Mapping[str, str] = field(default_factory=dict)
    zone: str | None = None
    sealed: tuple[str, ...] = ()
    """What of it does not open, such as `key 'k1' missing`. Its receipt key is empty then, if that is among it."""


def read_source(
    row: RowMapping, receipt_key: bytes, keys: tuple[bytes, ...], hashes: tuple[str, ...], sealed: tuple[str, ...]
) -> Source:
    """The source of a row of `sources`, with what was opened of it and what was not."""
    return Source(
        workspace=row["workspace"],
        uid=row["uid"],
        name=row["name"],
        dialect=row["dialect"],
        role=Role(row["role"]),
        parties=None if row["parties"] is None else tuple(orjson.loads(row["parties"])),
        policy=Policy(row["policy"]),
        hold_ms=row["hold_ms"],
        skew_ms=row["skew_ms"],
        rate=row["rate"],
        auth=row["auth"],
        url=row["url"],
        receipt_key=receipt_key,
        secrets=keys,
        token_hashes=hashes,
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
        ahead_hold_ms=row["ahead_hold_ms"],
        id_prefix=row["id_prefix"],
        stores={} if row["stores"] is None else orjson.loads(row["stores"]),
        zone=row["zone"],
        sealed=sealed,
    )
