"""verify_chains finds what was done to a trail behind its back. Triggers are off for the length of the deed."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import text

from backbone.store.audit import PAGE_ROWS, verify_chains
from backbone.store.engine import Store
from backbone.store.kept_settings import PARTITIONS, keep_setting
from backbone.store.migration import migrate
from backbone.store.opening import open_store
from backbone.store.tables import trail
from schemas.canonical import payload_digest
from tests.support.chains import tamper, trail_row, write_offsets, write_order, write_payload, write_trail
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


async def test_a_true_trail_is_good(owned: Store) -> None:
    """All rows of all partitions, with progress told."""
    told: list[int] = []
    report = await verify_chains(owned, progress=told.append)
    assert (report.rows, report.partitions, report.bad) == (25, 3, ())
    assert told == [20, 20, 25]
    assert report.bad == ()
    async with owned.reading() as connection:
        rows = await connection.execute(text("SELECT partition, seq, hash FROM offsets WHERE seq > 0"))
        assert report.heads == {partition: (seq, bytes(head).hex()) for partition, seq, head in rows}
    assert set(report.heads) == {0, 2}


async def test_an_empty_store_is_good(owned: Store) -> None:
    """No rows, nothing wrong; of another workspace there are none."""
    await tamper(owned, ["DELETE FROM trail", "DELETE FROM offsets"])
    report = await verify_chains(owned)
    assert (report.rows, report.partitions, report.bad) == (0, 0, ())


_REST = ", ".join(f'"{column.name}"' for column in trail.columns if column.name not in {"partition", "seq"})
_COPY = f'INSERT INTO trail ("partition", "seq", {_REST}) SELECT'
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
    (f"{_COPY} 0, 21, {_REST} FROM trail WHERE partition = 0 AND seq = 20", 0, 21, "hash does not fit"),
    (f"{_COPY} 1, 1, {_REST} FROM trail WHERE partition = 0 AND seq = 1", 1, 1, "hash does not fit"),
]
CHANGES = {
    "hash": "(SELECT hash FROM trail WHERE partition = 2 AND seq = 5)",
    "inferred": "NOT inferred",
    "foreign": 'NOT "foreign"',
}
"""New values of columns that take no text and no number."""


@pytest.mark.parametrize(("deed", "partition", "seq", "problem"), DEEDS)
async def test_a_deed_is_found(owned: Store, deed: str, partition: int, seq: int, problem: str) -> None:
    """The first bad row is named with what is wrong with it."""
    await tamper(owned, [deed])
    report = await verify_chains(owned)
    assert report.bad
    assert partition not in report.heads
    assert report.bad
    assert (report.bad[0]["partition"], report.bad[0]["seq"]) == (partition, seq)
    assert problem in report.bad[0]["problem"]


@pytest.mark.parametrize("name", [column.name for column in trail.columns])
async def test_a_change_in_any_column_is_found(owned: Store, name: str) -> None:
    """No column of the trail lies outside the hash, the hash itself included; the row is named."""
    kind = trail.c[name].type.python_type
    if name == "partition":
        value = "5"
    elif kind is str:
        value = "'another'"
    elif kind is int:
        value = "777"
    else:
        value = CHANGES[name]
    await tamper(owned, [f'UPDATE trail SET "{name}" = {value} WHERE partition = 0 AND seq = 7'])
    report = await verify_chains(owned)
    assert report.bad
    assert (report.bad[0]["partition"], report.bad[0]["seq"]) == (0, 7)
    assert report.rows >= 6


async def test_the_bytes_of_events_are_held_against_their_rows(owned: Store) -> None:
    """Whole, without a body and erased are counted; a changed byte or salt is found, and the chain stays good."""
    rows = [trail_row(5, n) for n in range(1, 7)]
    for n in (0, 1, 2):
        rows[n] = rows[n]._replace(payload_digest=payload_digest(b"salt", b"{%d}" % n))
    rows[5] = rows[5]._replace(inferred=True)
    await write_trail(owned, rows)
    for n in (0, 1, 2):
        await write_payload(owned, rows[n], b"{%d}" % n, b"salt")
    await write_payload(owned, rows[3], None, b"of its own")
    await write_payload(owned, rows[4], None, None)
    report = await verify_chains(owned)
    counts = report.payloads
    assert (report.bad, counts.checked, counts.without_body, counts.erased) == ((), 3, 1, 25 + 1)
    for change in ('payload = (SELECT payload FROM event_payloads WHERE "offset" = 0)', "salt = NULL", "salt = 'zz'"):
        async with owned.transaction() as connection:
            await connection.execute(text(f'UPDATE event_payloads SET {change} WHERE "offset" = 1'))
        report = await verify_chains(owned)
        assert report.bad
        found = report.bad[0]
        assert (found["partition"], found["seq"], found["check"]) == (5, 2, "payload")
        assert report.heads[5][0] == 6
        assert report.rows == 25 + 6


async def test_a_bad_payload_and_a_bad_row_are_both_told(owned: Store) -> None:
    """The first by its number is the first bad row; the chain's own finding is not lost behind it."""
    rows = [trail_row(5, n) for n in range(1, 5)]
    await write_trail(owned, rows)
    await write_payload(owned, rows[0], b"{}", b"salt")
    await tamper(owned, ["UPDATE trail SET reason = 'x' WHERE partition = 5 AND seq = 3"])
    report = await verify_chains(owned)
    assert [(bad["seq"], bad["check"]) for bad in report.bad] == [(1, "payload"), (3, "chain")]
    assert 5 not in report.heads


