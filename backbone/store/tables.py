"""The tables, the same on PostgreSQL and SQLite. Migrations make them; nothing creates them at run time.

Every primary key starts with the workspace, except where a row belongs to a partition of the log and not to a tenant:
the log's bookkeeping (`offsets`, `attempts`, `kept_settings`) and the `trail`, whose numbers and hashes run through the
whole partition. Times are integers: `_ms` is log time in milliseconds,
`_us` a sender's claim in microseconds; `_at` are wall-clock times of administration, in milliseconds, and no decision
reads them. JSON is kept as text.

Three classes of data lie apart, so that one can be erased while the others still verify:
 - the trail and the bookkeeping around it: ids, statuses, digests, nothing personal;
 - personal data: `order_details`, `event_payloads`, `held_events.record`, `dead_letters.record`,
   `courier_positions`;
 - administration (`backbone.store.admin_tables`): sources, credentials (encrypted or hashed), tokens, accounts
   with their stores and sessions (hashed), refusals, acts.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
)

from backbone.store.admin_tables import (
    account_sessions,
    accounts,
    admin_acts,
    refusals,
    source_credentials,
    sources,
    store_locations,
    tokens,
)
from backbone.store.dead_letter_tables import attempts, dead_letters
from backbone.store.metadata import metadata, workspace_column

__all__ = [
    "APPEND_ONLY",
    "account_sessions",
    "accounts",
    "admin_acts",
    "attempts",
    "courier_positions",
    "dead_letters",
    "event_payloads",
    "held_events",
    "kept_settings",
    "metadata",
    "offsets",
    "order_details",
    "order_external_ids",
    "order_parties",
    "orders",
    "receipts",
    "refusals",
    "reused_event_ids",
    "source_credentials",
    "sources",
    "store_locations",
    "tokens",
    "trail",
]

offsets = Table(
    "offsets",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("next", BigInteger, nullable=False),  # the fence: the offset the next transaction must start at
    Column("watermark_ms", BigInteger, nullable=False),
    Column("published", BigInteger, nullable=False),  # last trail seq the outcomes topic acknowledged
    Column("last_event_id", Text),  # of the record at next - 1
    Column("seq", BigInteger, nullable=False),  # head of the trail's chain
    Column("hash", LargeBinary, nullable=False),
    Column("dead_seq", BigInteger, nullable=False, server_default="0"),  # number of the last dead letter
    Column("dead_published", BigInteger, nullable=False, server_default="0"),  # as `published`, of dead letters
    Column("claims", Integer, nullable=False, server_default="0"),  # owners since the offset moved or was let go
    Column("payloads_kept_from", BigInteger, nullable=False, server_default="0"),  # retention looked at all before it
    Column("personal_kept_from", BigInteger, nullable=False, server_default="0"),
)

kept_settings = Table(
    "kept_settings",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    workspace_column(),
    Column("order_id", Text, primary_key=True),
    Column("partition", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("fulfilment", Text),
    Column("restaurant", Text),
    Column("courier", Text),
    Column("marketplace", Text),
    Column("former", Text, nullable=False),  # JSON {slot: [party, …]}: parties that were replaced
    Column("revision", Integer, nullable=False),  # counts changes by operators and amendments
    Column("decision_state", Text, nullable=False),  # JSON that decisions read (consumers.order_rows)
    Column("announced_ms", BigInteger, nullable=False),
    Column("placed_us", BigInteger),
    Column("step_received_ms", BigInteger, nullable=False),  # log time of the event that brought the status
    Column("step_occurred_us", BigInteger),
    Column("parked", Boolean, nullable=False),  # an event of it is set aside, and all others wait
    Index("ix_orders_workspace_announced_ms", "workspace", "announced_ms", "order_id"),
    Index("ix_orders_workspace_status", "workspace", "status", "announced_ms", "order_id"),
)

order_parties = Table(
    "order_parties",
    metadata,
    workspace_column(),
    Column("slot", Text, primary_key=True),
    Column("party", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("former", Boolean, nullable=False),
    Column("announced_ms", BigInteger, nullable=False),
    Index("ix_order_parties_listing", "workspace", "slot", "party", "announced_ms", "order_id"),
    Index("ix_order_parties_workspace_order_id", "workspace", "order_id"),
)

order_external_ids = Table(
    "order_external_ids",
    metadata,
    workspace_column(),
    Column("external_id", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Index("ix_order_external_ids_workspace_order_id", "workspace", "order_id"),
)

order_details = Table(
    "order_details",
    metadata,
    workspace_column(),
    Column("order_id", Text, primary_key=True),
    Column("details", Text, nullable=False),
    Column("erased", Boolean, nullable=False),
)

trail = Table(
    "trail",
    metadata,
    Column("partition", Integer, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("workspace", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("source_uid", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text),
    Column("reported_status", Text),
    Column("fact", Text),
    Column("from_status", Text),
    Column("to_status", Text),
    Column("occurred_us", BigInteger),
    Column("occurred_mark", Text),
    Column("received_ms", BigInteger, nullable=False),
    Column("decided_ms", BigInteger, nullable=False),
    Column("previous_received_ms", BigInteger),
    Column("previous_occurred_us", BigInteger),
    Column("inferred", Boolean, nullable=False),
    Column("foreign", Boolean, nullable=False),
    Column("restaurant", Text),
    Column("courier", Text),
    Column("marketplace", Text),
    Column("fulfilment", Text),
    Column("offset", BigInteger, nullable=False),
    Column("payload_digest", Text, nullable=False),
    CheckConstraint("partition >= 0 AND seq >= 1", name="ck_trail_numbers"),
    Index("ix_trail_workspace_order_id", "workspace", "order_id", "seq"),
)

event_payloads = Table(
    "event_payloads",
    metadata,
    workspace_column(),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("payload", LargeBinary),
    Column("salt", Text),
    Column("comment", Text),
    Column("cancel_reason", Text),
    Column("attributes", Text, nullable=False),  # JSON list
    Index("ix_event_payloads_workspace_order_id", "workspace", "order_id"),
)

receipts = Table(
    "receipts",
    metadata,
    workspace_column(),
    Column("digest", Text, primary_key=True),  # (source, order, event id) under the source's key: the dedup key
    Column("order_id", Text, nullable=False),
    Column("source_uid", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("first_offset", BigInteger, nullable=False),
    Column("first_received_ms", BigInteger, nullable=False),
    Column("last_offset", BigInteger, nullable=False),  # of the latest attempt
    Column("content_digest", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("verdict", Text),
    Column("reason", Text),
    Column("from_status", Text),
    Column("to_status", Text),
    Column("foreign", Boolean, nullable=False),
    Column("revision", Integer, nullable=False),  # the order's when the latest attempt ended
    Column("repeats", Integer, nullable=False),
    Column("decided_ms", BigInteger),
)

reused_event_ids = Table(
    "reused_event_ids",
    metadata,
    workspace_column(),
    Column("digest", Text, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("partition", Integer, nullable=False),
    Column("content_digest", Text, nullable=False),
    Column("repeat", Boolean, nullable=False),  # of an event that was refused so before
)

held_events = Table(
    "held_events",
    metadata,
    workspace_column(),
    Column("partition", Integer, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("source_uid", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("kind", Text, nullable=False),  # why it waits: foreign (or unknown) | ahead (strict) | parked
    Column("deadline_ms", BigInteger),  # None: waits without deadline
    Column("content_digest", Text),  # of the event's own fields, as they came
    Column("received_ms", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Index("ix_held_events_partition_deadline_ms", "partition", "deadline_ms"),
    Index("ix_held_events_partition_source_uid", "partition", "source_uid"),
    Index("ix_held_events_workspace_order_id", "workspace", "order_id"),
)

courier_positions = Table(
    "courier_positions",
    metadata,
    workspace_column(),
    Column("order_id", Text, primary_key=True),
    Column("source_uid", Text, primary_key=True),
    Column("latitude", Float, nullable=False),
    Column("longitude", Float, nullable=False),
    Column("occurred_us", BigInteger),
    Column("received_at", BigInteger, nullable=False),
)

APPEND_ONLY: tuple[Table, ...] = (trail, admin_acts)
"""The runtime role may INSERT and SELECT here, nothing more; triggers refuse the rest to everybody."""
