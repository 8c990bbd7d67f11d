"""All tables as the first release has them; what they mean stands in `backbone.store.tables`."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _text(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=null)


def _integer(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer, nullable=False, autoincrement=False)


def _bigint(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=null, autoincrement=False)


def _bytes(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary, nullable=null)


def _boolean(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean, nullable=False)


def _create_bookkeeping() -> None:
    op.create_table(
        "offsets",
        _integer("partition"),
        _bigint("next"),
        _bigint("watermark_ms"),
        _bigint("published"),
        _text("last_event_id", null=True),
        _bigint("seq"),
        _bytes("hash"),
        sa.PrimaryKeyConstraint("partition", name="pk_offsets"),
    )
    op.create_table(
        "kept_settings",
        _text("name"),
        _text("value"),
        sa.PrimaryKeyConstraint("name", name="pk_kept_settings"),
    )
    op.create_table(
        "attempts",
        _integer("partition"),
        _bigint("offset"),
        _integer("attempts"),
        _text("error", null=True),
        sa.PrimaryKeyConstraint("partition", "offset", name="pk_attempts"),
    )


def _create_orders() -> None:
    op.create_table(
        "orders",
        _text("workspace"),
        _text("order_id"),
        _integer("partition"),
        _text("status"),
        _text("fulfilment", null=True),
        _text("restaurant", null=True),
        _text("courier", null=True),
        _text("marketplace", null=True),
        _text("former"),
        _integer("revision"),
        _text("decision_state"),
        _bigint("announced_ms"),
        _bigint("placed_us", null=True),
        _bigint("step_received_ms"),
        _bigint("step_occurred_us", null=True),
        _boolean("parked"),
        sa.PrimaryKeyConstraint("workspace", "order_id", name="pk_orders"),
    )
    op.create_index("ix_orders_workspace_announced_ms", "orders", ["workspace", "announced_ms", "order_id"])
    op.create_table(
        "order_parties",
        _text("workspace"),
        _text("slot"),
        _text("party"),
        _text("order_id"),
        _boolean("former"),
        _bigint("announced_ms"),
        sa.PrimaryKeyConstraint("workspace", "slot", "party", "order_id", name="pk_order_parties"),
    )
    op.create_index(
        "ix_order_parties_listing", "order_parties", ["workspace", "slot", "party", "announced_ms", "order_id"]
    )
    op.create_index("ix_order_parties_workspace_order_id", "order_parties", ["workspace", "order_id"])
    op.create_table(
        "order_external_ids",
        _text("workspace"),
        _text("external_id"),
        _text("order_id"),
        sa.PrimaryKeyConstraint("workspace", "external_id", "order_id", name="pk_order_external_ids"),
    )
    op.create_index("ix_order_external_ids_workspace_order_id", "order_external_ids", ["workspace", "order_id"])
    op.create_table(
        "order_details",
        _text("workspace"),
        _text("order_id"),
        _text("details"),
        _boolean("erased"),
        sa.PrimaryKeyConstraint("workspace", "order_id", name="pk_order_details"),
    )


def _create_trail() -> None:
    op.create_table(
        "trail",
        _integer("partition"),
        _bigint("seq"),
        _text("workspace"),
        _bytes("hash"),
        _text("order_id"),
        _text("event_id"),
        _text("event_type"),
        _text("source"),
        _text("source_uid"),
        _text("role"),
        _text("verdict"),
        _text("reason", null=True),
        _text("reported_status", null=True),
        _text("fact", null=True),
        _text("from_status", null=True),
        _text("to_status", null=True),
        _bigint("occurred_us", null=True),
        _text("occurred_mark", null=True),
        _bigint("received_ms"),
        _bigint("decided_ms"),
        _bigint("previous_received_ms", null=True),
        _bigint("previous_occurred_us", null=True),
        _boolean("inferred"),
        _boolean("foreign"),
        _text("restaurant", null=True),
        _text("courier", null=True),
        _text("marketplace", null=True),
        _text("fulfilment", null=True),
        _bigint("offset"),
        _text("payload_digest"),
        sa.PrimaryKeyConstraint("partition", "seq", name="pk_trail"),
        sa.CheckConstraint("partition >= 0 AND seq >= 1", name="ck_trail_numbers"),
    )
    op.create_index("ix_trail_workspace_order_id", "trail", ["workspace", "order_id", "seq"])
    op.create_table(
        "event_payloads",
        _text("workspace"),
        _integer("partition"),
        _bigint("offset"),
        _text("order_id"),
        _bytes("payload", null=True),
        _text("salt", null=True),
        _text("comment", null=True),
        _text("cancel_reason", null=True),
        _text("attributes"),
        sa.PrimaryKeyConstraint("workspace", "partition", "offset", name="pk_event_payloads"),
    )
    op.create_index("ix_event_payloads_workspace_order_id", "event_payloads", ["workspace", "order_id"])


def _create_receipts() -> None:
    op.create_table(
        "receipts",
        _text("workspace"),
        _text("digest"),
        _text("order_id"),
        _text("source_uid"),
        _text("event_id"),
        _integer("partition"),
        _bigint("first_offset"),
        _bigint("first_received_ms"),
        _bigint("last_offset"),
        _text("content_digest"),
        _text("state"),
        _text("verdict", null=True),
        _text("reason", null=True),
        _text("from_status", null=True),
        _text("to_status", null=True),
        _boolean("foreign"),
        _integer("revision"),
        _integer("repeats"),
        _bigint("decided_ms", null=True),
        sa.PrimaryKeyConstraint("workspace", "digest", name="pk_receipts"),
    )
    op.create_table(
        "reused_event_ids",
        _text("workspace"),
        _text("digest"),
        _bigint("offset"),
        _integer("partition"),
        _text("content_digest"),
        _boolean("repeat"),
        sa.PrimaryKeyConstraint("workspace", "digest", "offset", name="pk_reused_event_ids"),
    )
    op.create_table(
        "held_events",
        _text("workspace"),
        _integer("partition"),
        _bigint("offset"),
        _text("order_id"),
        _text("source_uid"),
        _text("digest"),
        _text("kind"),
        _bigint("deadline_ms", null=True),
        _bigint("received_ms"),
        _bytes("record"),
        sa.PrimaryKeyConstraint("workspace", "partition", "offset", name="pk_held_events"),
    )
    op.create_index("ix_held_events_partition_deadline_ms", "held_events", ["partition", "deadline_ms"])
    op.create_index("ix_held_events_partition_source_uid", "held_events", ["partition", "source_uid"])
    op.create_index("ix_held_events_workspace_order_id", "held_events", ["workspace", "order_id"])
    op.create_table(
        "dead_letters",
        _text("workspace"),
        _integer("partition"),
        _bigint("in_hand_offset"),
        _bigint("event_offset"),
        _bigint("seq"),
        _text("order_id"),
        _text("event_id"),
        _text("state"),
        _text("error"),
        _integer("attempts"),
        _bytes("record", null=True),
        sa.PrimaryKeyConstraint("workspace", "partition", "in_hand_offset", "event_offset", name="pk_dead_letters"),
        sa.UniqueConstraint("workspace", "partition", "seq", name="uq_dead_letters_workspace_partition_seq"),
    )


def _create_administration() -> None:
    op.create_table(
        "sources",
        _text("workspace"),
        _text("uid"),
        _text("name"),
        _text("dialect"),
        _text("role"),
        _text("parties", null=True),
        _text("policy"),
        _bigint("hold_ms"),
        _bigint("skew_ms"),
        _integer("rate"),
        _text("auth"),
        _text("url", null=True),
        _bytes("receipt_key"),
        _text("receipt_key_id"),
        _bigint("created_at"),
        _bigint("disabled_at", null=True),
        sa.PrimaryKeyConstraint("workspace", "uid", name="pk_sources"),
        sa.UniqueConstraint("workspace", "name", name="uq_sources_workspace_name"),
    )
    op.create_table(
        "source_credentials",
        _text("workspace"),
        _text("source_uid"),
        _text("credential_id"),
        _bytes("secret", null=True),
        _text("key_id", null=True),
        _text("token_hash", null=True),
        _bigint("created_at"),
        _bigint("expires_at", null=True),
        sa.PrimaryKeyConstraint("workspace", "source_uid", "credential_id", name="pk_source_credentials"),
        sa.UniqueConstraint("token_hash", name="uq_source_credentials_token_hash"),
    )
    op.create_table(
        "tokens",
        _text("workspace"),
        _text("name"),
        _text("token_hash"),
        _text("scope"),
        _bigint("created_at"),
        _bigint("revoked_at", null=True),
        sa.PrimaryKeyConstraint("workspace", "name", name="pk_tokens"),
        sa.UniqueConstraint("token_hash", name="uq_tokens_token_hash"),
    )
    op.create_table(
        "refusals",
        _text("workspace"),
        _text("source"),
        _text("reason"),
        _bigint("count"),
        _bigint("first_at"),
        _bigint("last_at"),
        _text("last_remote", null=True),
        sa.PrimaryKeyConstraint("workspace", "source", "reason", name="pk_refusals"),
    )
    op.create_table(
        "admin_acts",
        _text("workspace"),
        _text("act_id"),
        _bigint("at"),
        _text("actor"),
        _text("act"),
        _text("subject"),
        _text("detail"),
        sa.PrimaryKeyConstraint("workspace", "act_id", name="pk_admin_acts"),
    )


def upgrade() -> None:
    _create_bookkeeping()
    _create_orders()
    _create_trail()
    _create_receipts()
    _create_administration()
