"""An outage of the store is StoreUnavailable, in bounded time, and heals by itself."""

import asyncio

import pytest
from sqlalchemy import select, text

from backbone.store.engine import Store
from backbone.store.migration import migrate
from backbone.store.opening import open_store, postgres_store
from backbone.store.tables import kept_settings
from schemas.errors import StoreUnavailable
from tests.support.links import StallingLink
from tests.support.postgres import PostgresServer, create_database
from tests.support.postgres_databases import DatabaseUrls
from tests.support.stores import migrated_postgres, postgres_settings
from tests.support.waiting import wait_until


async def _keep(store: Store, name: str, value: str = "1") -> None:
    async with store.transaction() as connection:
        await connection.execute(kept_settings.insert().values(name=name, value=value))


async def _names(store: Store) -> set[str]:
    async with store.reading() as connection:
        return set(await connection.scalars(select(kept_settings.c.name)))


@pytest.mark.postgres
async def test_postgresql_timeouts_are_outages(database_urls: DatabaseUrls) -> None:
    """A slow statement, a lock that does not come and a transaction left idle each end as StoreUnavailable."""
    settings = postgres_settings(database_urls, store_timeout_ms=500)
    await migrate(settings)
    opened = open_store(settings, purpose="consumer")
    unlimited = open_store(settings, purpose="owner")
    await _keep(unlimited, "locked")

    async def sleep() -> None:
        async with opened.transaction() as connection:
            await connection.execute(text("SELECT pg_sleep(5)"))

    async def wait_for_a_lock() -> None:
        async with unlimited.transaction() as holder, opened.transaction() as connection:
            await holder.execute(text("SELECT * FROM kept_settings FOR UPDATE"))
            await connection.execute(text("SELECT * FROM kept_settings FOR UPDATE"))

    async def idle() -> None:
        async with opened.transaction() as connection:
            pid = await connection.scalar(text("SELECT pg_backend_pid()"))

            async def is_gone() -> bool:
                async with unlimited.reading() as other:
                    query = text("SELECT pid FROM pg_stat_activity WHERE pid = :pid")
                    return await other.scalar(query, {"pid": pid}) is None

            await wait_until(is_gone, what="the server to hang up")
            await connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailable, match="statement timeout"):
        await sleep()
    with pytest.raises(StoreUnavailable, match="timeout"):
        await wait_for_a_lock()
    with pytest.raises(StoreUnavailable):
        await idle()
    await opened.ping()
    await opened.close()
    await unlimited.close()


@pytest.mark.postgres
async def test_an_exhausted_pool_is_an_outage(database_urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds no free connection in time is told so, and nobody else is disturbed."""
    monkeypatch.setattr("backbone.store.opening.POOL_TIMEOUT_S", 0.1)
    opened = postgres_store(database_urls.runtime, pool_size=1)
    async with opened.reading() as connection:
        with pytest.raises(StoreUnavailable):
            await opened.ping()
        assert await connection.scalar(text("SELECT 1")) == 1
    await opened.close()


@pytest.mark.postgres
async def test_a_wrong_password_is_an_outage_that_says_so(database_urls: DatabaseUrls) -> None:
    """Whatever keeps us from connecting is reported in the server's words."""
    opened = postgres_store(database_urls.runtime.replace("/mealtrail_", "/no_such_"))
    with pytest.raises(StoreUnavailable, match="does not exist"):
        await opened.ping()
    await opened.close()


@pytest.mark.postgres
async def test_a_killed_server_is_an_outage_and_heals_by_itself(private_postgres: PostgresServer) -> None:
    """In use the loss is reported; idle connections are replaced without one failed transaction after the restart."""
    opened = await migrated_postgres(create_database(private_postgres))
    async with opened.reading() as first, opened.reading() as second:  # two connections in the pool
        await first.execute(text("SELECT 1"))
        await second.execute(text("SELECT 1"))

    async def lose() -> None:
        async with opened.transaction() as connection:
            await connection.execute(kept_settings.insert().values(name="lost", value="1"))
            await asyncio.to_thread(private_postgres.kill)
            await connection.execute(text("SELECT 1"))

    with pytest.raises(StoreUnavailable):
        await lose()
    with pytest.raises(StoreUnavailable):
        await opened.ping()
    await asyncio.to_thread(private_postgres.start)
    await _keep(opened, "kept")
    async with opened.reading() as first, opened.reading() as second:
        await first.execute(text("SELECT 1"))
        await second.execute(text("SELECT 1"))
    # In a thread, so that the loop can notice that the server hangs up, as it would in a process that lives on.
    await asyncio.to_thread(private_postgres.stop)
    await asyncio.to_thread(private_postgres.start)
    await asyncio.gather(*(opened.ping() for _ in range(3)))
    assert await _names(opened) == {"kept"}
    await opened.close()


@pytest.mark.postgres
async def test_a_server_that_hangs_is_met_by_our_own_limit(database_urls: DatabaseUrls) -> None:
    """With the connection open and nothing coming back, statement, commit and close all end, and it heals after."""
    address, _, database = database_urls.runtime.rpartition("@")[2].partition("/")
    host, _, port = address.partition(":")
    link = StallingLink(host, int(port))
    through = database_urls.runtime.rpartition("@")[0] + f"@127.0.0.1:{await link.open()}/{database}"
    opened = postgres_store(through, command_timeout_s=0.3)
    await opened.ping()

    async def hang_in_a_statement() -> None:
        async with opened.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            link.stall()
            await connection.execute(text("SELECT 2"))

    async def hang_in_the_commit() -> None:
        async with opened.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            link.stall()

    for hang in (hang_in_a_statement, hang_in_the_commit):
        async with asyncio.timeout(8):
            with pytest.raises(StoreUnavailable):
                await hang()
        link.resume()
        await opened.ping()
    link.stall()
    async with asyncio.timeout(8):
        await opened.close()
    await link.close()
