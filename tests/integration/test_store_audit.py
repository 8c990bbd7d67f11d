"""verify_chains finds what was done to a trail behind its back. Triggers are off for the length of the deed."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import text

from backbone.store.audit import PAGE_ROWS, verify_chains
from backbone.store.engine import Store, open_store
from backbone.store.migration import PARTITIONS, keep_setting, migrate
from backbone.store.tables import trail
from tests.support.chains import trail_row, write_offsets, write_order, write_trail
from tests.support.postgres_databases import DatabaseUrls
from tests.support.stores import embedded_settings, postgres_settings


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def owned(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A migrated store, opened as its owner, with three partitions: 20 rows, none, and 5."""
    if request.param == "sqlite":
        settings = embedded_settings(tmp_path)
    else:
        settings = postgres_settings(cast("DatabaseUrls", request.getfixturevalue("database_urls")))
    await migrate(settings)
    store = open_store(settings, purpose="owner")
    await write_trail(store, [trail_row(0, n) for n in range(1, 21)])
    await write_trail(store, [trail_row(2, n, order_id="ö2") for n in range(1, 6)])
    async with store.transaction() as connection:
        await write_offsets(connection, 1, 0)
    yield store
    await store.close()


async def _tamper(store: Store, statements: Sequence[str]) -> None:
    if store.dialect == "postgresql":
        before = [
            "ALTER TABLE trail DISABLE TRIGGER ALL",
            "ALTER TABLE trail DROP CONSTRAINT IF EXISTS ck_trail_numbers",
        ]
    else:
        before = [f"DROP TRIGGER IF EXISTS trail_refuse_{what}" for what in ("update", "delete", "replace")]
        before.append("PRAGMA ignore_check_constraints = ON")
    async with store.transaction() as connection:
        for statement in [*before, *statements]:
            await connection.execute(text(statement))


async def test_a_true_trail_is_good(owned: Store) -> None:
    """All rows of all partitions, with progress told."""
    told: list[int] = []
    report = await verify_chains(owned, progress=told.append)
    assert (report.rows, report.partitions, report.ok, report.first_bad) == (25, 3, True, None)
    assert told == [20, 20, 25]
    async with owned.reading() as connection:
        rows = await connection.execute(text("SELECT partition, seq, hash FROM offsets WHERE seq > 0"))
        assert report.heads == {partition: (seq, bytes(head).hex()) for partition, seq, head in rows}
    assert set(report.heads) == {0, 2}


async def test_an_empty_store_is_good(owned: Store) -> None:
    """No rows, nothing wrong; of another workspace there are none."""
    await _tamper(owned, ["DELETE FROM trail", "DELETE FROM offsets"])
    report = await verify_chains(owned)
    assert (report.rows, report.partitions, report.ok) == (0, 0, True)


DEEDS = [
    ("UPDATE trail SET to_status = 'READY' WHERE partition = 0 AND seq = 7", 0, 7, "hash"),
    ("UPDATE trail SET received_ms = received_ms + 1 WHERE partition = 0 AND seq = 1", 0, 1, "hash"),
    ("UPDATE trail SET reason = '' WHERE partition = 2 AND seq = 5", 2, 5, "hash"),
    ("UPDATE trail SET received_ms = 9000000000000000000 WHERE partition = 0 AND seq = 3", 0, 3, "cannot be hashed"),
    ("DELETE FROM trail WHERE partition = 0 AND seq = 7", 0, 7, "missing; 8 stands"),
    ("DELETE FROM trail WHERE partition = 0 AND seq = 1", 0, 1, "missing; 2 stands"),
    ("DELETE FROM trail WHERE partition = 0 AND seq > 15", 0, 16, "tail is cut: rows up to 20"),
    ("DELETE FROM trail WHERE partition = 2", 2, 1, "tail is cut: rows up to 5"),
    ("DELETE FROM offsets WHERE partition = 2", 2, 1, "no offsets row"),
    ("UPDATE offsets SET seq = 19 WHERE partition = 0", 0, 20, "beyond"),
    ("UPDATE offsets SET hash = (SELECT hash FROM trail WHERE partition = 2 AND seq = 5)", 0, 20, "head"),
    ("UPDATE trail SET seq = 0 WHERE partition = 0 AND seq = 1", 0, 1, "missing; 0 stands"),
    ("UPDATE trail SET partition = 3 WHERE partition = 2 AND seq = 5", 2, 5, "tail is cut"),
]


@pytest.mark.parametrize(("deed", "partition", "seq", "problem"), DEEDS)
async def test_a_deed_is_found(owned: Store, deed: str, partition: int, seq: int, problem: str) -> None:
    """The first bad row is named with what is wrong with it."""
    await _tamper(owned, [deed])
    report = await verify_chains(owned)
    assert not report.ok
    assert partition not in report.heads
    assert report.first_bad is not None
    assert (report.first_bad["partition"], report.first_bad["seq"]) == (partition, seq)
    assert problem in report.first_bad["problem"]


