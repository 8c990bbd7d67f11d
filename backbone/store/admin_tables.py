"""The tables of administration: who may post and read, who was turned away, and who changed what.

Secrets are encrypted or hashed, never plain. No decision reads a table of these: what a decision needs of a source is
stamped on its records. Rules that hold for all tables stand in `backbone.store.tables`, which has these by name too.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, UniqueConstraint

from backbone.store.metadata import metadata, workspace_column

sources = Table(
    "sources",
    metadata,
    workspace_column(),
    Column("uid", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("parties", Text),  # JSON list; NULL is all
    Column("policy", Text, nullable=False),
    Column("hold_ms", BigInteger, nullable=False),
    Column("skew_ms", BigInteger, nullable=False),
    Column("ahead_hold_ms", BigInteger, nullable=False, server_default="30000"),
    Column("rate", Integer, nullable=False),  # requests a second
    Column("auth", Text, nullable=False),  # standard-webhooks | bearer | signature | header | basic
    Column("url", Text),
    Column("id_prefix", Text),  # put before the order ids that it names
    Column("stores", Text),  # JSON {the partner's store id: our party}
    Column("zone", Text),  # IANA name; for times without an offset
    Column("receipt_key", LargeBinary, nullable=False),  # encrypted
    Column("receipt_key_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    UniqueConstraint("workspace", "name"),
)

source_credentials = Table(
    "source_credentials",
    metadata,
    workspace_column(),
    Column("source_uid", Text, primary_key=True),
    Column("credential_id", Text, primary_key=True),
    Column("secret", LargeBinary),  # encrypted; for signatures
    Column("key_id", Text),
    Column("token_hash", Text),  # for bearer tokens
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    UniqueConstraint("token_hash"),
)

tokens = Table(
    "tokens",
    metadata,
    workspace_column(),
    Column("name", Text, primary_key=True),
    Column("token_hash", Text, nullable=False),
    Column("scope", Text, nullable=False),  # read | write | admin
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    UniqueConstraint("token_hash"),
)

accounts = Table(
    "accounts",
    metadata,
    workspace_column(),
    Column("account_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    UniqueConstraint("workspace", "name"),
)

store_locations = Table(
    "store_locations",
    metadata,
    workspace_column(),
    Column("store_id", Text, primary_key=True),  # also the restaurant party that orders name
    Column("account_id", Text, nullable=False),
    Column("request_digest", Text, nullable=False),  # of the canonical body: a retried creation finds it
    Column("profile", Text, nullable=False),  # JSON: the documented members as they were given
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("workspace", "account_id", "request_digest"),
)

account_sessions = Table(
    "account_sessions",
    metadata,
    workspace_column(),
    Column("session_id", Text, primary_key=True),
    Column("account_id", Text, nullable=False),
    Column("store_id", Text),  # NULL: the account's own token, good for all its stores
    Column("token_hash", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("token_hash"),
    Index("ix_account_sessions_workspace_account_id", "workspace", "account_id", "store_id"),
)

refusals = Table(
    "refusals",
    metadata,
    workspace_column(),
    Column("source", Text, primary_key=True),  # a known source's name, or '?': bounded by what exists
    Column("reason", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("last_remote", Text),
)

admin_acts = Table(
    "admin_acts",
    metadata,
    workspace_column(),
    Column("act_id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),  # JSON, no secrets
)
