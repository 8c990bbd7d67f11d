"""Migrated stores for tests, one on each database, as the service itself would open them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from backbone.settings import Settings
from backbone.store.engine import Store
from backbone.store.migration import migrate
from backbone.store.opening import open_store
from tests.support.postgres_databases import DatabaseUrls

KEYS = "test:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def embedded_settings(data_dir: Path) -> Settings:
    """Settings of the embedded default, whatever the environment says."""
    return Settings.model_validate({"data_dir": data_dir, "kafka_bootstrap_servers": None, "database_url": None})


def postgres_settings(urls: DatabaseUrls, *, store_timeout_ms: int = 3000) -> Settings:
    """Settings that name a database by its two roles; the Kafka address is never used."""
    return Settings.model_validate(
        {
            "kafka_bootstrap_servers": "127.0.0.1:1",
            "database_url": urls.runtime,
            "migrate_database_url": urls.owner,
            "secret_keys": KEYS,
            "store_timeout_ms": store_timeout_ms,
        }
    )


async def migrated_sqlite(tmp_path: Path) -> Store:
    """A migrated store in a file below `tmp_path`. The caller closes it."""
    settings = embedded_settings(tmp_path)
    await migrate(settings)
    return open_store(settings, purpose="service")


async def migrated_postgres(database_urls: DatabaseUrls) -> Store:
    """A migrated store in PostgreSQL, opened as the runtime role. The caller closes it."""
    settings = postgres_settings(database_urls)
    await migrate(settings)
    return open_store(settings, purpose="consumer")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A migrated store, on each of the two databases in turn. Import it into a test module to use it."""
    if request.param == "sqlite":
        opened = await migrated_sqlite(tmp_path)
    else:
        opened = await migrated_postgres(cast("DatabaseUrls", request.getfixturevalue("database_urls")))
    yield opened
    await opened.close()
