"""Records that kill the process that parses or decides them, or writes their rows: real processes, both databases."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from sqlalchemy import func, select

from backbone.store.engine import Store
from backbone.store.tables import attempts, dead_letters, offsets, trail
from consumers import logged_event
from consumers.rebuild import Rebuild
from schemas.dead_letters import PROCESS_DIED_READING
from schemas.records import AnyRecord, dump_record, load_record
from tests.support.deployments import ROOT
from tests.support.dying_worker import DIED
from tests.support.logs import started_log
from tests.support.postgres_databases import DatabaseUrls
from tests.support.rebuilding import contents
from tests.support.received import Broken, LogItem, event_record, new_record, placed, replayed, source, status
from tests.support.stores import embedded_settings, migrated_postgres, migrated_sqlite

PLATFORM, KITCHEN = source("platform"), source("restaurant", "r1")
KILLER = event_record("killer", placed(restaurant="r1"), PLATFORM)


async def run_worker(*arguments: str) -> int:
    """One worker process to its end; its exit code."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.dying_worker",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(), 60)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode in {0, DIED}, said.decode()[-3000:]
    return process.returncode


async def deaths_until_quiet(log_dir: Path, doing: str, *more: str) -> int:
    """Runs workers until one survives; how many died before."""
    deaths = 0
    while await run_worker(str(log_dir), "killer", doing, *more) == DIED:
        deaths += 1
        assert deaths < 8
    return deaths


async def append(log_dir: Path, *records: LogItem) -> None:
    """Puts the records into the received topic while no worker runs."""
    log = await started_log(embedded_settings(log_dir), partitions=1)
    await log.log.append(log.received, [new_record(record, partition=0) for record in records])
    await log.log.stop()


async def letters(store: Store) -> list[tuple[Any, ...]]:
    """All dead letters: pair, state, error, tries, order, and whether the bytes are kept as they came."""
    own = dead_letters.c
    columns = (own.in_hand_offset, own.event_offset, own.state, own.error, own.attempts, own.order_id, own.record)
    async with store.reading() as connection:
        rows = await connection.execute(select(*columns).order_by(own.seq))
        return [(*row[:6], bytes(row[6]) == dump_record(KILLER)) for row in rows]


async def check_rebuilt(store: Store, log_dir: Path, name: str) -> None:
    """A rebuild from the topics gives the same rows."""
    other, log = (
        await migrated_sqlite(Path(mkdtemp(prefix=name, dir=log_dir))),
        await started_log(embedded_settings(log_dir), partitions=1),
    )
    try:
        result = await Rebuild(log.log, other, log.topics, 1).run()
        assert (result.same, result.let_go) == (True, True)
        assert await contents(other) == await contents(store)
    finally:
        await log.log.stop()
        await other.close()


