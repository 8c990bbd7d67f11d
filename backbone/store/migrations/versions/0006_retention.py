"""How far the retention of each class of data has looked, by partition. Only adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    for name in ("payloads_kept_from", "personal_kept_from"):
        op.add_column("offsets", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
