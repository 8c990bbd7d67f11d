"""The tables of what was set aside, and of the tries before it. Rules that hold for all tables stand in
`backbone.store.tables`, which has these by name too.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, UniqueConstraint

from backbone.store.metadata import metadata, workspace_column

# Pairs set aside: while the record at `in_hand_offset` was applied, deciding the event at `event_offset` failed.
dead_letters = Table(
    "dead_letters",
    metadata,
    workspace_column(),
    Column("partition", Integer, primary_key=True),
    Column("in_hand_offset", BigInteger, primary_key=True),
    Column("event_offset", BigInteger, primary_key=True),
    Column("seq", BigInteger, nullable=False),  # counts per partition; the dead-letters topic's cursor
    Column("order_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("state", Text, nullable=False),  # open | replayed | discarded
    Column("parks", Text, nullable=False, server_default="order"),  # order | source | nothing: whose events wait
    Column("source_uid", Text),  # of the event, where it could be read
    Column("digest", Text),  # of the event's receipt
    Column("content_digest", Text),  # of the event's own fields
    Column("received_ms", BigInteger, nullable=False, server_default="0"),  # log time of the event
    Column("set_aside_ms", BigInteger, nullable=False, server_default="0"),  # the watermark then
    Column("error", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("record", LargeBinary),
    UniqueConstraint("workspace", "partition", "seq"),
    Index("ix_dead_letters_workspace_order_id", "workspace", "order_id"),
)

# Tries of a pair that failed so far; counted before each further one, so that a try that kills the process counts too.
attempts = Table(
    "attempts",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("in_hand_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("event_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
)