async def check_deaths_of_readers(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    """A record that nobody survives parsing: found, set aside unread, replayed in vain, and decided in the end."""
    await append(
        tmp_path,
        *(event_record(f"o{i}", placed(restaurant="r1"), PLATFORM) for i in range(3)),
        KILLER,
        *(event_record(f"o{i}", status("READY"), KITCHEN) for i in range(6)),
        event_record("after", placed(restaurant="r1"), PLATFORM),
    )
    assert await deaths_until_quiet(tmp_path, "reading", *more) == 4  # once unawares, three times counted
    found = (3, 3, "open", PROCESS_DIED_READING, 3, "killer", True)
    assert await letters(store) == [found]
    async with store.reading() as connection:
        decided = set(await connection.scalars(select(trail.c.order_id)))
        assert decided == {"o0", "o1", "o2", "after"}
        assert await connection.scalar(select(func.count()).select_from(attempts)) == 0
        row = (await connection.execute(select(offsets))).one()
        assert (row.next, row.claims, row.dead_published) == (11, 0, 1)

    def load_or_fail(value: bytes) -> AnyRecord:
        assert value != dump_record(KILLER), "the bytes of a record that kills its reader were parsed"
        return load_record(value)

    with monkeypatch.context() as patch:
        patch.setattr(logged_event, "load_record", load_or_fail)
        await check_rebuilt(store, tmp_path, "unread")

    waiting = event_record("killer", status("COOKING"), KITCHEN)
    await append(tmp_path, replayed(Broken("killer"), (3, 3), order="killer"))
    assert await deaths_until_quiet(tmp_path, "reading", *more) == 4
    again = (11, 3, "open", PROCESS_DIED_READING, 3, "killer", True)
    assert await letters(store) == [(*found[:2], "replayed", *found[3:]), again]
    with monkeypatch.context() as patch:
        patch.setattr(logged_event, "load_record", load_or_fail)
        await check_rebuilt(store, tmp_path, "replayed-in-vain")

    await append(tmp_path, waiting, replayed(Broken("killer"), (11, 3), order="killer"))
    assert await deaths_until_quiet(tmp_path, "nothing", *more) == 0
    assert [letter[2] for letter in await letters(store)] == ["replayed", "replayed"]
    async with store.reading() as connection:
        query = select(trail.c.offset).where(trail.c.order_id == "killer", trail.c.inferred.is_(False))
        assert list(await connection.scalars(query.order_by(trail.c.seq))) == [3, 12]
    await check_rebuilt(store, tmp_path, "decided")


async def check_deaths(store: Store, log_dir: Path, doing: str, *more: str) -> None:
    """Runs workers until one survives; the killing event is then set aside, and every other one decided."""
    records = [event_record(f"o{i}", placed(restaurant="r1"), PLATFORM) for i in range(6)]
    records.insert(3, event_record("killer", status("READY"), KITCHEN))
    records += [event_record(f"o{i}", status("READY"), KITCHEN) for i in range(6)]
    await append(log_dir, *records)
    assert await deaths_until_quiet(log_dir, doing, *more) == 4  # once unawares, three times counted
    async with store.reading() as connection:
        (letter,) = (await connection.execute(select(dead_letters))).fetchall()
        assert (letter.order_id, letter.error, letter.attempts, letter.in_hand_offset) == (
            "killer",
            "process_died",
            3,
            3,
        )
        assert await connection.scalar(select(func.count(trail.c.order_id.distinct()))) == 6
        assert await connection.scalar(select(func.count()).select_from(attempts)) == 0
        row = (await connection.execute(select(offsets))).one()
        assert (row.next, row.claims) == (13, 0)


@pytest.mark.parametrize("doing", ["deciding", "writing"])
async def test_a_record_that_kills_the_process_is_found_on_sqlite(tmp_path: Path, doing: str) -> None:
    """Four processes die; the fifth passes the record and applies the rest."""
    store = await migrated_sqlite(tmp_path)
    try:
        await check_deaths(store, tmp_path, doing)
    finally:
        await store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("doing", ["deciding", "writing"])
async def test_a_record_that_kills_the_process_is_found_on_postgresql(
    tmp_path: Path, database_urls: DatabaseUrls, doing: str
) -> None:
    """The same with the store in PostgreSQL."""
    store = await migrated_postgres(database_urls)
    try:
        await check_deaths(store, tmp_path, doing, database_urls.runtime)
    finally:
        await store.close()


async def test_a_record_that_kills_its_reader_is_found_on_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four processes die parsing it, the fifth passes it unread; so with its replay, until a release survives it."""
    store = await migrated_sqlite(tmp_path)
    try:
        await check_deaths_of_readers(store, tmp_path, monkeypatch)
    finally:
        await store.close()


@pytest.mark.postgres
async def test_a_record_that_kills_its_reader_is_found_on_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_urls: DatabaseUrls
) -> None:
    """The same with the store in PostgreSQL."""
    store = await migrated_postgres(database_urls)
    try:
        await check_deaths_of_readers(store, tmp_path, monkeypatch, database_urls.runtime)
    finally:
        await store.close()
