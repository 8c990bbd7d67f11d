"""SQLite's connection: how often it goes to its thread, and that going less often changes nothing."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from backbone.store.bulk import insert_rows, select_rows
from backbone.store.engine import Store
from backbone.store.opening import sqlite_store
from backbone.store.sqlite_connection import SHORT_BYTES, SHORT_PARAMETERS, SHORT_ROWS, SQLiteConnection, is_short
from backbone.store.tables import kept_settings
from tests.support.waiting import wait_until

_COLUMNS = ("name", "value")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A store in a file, with one table, and its connection open."""
    store = sqlite_store(tmp_path / "store.db")
    async with store.transaction() as connection:
        await connection.run_sync(kept_settings.create)
    yield store
    await store.close()


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that were run in a connection's thread, and `commit` and the like, as they come."""
    gone: list[str] = []
    go = SQLiteConnection._execute

    async def note(self: SQLiteConnection, fn: Any, *args: Any, **kwargs: Any) -> Any:
        gone.append(fn.__name__)
        return await go(self, fn, *args, **kwargs)

    monkeypatch.setattr(SQLiteConnection, "_execute", note)
    return gone


def _rows(count: int, first: int = 0) -> list[tuple[str, str]]:
    return [(f"n{number:06d}", "1") for number in range(first, first + count)]


async def test_a_short_transaction_goes_to_begin_and_to_commit(store: Store, threads: list[str]) -> None:
    """Its statements in between are run where they are: two ways, however many there are."""
    async with store.transaction() as connection:
        for number in range(20):
            await insert_rows(connection, kept_settings, _COLUMNS, _rows(1, number))
            await connection.execute(select(kept_settings.c.value).where(kept_settings.c.name == "n000000"))
    assert threads == ["execute", "commit"]


async def test_a_look_up_goes_once(store: Store, threads: list[str]) -> None:
    """Reading goes as often as it looks something up: neither to begin nor to end."""
    async with store.reading() as connection:
        for _ in range(3):
            await connection.execute(select(kept_settings.c.value).where(kept_settings.c.name == "n000000"))
    assert threads == ["run", "run", "run"]


@pytest.mark.parametrize("count", [SHORT_ROWS, SHORT_ROWS + 1])
async def test_many_rows_leave_the_loop_free(store: Store, threads: list[str], count: int) -> None:
    """What writes more rows than a short statement may is run in the thread."""
    async with store.transaction() as connection:
        await insert_rows(connection, kept_settings, _COLUMNS, _rows(count))
    assert len(threads) == (2 if count <= SHORT_ROWS else 3)


def test_what_is_short() -> None:
    """Parameters, few and small. A statement without any may do anything."""
    assert is_short(("a", 1, None, b"x"))
    assert not is_short(())
    assert is_short((1,) * SHORT_PARAMETERS)
    assert not is_short((1,) * (SHORT_PARAMETERS + 1))
    assert is_short(("a" * SHORT_BYTES,))
    assert not is_short(("a" * SHORT_BYTES, b"b"))


async def test_statements_without_parameters_leave_the_loop_free(store: Store, threads: list[str]) -> None:
    """A migration may rewrite a whole table."""
    async with store.transaction() as connection:
        await connection.execute(text("UPDATE kept_settings SET value = '2'"))
    assert threads == ["execute", "run", "commit"]


@pytest.mark.parametrize("count", [0, 1, 1999, 2000, 2001, 4500])
async def test_every_row_is_read_once(store: Store, count: int) -> None:
    """Fetched with the statement or after it, all at once or as a stream: the same rows in the same order."""
    rows = _rows(count)
    async with store.transaction() as connection:
        await insert_rows(connection, kept_settings, _COLUMNS, rows)
        query = select(kept_settings.c.name, kept_settings.c.value).order_by(kept_settings.c.name)
        assert [tuple(row) for row in await connection.execute(query)] == rows
        streamed = await connection.stream(query)
        assert [tuple(row) async for row in streamed] == rows
        half = await connection.stream(query)
        assert await half.fetchone() == (rows[0] if rows else None)
        await half.close()
        names = [name for name, _ in rows]
        found = await select_rows(connection, kept_settings, _COLUMNS, fixed={"value": "1"}, many=("name", names))
        assert sorted(found) == rows


async def test_rows_that_were_changed_are_counted(store: Store) -> None:
    """The fence looks at how many rows it moved, and at what they were, by RETURNING."""
    async with store.transaction() as connection:
        await insert_rows(connection, kept_settings, _COLUMNS, _rows(3))
        changed = kept_settings.update().where(kept_settings.c.name >= "n000001").values(value="2")
        assert (await connection.execute(changed)).rowcount == 2
        returned = await connection.execute(changed.returning(kept_settings.c.name))
        assert sorted(returned.scalars()) == ["n000001", "n000002"]
        none = kept_settings.update().where(kept_settings.c.name == "absent").values(value="2")
        assert (await connection.execute(none)).rowcount == 0


async def test_nothing_runs_beside_what_was_cancelled(store: Store, threads: list[str]) -> None:
    """A caller is cancelled while the thread works for it: what comes next on that connection waits behind it, short
    or not, and nothing of the transaction is left.
    """
    running, go_on, order = threading.Event(), threading.Event(), list[str]()

    def hold(_: object) -> None:
        running.set()
        go_on.wait(10)
        order.append("held")

    async def stay() -> None:
        async with store.transaction() as connection:
            await insert_rows(connection, kept_settings, _COLUMNS, _rows(1))
            raw = await connection.get_raw_connection()
            driver = raw.driver_connection
            assert isinstance(driver, SQLiteConnection)
            try:
                await driver.run(hold, short=False)
            except asyncio.CancelledError:
                asyncio.get_running_loop().call_later(0.05, go_on.set)
                await driver.run(lambda _: order.append("next"), short=True)
                raise

    staying = asyncio.create_task(stay())
    await wait_until(running.is_set)
    staying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await staying
    assert order == ["held", "next"]
    async with store.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(kept_settings)) == 0
