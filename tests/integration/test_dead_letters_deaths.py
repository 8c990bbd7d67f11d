"""Records that kill the process that decides them: real processes, on both databases."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from backbone.store.engine import Store
from backbone.store.tables import attempts, dead_letters, offsets, trail
from tests.support.deployments import ROOT
from tests.support.dying_worker import DIED
from tests.support.logs import started_log
from tests.support.postgres_databases import DatabaseUrls
from tests.support.received import event_record, new_record, placed, source, status
from tests.support.stores import embedded_settings, migrated_postgres, migrated_sqlite

PLATFORM, KITCHEN = source("platform"), source("restaurant", "r1")


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


async def check_deaths(store: Store, log_dir: Path, doing: str, *more: str) -> None:
    """Runs workers until one survives; the killing event is then set aside, and every other one decided."""
    log = await started_log(embedded_settings(log_dir), partitions=1)
    records = [event_record(f"o{i}", placed(restaurant="r1"), PLATFORM) for i in range(6)]
    records.insert(3, event_record("killer", status("READY"), KITCHEN))
    records += [event_record(f"o{i}", status("READY"), KITCHEN) for i in range(6)]
    await log.log.append(log.received, [new_record(record, partition=0) for record in records])
    await log.log.stop()
    ends: list[int] = []
    while not ends or ends[-1] == DIED:
        assert len(ends) < 8
        ends.append(await run_worker(str(log_dir), "killer", doing, *more))
    assert ends == [DIED] * 4 + [0]  # once unawares, three times counted
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