async def test_swapped_rows_are_found(owned: Store) -> None:
    """Two rows that exchange their numbers fit neither hash."""
    await _tamper(
        owned,
        [
            "UPDATE trail SET seq = 99 WHERE partition = 0 AND seq = 4",
            "UPDATE trail SET seq = 4 WHERE partition = 0 AND seq = 5",
            "UPDATE trail SET seq = 5 WHERE partition = 0 AND seq = 99",
        ],
    )
    report = await verify_chains(owned)
    assert report.first_bad is not None
    assert report.first_bad["seq"] == 4


@pytest.mark.parametrize("partition", [3, 700])
async def test_a_row_in_no_partition_of_the_log_is_found(owned: Store, partition: int) -> None:
    """INSERT is all it takes, and the history would show it."""
    await keep_setting(owned, PARTITIONS, "3")
    assert (await verify_chains(owned)).ok
    await write_trail(owned, [trail_row(partition, 1)])
    report = await verify_chains(owned)
    assert report.first_bad is not None
    assert report.first_bad["partition"] == partition
    assert "made with 3" in report.first_bad["problem"]
    assert partition not in report.heads


async def test_a_row_below_the_first_partition_is_found_without_a_kept_number(owned: Store) -> None:
    """A forged step that no chain has room for, where somebody took the constraint away."""
    columns = ", ".join(f'"{column.name}"' for column in trail.columns if column.name != "partition")
    copy = f'INSERT INTO trail ("partition", {columns}) SELECT -1, {columns} FROM trail WHERE partition = 0 AND seq = 1'
    await _tamper(owned, [copy])
    report = await verify_chains(owned)
    assert report.first_bad is not None
    assert report.first_bad["partition"] == -1


async def test_a_partition_gone_whole_is_found_by_its_orders(owned: Store) -> None:
    """Trail and offsets row are gone, an order still lies there; a partition that nobody ever owned is no finding."""
    await keep_setting(owned, PARTITIONS, "12")
    await write_order(owned, "o2", partition=2)
    assert (await verify_chains(owned)).ok
    await _tamper(owned, ["DELETE FROM trail WHERE partition = 2", "DELETE FROM offsets WHERE partition = 2"])
    report = await verify_chains(owned)
    assert report.first_bad == {
        "partition": 2,
        "seq": 1,
        "problem": "orders or receipts name the partition, and its trail and its offsets row are gone",
    }


async def test_a_partition_set_back_to_nothing_is_found_by_its_orders(owned: Store) -> None:
    """The offsets row claims that nothing was ever written, and an order lies there."""
    await write_order(owned, "o2", partition=2)
    genesis = "(SELECT hash FROM offsets WHERE partition = 1)"
    reset = f"UPDATE offsets SET seq = 0, hash = {genesis} WHERE partition = 2"
    await _tamper(owned, ["DELETE FROM trail WHERE partition = 2", reset])
    report = await verify_chains(owned)
    problem = "orders lie in the partition, and its trail is empty"
    assert report.first_bad == {"partition": 2, "seq": 1, "problem": problem}


async def test_a_missing_table_is_named(owned: Store) -> None:
    """A finding like any other, and not a crash."""
    async with owned.transaction() as connection:
        await connection.execute(text("ALTER TABLE trail RENAME TO away"))
    report = await verify_chains(owned)
    assert not report.ok
    assert report.first_bad == {"partition": 0, "seq": 1, "problem": "the table trail is missing"}


async def test_text_that_is_no_utf8_is_a_bad_row(tmp_path: Path) -> None:
    """SQLite takes it and cannot give it back; rows before it are counted, and a worse one among them comes first."""
    settings = embedded_settings(tmp_path)
    await migrate(settings)
    store = open_store(settings, purpose="owner")
    try:
        await write_trail(store, [trail_row(0, n) for n in range(1, 21)])
        await _tamper(store, ["UPDATE trail SET order_id = 'a' || char(55296) WHERE seq = 7"])
        report = await verify_chains(store)
        assert report.first_bad == {"partition": 0, "seq": 7, "problem": "the row cannot be read: OperationalError"}
        assert report.rows == 6
        async with store.transaction() as connection:
            await connection.execute(text("UPDATE trail SET reason = 'x' WHERE seq = 3"))
        report = await verify_chains(store)
        assert report.first_bad is not None
        assert report.first_bad["seq"] == 3
    finally:
        await store.close()


async def test_pages_join(owned: Store) -> None:
    """A chain that is exactly two pages long, and then one row more."""
    await write_trail(owned, [trail_row(5, n) for n in range(1, 2 * PAGE_ROWS + 1)])
    await write_trail(owned, [trail_row(6, n) for n in range(1, PAGE_ROWS + 2)])
    report = await verify_chains(owned)
    assert (report.rows, report.ok) == (25 + 3 * PAGE_ROWS + 1, True)
