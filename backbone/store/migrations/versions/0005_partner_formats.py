"""What partners' formats need of a source, the strict policy's hold, and couriers' latest positions. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("sources", sa.Column("ahead_hold_ms", sa.BigInteger, nullable=False, server_default="30000"))
    for name in ("id_prefix", "stores", "zone"):
        op.add_column("sources", sa.Column(name, sa.Text))
    op.create_table(
        "courier_positions",
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("source_uid", sa.Text, nullable=False),
        sa.Column("latitude", sa.Float, nullable=False),
        sa.Column("longitude", sa.Float, nullable=False),
        sa.Column("occurred_us", sa.BigInteger),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("workspace", "order_id", "source_uid", name="pk_courier_positions"),
    )
