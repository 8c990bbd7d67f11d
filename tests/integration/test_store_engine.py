"""Transactions on both databases."""

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from backbone.store.engine import Store
from backbone.store.opening import Purpose, open_store, sqlite_store
from backbone.store.tables import kept_settings
from schemas.errors import StoreUnavailable
from tests.support.postgres_databases import DatabaseUrls
from tests.support.stores import embedded_settings, postgres_settings, store
from tests.support.waiting import wait_until

__all__ = ["store"]


async def _keep(store: Store, name: str, value: str = "1") -> None:
    async with store.transaction() as connection:
        await connection.execute(kept_settings.insert().values(name=name, value=value))


async def _names(store: Store) -> set[str]:
    async with store.reading() as connection:
        return set(await connection.scalars(select(kept_settings.c.name)))


async def test_a_transaction_commits_whole_or_not_at_all(store: Store) -> None:
    """Normal exit commits; an exception of the body rolls back and passes as it is."""
    await _keep(store, "a")

    async def fail() -> None:
        async with store.transaction() as connection:
            await connection.execute(kept_settings.insert().values(name="b", value="1"))
            raise TimeoutError("of the body")

    with pytest.raises(TimeoutError, match="of the body"):
        await fail()
    assert await _names(store) == {"a"}


async def test_other_database_errors_pass(store: Store) -> None:
    """A second row under one key is no outage."""
    await _keep(store, "a")
    with pytest.raises(IntegrityError):
        await _keep(store, "a")
    await store.ping()


async def test_cancelling_rolls_back_and_passes(store: Store) -> None:
    """A task cancelled inside a transaction ends cancelled, and the next writer finds no trace of it."""
    inside = asyncio.Event()

    async def stay() -> None:
        async with store.transaction() as connection:
            await connection.execute(kept_settings.insert().values(name="a", value="1"))
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(stay())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _keep(store, "a", "2")
    assert await _names(store) == {"a"}


async def test_closing_may_be_repeated(store: Store) -> None:
    """close() is done when it is done."""
    await store.ping()
    await store.close()
    await store.close()


def _driver_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "_connection_worker_thread" in thread.name]


async def test_closing_waits_for_a_connection_whose_caller_was_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's thread would find no loop to tell its result, and print a traceback after a Ctrl-C."""
    entered, go_on, connect = threading.Event(), threading.Event(), sqlite3.connect

    def connect_slowly(*arguments: Any, **options: Any) -> sqlite3.Connection:
        entered.set()
        assert go_on.wait(30)
        made: sqlite3.Connection = connect(*arguments, **options)
        return made

    monkeypatch.setattr(sqlite3, "connect", connect_slowly)
    opened = sqlite_store(tmp_path / "store.db")
    asking = asyncio.create_task(opened.ping())
    await wait_until(entered.is_set)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    closing = asyncio.create_task(opened.close())
    done, _ = await asyncio.wait([closing], timeout=0.05)
    assert not done
    assert _driver_threads()
    go_on.set()
    await closing
    assert _driver_threads() == []


@pytest.mark.parametrize("steps", range(0, 30, 3))
async def test_closing_is_finished_though_its_caller_is_cancelled(tmp_path: Path, steps: int) -> None:
    """Whenever that comes, no connection and no thread is left, and the caller learns that it was cancelled."""
    opened = sqlite_store(tmp_path / "store.db")
    await asyncio.gather(*(opened.ping() for _ in range(3)))
    assert _driver_threads()
    closing = asyncio.create_task(opened.close())
    for _ in range(steps):
        await asyncio.sleep(0)
    if closing.cancel():
        with pytest.raises(asyncio.CancelledError):
            await closing
    # Cancelled before its first step it has closed nothing.
    await opened.close()
    assert _driver_threads() == []


