"""Accounts, their store locations, and the session tokens of both, for the StoreHarmony API. Only adds tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def _text(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=null)


def _time(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=null)


def upgrade() -> None:
    op.create_table(
        "accounts",
        _text("workspace"),
        _text("account_id"),
        _text("name"),
        _time("created_at"),
        _time("disabled_at", null=True),
        sa.PrimaryKeyConstraint("workspace", "account_id", name="pk_accounts"),
        sa.UniqueConstraint("workspace", "name", name="uq_accounts_workspace_name"),
    )
    op.create_table(
        "store_locations",
        _text("workspace"),
        _text("store_id"),
        _text("account_id"),
        _text("request_digest"),
        _text("profile"),
        _time("created_at"),
        sa.PrimaryKeyConstraint("workspace", "store_id", name="pk_store_locations"),
        sa.UniqueConstraint(
            "workspace",
            "account_id",
            "request_digest",
            name="uq_store_locations_workspace_account_id_request_digest",
        ),
    )
    op.create_table(
        "account_sessions",
        _text("workspace"),
        _text("session_id"),
        _text("account_id"),
        _text("store_id", null=True),
        _text("token_hash"),
        _time("created_at"),
        sa.PrimaryKeyConstraint("workspace", "session_id", name="pk_account_sessions"),
        sa.UniqueConstraint("token_hash", name="uq_account_sessions_token_hash"),
    )
    op.create_index(
        "ix_account_sessions_workspace_account_id", "account_sessions", ["workspace", "account_id", "store_id"]
    )
