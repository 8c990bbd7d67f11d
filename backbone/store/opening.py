"""Opening the store: the engine that the settings ask for, and the limits that the server puts on its sessions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from backbone.settings import Settings
from backbone.store.engine import SQLITE_BUSY_S, Store
from schemas.errors import ConfigurationError

Purpose = Literal["consumer", "service", "owner"]

SERVICE_TIMEOUT_MS = 5000
CONNECT_TIMEOUT_S = 3.0
POOL_TIMEOUT_S = 5.0
COMMAND_GRACE_S = 1.0
"""How much longer than the server's own statement timeout we wait for an answer."""
STORE_FILE = "store.db"


def sqlite_store(path: Path) -> Store:
    """The store in a SQLite file, which is made if absent; its directory must exist. Does no I/O."""
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        # isolation_level None: the driver begins nothing by itself, we do.
        connect_args={"timeout": SQLITE_BUSY_S, "isolation_level": None},
        pool_size=4,
        max_overflow=4,
        pool_timeout=POOL_TIMEOUT_S,
        hide_parameters=True,
    )
    return Store(engine, "sqlite")


def postgres_store(
    url: str,
    *,
    server_settings: Mapping[str, str] = MappingProxyType({}),
    pool_size: int = 10,
    command_timeout_s: float | None = None,
) -> Store:
    """The store in PostgreSQL at `postgresql+asyncpg://…`. Does no I/O.

    `server_settings` are set for each session. `command_timeout_s` bounds every command from this side.
    """
    settings = {
        "application_name": "mealtrail",
        "default_transaction_isolation": "read committed",
        "jit": "off",  # compiling costs more than our short statements take
        **server_settings,
    }
    engine = create_async_engine(
        url,
        connect_args={
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": command_timeout_s,
            "server_settings": settings,
        },
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        hide_parameters=True,  # parameters are personal data and credentials
    )
    return Store(engine, "postgresql")


def open_store(settings: Settings, *, purpose: Purpose) -> Store:
    """The store that the settings name, for one purpose. Does no I/O; the data directory must exist when it is used.

    consumer: the server ends statements, waits for locks and idle transactions after `store_timeout_ms`, and every
    transaction half-way from there to the session timeout, so that a frozen worker cannot block its successor.
    service: statements end after 5 s. owner: the role that owns the schema, without limits.
    """
    if settings.embedded:
        return sqlite_store(settings.data_dir / STORE_FILE)
    url = settings.database_url
    if purpose == "owner" and settings.migrate_database_url is not None:
        url = settings.migrate_database_url
    if url is None:
        raise ConfigurationError("MEALTRAIL_DATABASE_URL is not set")
    name = {"application_name": f"mealtrail-{purpose}"}
    if purpose == "owner":
        return postgres_store(url.get_secret_value(), server_settings=name, pool_size=2)
    limit_ms = settings.store_timeout_ms if purpose == "consumer" else SERVICE_TIMEOUT_MS
    limits = {"statement_timeout": str(limit_ms)}
    if purpose == "consumer":
        limits |= {"lock_timeout": str(limit_ms), "idle_in_transaction_session_timeout": str(limit_ms)}
    store = postgres_store(
        url.get_secret_value(),
        server_settings=name | limits,
        pool_size=settings.database_pool_size,
        command_timeout_s=limit_ms / 1000 + COMMAND_GRACE_S,
    )
    if purpose == "consumer":
        _limit_transactions(store.engine, (limit_ms + settings.kafka_session_timeout_ms) // 2)
    return store


def _limit_transactions(engine: AsyncEngine, limit_ms: int) -> None:
    """From now on the server ends sessions whose transaction is older than the limit, if it can (PostgreSQL 17).

    The other limits have a hole: a client that freezes between preparing a statement and executing it leaves a
    session that counts as busy and not as idle, and that no statement timeout reaches while the server waits for
    its next message. It would keep its locks for as long as the client is frozen.
    """
    command = "SELECT set_config(name, $1, false) FROM pg_settings WHERE name = 'transaction_timeout'"

    def set_limit(dbapi_connection: Any, _record: object) -> None:
        cursor = dbapi_connection.cursor()
        try:
            cursor.execute(command, (str(limit_ms),))
        finally:
            cursor.close()
        dbapi_connection.commit()  # what a transaction sets is unset with it if it does not commit

    event.listen(engine.sync_engine, "connect", set_limit)