async def test_swapped_rows_are_found(owned: Store) -> None:
    """Two rows that exchange their numbers fit neither hash."""
    await tamper(
        owned,
        [
            "UPDATE trail SET seq = 99 WHERE partition = 0 AND seq = 4",
            "UPDATE trail SET seq = 4 WHERE partition = 0 AND seq = 5",
            "UPDATE trail SET seq = 5 WHERE partition = 0 AND seq = 99",
        ],
    )
    report = await verify_chains(owned)
    assert report.bad
    assert report.bad[0]["seq"] == 4


@pytest.mark.parametrize("partition", [3, 700])
async def test_a_row_in_no_partition_of_the_log_is_found(owned: Store, partition: int) -> None:
    """INSERT is all it takes, and the history would show it."""
    await keep_setting(owned, PARTITIONS, "3")
    assert not (await verify_chains(owned)).bad
    await write_trail(owned, [trail_row(partition, 1)])
    report = await verify_chains(owned)
    assert report.bad
    assert report.bad[0]["partition"] == partition
    assert "made with 3" in report.bad[0]["problem"]
    assert partition not in report.heads


async def test_a_row_below_the_first_partition_is_found_without_a_kept_number(owned: Store) -> None:
    """A forged step that no chain has room for, where somebody took the constraint away."""
    columns = ", ".join(f'"{column.name}"' for column in trail.columns if column.name != "partition")
    copy = f'INSERT INTO trail ("partition", {columns}) SELECT -1, {columns} FROM trail WHERE partition = 0 AND seq = 1'
    await tamper(owned, [copy])
    report = await verify_chains(owned)
    assert report.bad
    assert report.bad[0]["partition"] == -1


async def test_a_partition_gone_whole_is_found_by_its_orders(owned: Store) -> None:
    """Trail and offsets row are gone, an order still lies there; a partition that nobody ever owned is no finding."""
    await keep_setting(owned, PARTITIONS, "12")
    await write_order(owned, "o2", partition=2)
    assert not (await verify_chains(owned)).bad
    await tamper(owned, ["DELETE FROM trail WHERE partition = 2", "DELETE FROM offsets WHERE partition = 2"])
    report = await verify_chains(owned)
    assert report.bad[0] == {
        "partition": 2,
        "seq": 1,
        "problem": "orders or receipts name the partition, and its trail and its offsets row are gone",
        "check": "chain",
    }


async def test_a_partition_set_back_to_nothing_is_found_by_its_orders(owned: Store) -> None:
    """The offsets row claims that nothing was ever written, and an order lies there."""
    await write_order(owned, "o2", partition=2)
    genesis = "(SELECT hash FROM offsets WHERE partition = 1)"
    reset = f"UPDATE offsets SET seq = 0, hash = {genesis} WHERE partition = 2"
    await tamper(owned, ["DELETE FROM trail WHERE partition = 2", reset])
    report = await verify_chains(owned)
    problem = "orders lie in the partition, and its trail is empty"
    assert report.bad[0] == {"partition": 2, "seq": 1, "problem": problem, "check": "chain"}


async def test_a_missing_table_is_named(owned: Store) -> None:
    """A finding like any other, and not a crash."""
    async with owned.transaction() as connection:
        await connection.execute(text("ALTER TABLE trail RENAME TO away"))
    report = await verify_chains(owned)
    assert report.bad
    problem = "the table trail is missing"
    assert report.bad[0] == {"partition": 0, "seq": 1, "problem": problem, "check": "chain"}


async def test_text_that_is_no_utf8_is_a_bad_row(tmp_path: Path) -> None:
    """SQLite takes it and cannot give it back; rows before it are counted, and a worse one among them comes first."""
    settings = embedded_settings(tmp_path)
    await migrate(settings)
    store = open_store(settings, purpose="owner")
    try:
        await write_trail(store, [trail_row(0, n) for n in range(1, 21)])
        await tamper(store, ["UPDATE trail SET order_id = 'a' || char(55296) WHERE seq = 7"])
        report = await verify_chains(store)
        problem = "the row cannot be read: OperationalError"
        assert report.bad[0] == {"partition": 0, "seq": 7, "problem": problem, "check": "chain"}
        assert report.rows == 6
        async with store.transaction() as connection:
            await connection.execute(text("UPDATE trail SET reason = 'x' WHERE seq = 3"))
        report = await verify_chains(store)
        assert report.bad
        assert report.bad[0]["seq"] == 3
    finally:
        await store.close()


async def test_pages_join(owned: Store) -> None:
    """A chain that is exactly two pages long, and then one row more."""
    await write_trail(owned, [trail_row(5, n) for n in range(1, 2 * PAGE_ROWS + 1)])
    await write_trail(owned, [trail_row(6, n) for n in range(1, PAGE_ROWS + 2)])
    report = await verify_chains(owned)
    assert (report.rows, report.bad) == (25 + 3 * PAGE_ROWS + 1, ())
