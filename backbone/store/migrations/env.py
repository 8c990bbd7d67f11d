"""What Alembic runs for every command: takes the caller's connection and transaction, and brings none of its own."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from backbone.store.tables import metadata

connection = context.config.attributes.get("connection")
if not isinstance(connection, Connection):
    raise TypeError("migrations run through backbone.store.migration, which passes the connection")
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
