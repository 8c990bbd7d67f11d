"""The two roles of production on a test's PostgreSQL server, and fresh databases for tests.

`mealtrail_owner` owns a test's database; `mealtrail_app` may log in and nothing else until migrations grant more.
Neither is a superuser. All calls block and may be made inside or outside a running loop: connections used here live
in a thread of their own.
"""

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

OWNER, RUNTIME = "mealtrail_owner", "mealtrail_app"
# A fixed password: these servers live on loopback for the length of a test run.
PASSWORD = "mealtrail"


@dataclass(frozen=True)
class DatabaseUrls:
    """One database, seen by the role that owns it and by the role that the service runs as."""

    owner: str
    runtime: str


def _blocking(make: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine to its end in a thread of its own, where no loop runs yet."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(make())).result()


def _plain(url: str) -> str:
    """The URL as asyncpg wants it: without SQLAlchemy's driver name."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


def ask(admin_url: str) -> None:
    """Connect once and ask something; raises what asyncpg or the network raises when that fails."""
    _blocking(lambda: _execute(admin_url, "SELECT 1"))


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(_plain(url), timeout=10)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close(timeout=10)


def _url_for(admin_url: str, role: str, database: str) -> str:
    host = urlsplit(admin_url).netloc.rpartition("@")[2]
    return f"postgresql+asyncpg://{role}:{PASSWORD}@{host}/{database}"


def _at_database(admin_url: str, database: str) -> str:
    return urlunsplit(urlsplit(admin_url)._replace(path=f"/{database}"))


def make_roles(admin_url: str) -> None:
    """Make the owner and the runtime role, or set their passwords where they exist. May be repeated."""
    rights = f"LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD '{PASSWORD}'"
    for role in (OWNER, RUNTIME):
        statement = f"""
            DO $$ BEGIN
                CREATE ROLE {role} {rights};
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                ALTER ROLE {role} {rights};
            END $$"""
        _blocking(lambda statement=statement: _execute(admin_url, statement))  # type: ignore[misc]


def create_database(admin_url: str) -> DatabaseUrls:
    """Make a fresh, empty database that the owner role owns; the runtime role may only connect to it."""
    name = f"mealtrail_{uuid.uuid4().hex[:12]}"

    async def make() -> None:
        await _execute(admin_url, f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0 ENCODING 'UTF8'")
        # Before PostgreSQL 15 everyone might create tables in the schema public.
        inside = _at_database(admin_url, name)
        await _execute(inside, "REVOKE CREATE ON SCHEMA public FROM PUBLIC", f"GRANT ALL ON SCHEMA public TO {OWNER}")

    _blocking(make)
    return DatabaseUrls(_url_for(admin_url, OWNER, name), _url_for(admin_url, RUNTIME, name))


def drop_database(admin_url: str, urls: DatabaseUrls) -> None:
    """Remove the database, breaking off whoever is still connected. May be repeated."""
    name = urlsplit(urls.owner).path.lstrip("/")
    _blocking(lambda: _execute(admin_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
