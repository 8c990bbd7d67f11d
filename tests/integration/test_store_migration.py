"""The schema: made by migrations, the same as tables.py, and its append-only tables protected."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from structlog.testing import capture_logs

from backbone.store.admin_tables import admin_acts
from backbone.store.engine import Store
from backbone.store.kept_settings import check_partitions, keep_partitions, keep_setting, kept_setting
from backbone.store.migration import REQUIRED_REVISION, check_schema, migrate
from backbone.store.opening import open_store, postgres_store, sqlite_store
from backbone.store.tables import metadata
from schemas.errors import ConfigurationError, PartitionSetInvalid, SchemaOutdated
from tests.support.postgres_databases import DatabaseUrls
from tests.support.stores import embedded_settings, postgres_settings, store

__all__ = ["store"]

ACT = {"workspace": "default", "act_id": "1", "at": 1, "actor": "a", "act": "x", "subject": "s", "detail": "{}"}


async def _insert_act(store: Store) -> None:
    async with store.transaction() as connection:
        await connection.execute(admin_acts.insert().values(ACT))


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, metadata))


async def test_migrations_make_exactly_what_tables_describe(store: Store) -> None:
    """Alembic finds nothing to do, and primary keys have the columns, their order and their names of tables.py."""
    async with store.reading() as connection:
        assert await connection.run_sync(_differences) == []
        keys = dict(await connection.run_sync(lambda sync: inspect(sync).get_multi_pk_constraint()))
    for table in metadata.sorted_tables:
        key = keys[None, table.name]
        assert key["constrained_columns"] == [column.name for column in table.primary_key.columns]
        assert key["name"] == f"pk_{table.name}"


async def test_a_migrated_store_passes_the_check(store: Store) -> None:
    """check_schema accepts what migrate made."""
    await check_schema(store)


async def test_migrating_twice_and_at_once_changes_nothing(tmp_path: Path) -> None:
    """Four migrations at once on an empty directory, then one more: all say the same revision."""
    settings = embedded_settings(tmp_path)
    revisions = await asyncio.gather(*(migrate(settings) for _ in range(4)))
    assert [*revisions, await migrate(settings)] == [REQUIRED_REVISION] * 5


@pytest.mark.postgres
async def test_migrating_at_once_on_postgresql(database_urls: DatabaseUrls) -> None:
    """The same on PostgreSQL, where an advisory lock puts them in line."""
    settings = postgres_settings(database_urls)
    revisions = await asyncio.gather(*(migrate(settings) for _ in range(4)))
    assert [*revisions, await migrate(settings)] == [REQUIRED_REVISION] * 5


async def test_the_number_of_partitions_never_changes(tmp_path: Path) -> None:
    """Nothing is wrong before it is remembered; then another number is refused, with the one to set."""
    settings = embedded_settings(tmp_path)
    await migrate(settings)
    opened = open_store(settings, purpose="service")
    other = settings.model_copy(update={"partitions": 6})
    await check_partitions(opened, other)
    assert await keep_partitions(opened, settings) == settings.partitions
    await check_partitions(opened, settings)
    for attempt in (check_partitions, keep_partitions):
        with pytest.raises(PartitionSetInvalid, match=f"set it to {settings.partitions}"):
            await attempt(opened, other)
    await opened.close()


async def test_an_unmigrated_store_is_outdated(tmp_path: Path) -> None:
    """No schema and an older revision are both told apart from a good one, with what to run."""
    empty = sqlite_store(tmp_path / "store.db")
    with pytest.raises(SchemaOutdated, match="mealtrail migrate"):
        await check_schema(empty)
    async with empty.transaction() as connection:
        await connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        await connection.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
    with pytest.raises(SchemaOutdated, match="0001"):
        await check_schema(empty)
    async with empty.transaction() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await check_schema(empty)
    await empty.close()


@pytest.mark.postgres
async def test_an_unmigrated_postgresql_is_outdated(database_urls: DatabaseUrls) -> None:
    """The runtime role, without any right yet, learns what to run."""
    opened = open_store(postgres_settings(database_urls), purpose="service")
    with pytest.raises(SchemaOutdated, match="mealtrail migrate"):
        await check_schema(opened)
    await opened.close()


async def test_the_first_kept_value_stays(store: Store) -> None:
    """keep_setting answers with what was kept first."""
    assert await kept_setting(store, "partitions") is None
    assert await keep_setting(store, "partitions", "12") == "12"
    assert await keep_setting(store, "partitions", "24") == "12"
    assert await kept_setting(store, "partitions") == "12"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE admin_acts SET actor = 'b'",
        "DELETE FROM admin_acts",
        "INSERT OR REPLACE INTO admin_acts VALUES ('default', '1', 2, 'b', 'x', 's', '{}')",
        "INSERT INTO admin_acts VALUES ('default', '1', 2, 'b', 'x', 's', '{}') ON CONFLICT DO UPDATE SET actor = 'b'",
    ],
)
async def test_sqlite_refuses_changes(tmp_path: Path, statement: str) -> None:
    """No way of changing or removing a row gets past the triggers."""
    await migrate(embedded_settings(tmp_path))
    opened = sqlite_store(tmp_path / "store.db")
    await _insert_act(opened)
    with pytest.raises(IntegrityError, match="append-only"):
        async with opened.transaction() as connection:
            await connection.execute(text(statement))
    async with opened.reading() as connection:
        assert (await connection.execute(admin_acts.select())).one().actor == "a"
    await opened.close()


CHANGES = ["UPDATE {} SET workspace = 'x'", "DELETE FROM {}", "TRUNCATE {}"]


@pytest.mark.postgres
@pytest.mark.parametrize("change", CHANGES)
async def test_postgresql_refuses_the_owner_by_trigger(database_urls: DatabaseUrls, change: str) -> None:
    """The owner has every right and is stopped by the triggers."""
    await migrate(postgres_settings(database_urls))
    opened = postgres_store(database_urls.owner)
    await _insert_act(opened)
    with pytest.raises(IntegrityError, match="append-only"):
        async with opened.transaction() as connection:
            await connection.execute(text(change.format("admin_acts")))
    await opened.close()


@pytest.mark.postgres
@pytest.mark.parametrize("table", ["trail", "admin_acts"])
@pytest.mark.parametrize(
    "change",
    [
        *CHANGES,
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "DROP TABLE {}",
        "INSERT INTO {} SELECT * FROM {} ON CONFLICT ON CONSTRAINT pk_{} DO UPDATE SET workspace = 'x'",
        "CREATE TABLE mine_{} (a int)",
        "SET session_replication_role = replica",
        "DROP FUNCTION mealtrail_refuse_change CASCADE",
    ],
)
async def test_postgresql_gives_the_runtime_role_no_such_right(
    database_urls: DatabaseUrls, table: str, change: str
) -> None:
    """The runtime role may insert and select on the append-only tables, and owns nothing."""
    await migrate(postgres_settings(database_urls))
    opened = postgres_store(database_urls.runtime)
    await _insert_act(opened)
    with pytest.raises(DBAPIError) as refusal:
        async with opened.transaction() as connection:
            await connection.execute(text(change.replace("{}", table)))
    assert getattr(refusal.value.orig, "sqlstate", None) == "42501"
    await opened.close()


@pytest.mark.postgres
async def test_a_missing_runtime_role_is_named(database_urls: DatabaseUrls) -> None:
    """Migrate says which role to create, and leaves nothing half done."""
    urls = DatabaseUrls(database_urls.owner, database_urls.runtime.replace("mealtrail_app", "nobody_such"))
    with pytest.raises(ConfigurationError, match="nobody_such"):
        await migrate(postgres_settings(urls))
    opened = postgres_store(database_urls.owner)
    with pytest.raises(SchemaOutdated):
        await check_schema(opened)
    await opened.close()


@pytest.mark.postgres
async def test_one_role_for_both_is_warned_about(database_urls: DatabaseUrls) -> None:
    """With a single role only triggers protect the trail, and the log says so."""
    with capture_logs() as logs:
        await migrate(postgres_settings(DatabaseUrls(database_urls.owner, database_urls.owner)))
    assert [entry["event"] for entry in logs] == ["runtime_role_owns_schema"]


@pytest.mark.postgres
async def test_without_the_owners_url_a_true_set_up_is_not_warned_about(database_urls: DatabaseUrls) -> None:
    """What counts is who owns the trail, not which URLs a repeated migration was given."""
    await migrate(postgres_settings(database_urls))
    with capture_logs() as logs:
        again = await migrate(postgres_settings(DatabaseUrls(database_urls.runtime, database_urls.runtime)))
    assert again >= REQUIRED_REVISION
    assert logs == []
