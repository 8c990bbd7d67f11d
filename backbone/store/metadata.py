"""What all tables share: the naming of constraints, and the workspace that a tenant's keys start with."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, Text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def workspace_column() -> Column[str]:
    """The first column of a tenant's primary key; each table needs one of its own."""
    return Column("workspace", Text, primary_key=True)