async def test_sqlite_writers_take_turns_and_readers_do_not_wait(tmp_path: Path) -> None:
    """Read-then-write transactions of two processes' worth of stores never collide; a reader sees the last commit."""
    stores = [sqlite_store(tmp_path / "store.db") for _ in range(2)]
    async with stores[0].transaction() as connection:
        await connection.execute(text("CREATE TABLE counter (n INTEGER)"))
        await connection.execute(text("INSERT INTO counter VALUES (0)"))

    async def count(opened: Store) -> None:
        async with opened.transaction() as connection:
            n = await connection.scalar(text("SELECT n FROM counter"))
            await asyncio.sleep(0)
            await connection.execute(text("UPDATE counter SET n = :n"), {"n": n + 1})

    async with stores[0].reading() as connection:
        assert await connection.scalar(text("SELECT n FROM counter")) == 0
        await asyncio.gather(*(count(opened) for opened in stores for _ in range(20)))
        assert await connection.scalar(text("SELECT n FROM counter")) == 0
    async with stores[1].reading() as connection:
        assert await connection.scalar(text("SELECT n FROM counter")) == 40
        assert await connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await connection.scalar(text("PRAGMA synchronous")) == 2
        assert await connection.scalar(text("PRAGMA foreign_keys")) == 1
    for opened in stores:
        await opened.close()


async def test_a_snapshot_stands_still(store: Store) -> None:
    """What others commit meanwhile is not seen inside, on either database, and nothing waits for it."""
    count = select(func.count()).select_from(kept_settings)
    async with store.snapshot() as connection:
        before = await connection.scalar(count)
        await _keep(store, "new")
        assert await connection.scalar(count) == before
    assert "new" in await _names(store)


async def test_sqlite_without_its_directory_is_unavailable(tmp_path: Path) -> None:
    """A path that cannot be opened is an outage with words, and heals when the directory appears."""
    settings = embedded_settings(tmp_path / "with 50% and ?")
    opened = open_store(settings, purpose="service")
    with pytest.raises(StoreUnavailable, match="unable to open database file"):
        await opened.ping()
    settings.data_dir.mkdir()
    await opened.ping()
    assert [path.name for path in settings.data_dir.iterdir() if path.name == "store.db"] == ["store.db"]
    await opened.close()


async def test_a_sqlite_writer_elsewhere_is_waited_for_with_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process that holds the write lock for longer than the busy timeout is an outage."""
    monkeypatch.setattr("backbone.store.engine.SQLITE_BUSY_S", 0.2)
    mine, other = sqlite_store(tmp_path / "store.db"), sqlite_store(tmp_path / "store.db")
    async with other.transaction() as connection:
        await connection.execute(text("CREATE TABLE t (n INTEGER)"))
        with pytest.raises(StoreUnavailable, match="locked"):
            async with mine.transaction():
                pytest.fail("two writers")
        with pytest.raises(StoreUnavailable, match="no turn to write"):
            async with other.transaction():
                pytest.fail("two writers")
    async with mine.transaction() as connection:
        await connection.execute(text("INSERT INTO t VALUES (1)"))
    await mine.close()
    await other.close()


async def test_a_faulty_statement_is_no_outage(tmp_path: Path) -> None:
    """It passes as the error it is."""
    opened = sqlite_store(tmp_path / "store.db")
    with pytest.raises(OperationalError, match="no such table"):
        async with opened.reading() as connection:
            await connection.execute(text("SELECT * FROM missing"))
    await opened.close()


@pytest.mark.postgres
async def test_postgresql_sessions_have_their_limits(database_urls: DatabaseUrls) -> None:
    """A consumer's session is bounded by the store timeout, an owner's is not; isolation is READ COMMITTED."""
    settings = postgres_settings(database_urls, store_timeout_ms=700)
    expected = {"consumer": ("700ms", "700ms", "700ms"), "service": ("5s", "0", "0"), "owner": ("0", "0", "0")}
    purposes: tuple[Purpose, ...] = ("consumer", "service", "owner")
    for purpose in purposes:
        opened = open_store(settings, purpose=purpose)
        async with opened.reading() as connection:
            shown = [
                await connection.scalar(text(f"SHOW {name}"))
                for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
            ]
            assert tuple(shown) == expected[purpose]
            assert await connection.scalar(text("SHOW application_name")) == f"mealtrail-{purpose}"
            assert await connection.scalar(text("SHOW transaction_isolation")) == "read committed"
        await opened.close()
