"""Dead letters with what their release needs, attempts by pair, claims. Only adds, but for `attempts`, which no release
has written yet.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def upgrade() -> None:
    op.add_column("offsets", _number("dead_seq"))
    op.add_column("offsets", _number("dead_published"))
    op.add_column("offsets", sa.Column("claims", sa.Integer, nullable=False, server_default="0"))
    op.add_column("held_events", sa.Column("content_digest", sa.Text))
    op.add_column("dead_letters", sa.Column("parks", sa.Text, nullable=False, server_default="order"))
    for name in ("source_uid", "digest", "content_digest"):
        op.add_column("dead_letters", sa.Column(name, sa.Text))
    op.add_column("dead_letters", _number("received_ms"))
    op.add_column("dead_letters", _number("set_aside_ms"))
    op.create_index("ix_dead_letters_workspace_order_id", "dead_letters", ["workspace", "order_id"])
    op.drop_table("attempts")
    op.create_table(
        "attempts",
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("in_hand_offset", sa.BigInteger, nullable=False),
        sa.Column("event_offset", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("partition", "in_hand_offset", "event_offset", name="pk_attempts"),
    )
