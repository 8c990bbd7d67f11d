"""Bringing a store's schema up to this release, and the runtime role's rights."""

from __future__ import annotations

from pathlib import Path

import structlog
from sqlalchemy import Connection, func, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.settings import Settings
from backbone.store.engine import Store
from backbone.store.metadata import metadata
from backbone.store.opening import open_store
from backbone.store.tables import APPEND_ONLY, trail
from schemas.errors import ConfigurationError, SchemaOutdated

REQUIRED_REVISION = "0007"
"""The oldest revision this release works with; newer ones only expanded and are fine."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION_TABLE = "alembic_version"
_LOCK = 0x6D65616C  # "meal": the advisory lock of everybody who migrates

_log = structlog.get_logger(__name__)


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - slow to import, and only migrations need it
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def _revision(connection: AsyncConnection) -> str | None:
    if not await connection.run_sync(lambda sync: inspect(sync).has_table(_VERSION_TABLE)):
        return None
    found = await connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}"))  # noqa: S608 - a constant
    return found.scalar_one_or_none()


async def _grant(connection: AsyncConnection, runtime: str) -> None:
    """Give the runtime role what it needs on our tables and nothing else. May be repeated."""
    acting, schema = (await connection.execute(select(func.current_user(), func.current_schema()))).one()
    owner = await connection.scalar(
        text("SELECT tableowner FROM pg_tables WHERE schemaname = current_schema() AND tablename = :trail"),
        {"trail": trail.name},
    )
    if runtime == acting != owner:
        return  # the owner granted its rights when it migrated; it cannot do so itself
    if runtime == owner:
        _log.warning(
            "runtime_role_owns_schema",
            role=owner,
            note="the audit trail is protected by triggers only; give MEALTRAIL_MIGRATE_DATABASE_URL a role of its own",
        )
        return
    known = await connection.execute(
        text("SELECT rolsuper OR pg_has_role(rolname, current_user, 'MEMBER') FROM pg_roles WHERE rolname = :role"),
        {"role": runtime},
    )
    powerful = known.scalar_one_or_none()
    if powerful is None:
        raise ConfigurationError(
            f"the role {runtime!r} of MEALTRAIL_DATABASE_URL does not exist; create it: CREATE ROLE {runtime} LOGIN …"
        )
    if powerful:
        _log.warning("runtime_role_is_powerful", role=runtime, note="it can undo the trail's protection")
    quote = connection.dialect.identifier_preparer.quote_identifier
    role = quote(runtime)
    await connection.execute(text(f"GRANT USAGE ON SCHEMA {quote(schema)} TO {role}"))
    tables = {table.name: "SELECT, INSERT, UPDATE, DELETE" for table in metadata.sorted_tables}
    tables |= {table.name: "SELECT, INSERT" for table in APPEND_ONLY} | {_VERSION_TABLE: "SELECT"}
    for name, rights in tables.items():
        await connection.execute(text(f"REVOKE ALL ON {quote(name)} FROM PUBLIC, {role}"))
        await connection.execute(text(f"GRANT {rights} ON {quote(name)} TO {role}"))


async def migrate(settings: Settings) -> str:
    """Upgrade the store to this release's schema with the owner role, and give the runtime role its rights.

    Returns the revision reached. One transaction, so it happens whole or not at all; may be repeated, and several at
    once wait for each other. Raises StoreUnavailable, and ConfigurationError when the runtime role does not exist.
    """
    store = open_store(settings, purpose="owner")
    try:
        async with store.transaction() as connection:
            if store.dialect == "postgresql":
                await connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            await connection.run_sync(_upgrade)
            if store.dialect == "postgresql" and settings.database_url is not None:
                await _grant(connection, make_url(settings.database_url.get_secret_value()).username or "")
            revision = await _revision(connection)
    finally:
        await store.close()
    if revision is None:
        raise SchemaOutdated("the migration left no revision behind")
    return revision


async def check_schema(store: Store) -> None:
    """Raise SchemaOutdated unless the store has at least the revision this release needs."""
    try:
        async with store.reading() as connection:
            revision = await _revision(connection)
    except ProgrammingError as error:
        raise SchemaOutdated("the store's revision cannot be read with this role; run `mealtrail migrate`") from error
    if revision is None:
        raise SchemaOutdated("the store has no schema; run `mealtrail migrate`")
    if revision < REQUIRED_REVISION:
        raise SchemaOutdated(
            f"the store is at revision {revision}, this release needs {REQUIRED_REVISION}; run `mealtrail migrate`"
        )
