"""A rebuild beside a deployment proves what it says, and never fills or frees the store that it is held against."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from backbone.eventlog.port import NewRecord
from backbone.settings import Settings
from backbone.store.engine import Store
from backbone.store.kept_settings import PARTITIONS as KEPT_PARTITIONS
from backbone.store.kept_settings import REBUILD, RECEIVED_TOPIC_ID, keep_setting
from schemas.errors import ConfigurationError, LogMismatch, RebuildRefused, StoreRebuilding
from schemas.topics import OUTCOMES, RECEIVED
from service.cli.compared_store import read_compared_store
from service.cli.rebuild_report import rebuild_document, rebuild_lines
from tests.integration.test_cli import CommandLine, wait_for
from tests.integration.test_dead_letters_cli import PLATFORM, append
from tests.support.postgres_databases import DatabaseUrls
from tests.support.rebuilding import Deployment, cursors, fill, made_log, reached_by
from tests.support.received import START_MS, event_record, placed
from tests.support.stores import embedded_settings, migrated_postgres, migrated_sqlite
from tests.support.troubled_logs import moved_log


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    """The store of a deployment, and an empty one."""
    for name in ("own", "second"):
        (tmp_path / name).mkdir()
    own, second = await migrated_sqlite(tmp_path / "own"), await migrated_sqlite(tmp_path / "second")
    yield own, second
    await own.close()
    await second.close()


async def lived(store: Store) -> Deployment:
    """A deployment that applied and published two partitions."""
    deployment = Deployment(await made_log(), store)
    for partition in (0, 1):
        fill(deployment.log, moved_log(partition + 1, partition=partition))
    await deployment.apply()
    await deployment.publish()
    return deployment


# --- What a comparison proves ---------------------------------------------------------------------------


async def test_a_log_shorter_than_what_was_applied_is_no_comparison(files: tuple[Store, Store]) -> None:
    """Another log, or one that lost its end: refused, with nothing applied."""
    deployment = await lived(files[0])
    del deployment.log.topics.partition(RECEIVED, 1).records[50:]
    with pytest.raises(RebuildRefused, match="ends at 50"):
        await deployment.rebuild_into(files[1]).run(reached=await reached_by(files[0]))


@pytest.mark.parametrize("alter", ["hash", "seq"])
async def test_a_store_whose_chain_ends_otherwise_is_not_the_same(files: tuple[Store, Store], alter: str) -> None:
    """Though no outcome differs, or none is there to be compared."""
    deployment = await lived(files[0])
    deployment.log.topics.partition(OUTCOMES, 0).records.clear()
    deployment.log.topics.partition(OUTCOMES, 1).records.clear()
    reached = await reached_by(files[0])
    own = reached[1]
    reached[1] = replace(own, hash=b"\x01" * 32) if alter == "hash" else replace(own, seq=own.seq + 1)
    done = await deployment.rebuild_into(files[1]).run(reached=reached)
    assert [partition.same for partition in done.partitions] == [True, False]
    assert (done.same, done.let_go) == (False, False)
    assert "chain ends otherwise at the same offset" in "\n".join(rebuild_lines(done, "x"))
    assert [row["same_chain"] for row in rebuild_document(done, "x")["partitions"]] == [True, False]


async def test_nothing_compared_is_not_told_as_the_same(files: tuple[Store, Store]) -> None:
    """The outcomes topic is empty: the log could be applied, and that is all that is known."""
    deployment = await lived(files[0])
    for partition in (0, 1):
        deployment.log.topics.partition(OUTCOMES, partition).records.clear()
    done = await deployment.rebuild_into(files[1]).run()
    text = "\n".join(rebuild_lines(done, "x"))
    assert "all the same" not in text
    assert "NOTHING was compared" in text


async def test_an_outcomes_topic_without_its_beginning_is_a_finding(files: tuple[Store, Store]) -> None:
    """Nothing expired, and its first row is not the first: it was made anew. All is published again."""
    deployment = await lived(files[0])
    partition = deployment.log.topics.partition(OUTCOMES, 1)
    partition.records[:] = [record._replace(offset=n) for n, record in enumerate(partition.records[10:])]
    done = await deployment.rebuild_into(files[1]).run(accept_differences=True)
    found = done.partitions[1].comparison
    assert (done.same, found.missing, found.first_missing) == (False, 10, 1)
    assert (await cursors(files[1]))[1] == (0, 0)


@pytest.mark.parametrize("as_living", [True, False])
async def test_strangers_in_the_outcomes_topic_are_counted(files: tuple[Store, Store], as_living: bool) -> None:
    """Whatever they wrote, the rows are compared all the same."""
    deployment = await lived(files[0])
    values = (b"{", b"[]", b"\xff", b'{"seq":"x"}', b'{"partition":0,"seq":1}', b'{"partition":7,"seq":1,"hash":""}')
    partition = deployment.log.topics.partition(OUTCOMES, 0)
    rows, strangers = list(partition.records), [NewRecord(0, None, value) for value in values]
    partition.records.clear()
    again = [NewRecord(0, row.key, row.value, row.headers) for row in rows]
    deployment.log.topics.append(OUTCOMES, [*strangers, *again], START_MS)
    reached = await reached_by(files[0]) if as_living else None
    done = await deployment.rebuild_into(files[1]).run(reached=reached)
    found = done.partitions[0].comparison
    assert (found.strangers, found.compared, done.same) == (6, len(rows), True)
    assert "6 records in the outcomes topic are no outcomes" in "\n".join(rebuild_lines(done, "x"))


# --- Which store it is ----------------------------------------------------------------------------------


async def test_the_configured_stores_log_must_be_this_one(tmp_path: Path) -> None:
    """Held against a store of another log, every row would differ, or none by chance."""
    settings = await site(tmp_path / "own")
    compared = await read_compared_store(settings, settings.model_copy(update={"data_dir": tmp_path / "second"}))
    assert compared is not None
    log = await made_log()
    with pytest.raises(LogMismatch):
        await compared.check_log(log, RECEIVED)
    await replace(compared, received_topic_id=log.topics.ids[RECEIVED]).check_log(log, RECEIVED)
    await replace(compared, received_topic_id=None).check_log(log, RECEIVED)


async def site(folder: Path) -> Settings:
    """A data directory whose store has applied a log."""
    await asyncio.to_thread(folder.mkdir)
    store = await migrated_sqlite(folder)
    await lived(store)
    await keep_setting(store, RECEIVED_TOPIC_ID, "another")
    await keep_setting(store, KEPT_PARTITIONS, "2")
    await store.close()
    return embedded_settings(folder)


async def test_the_configured_store_by_any_name_is_refused(tmp_path: Path) -> None:
    """Its directory over a link, or by a way round."""
    settings = await site(tmp_path / "own")
    (tmp_path / "link").symlink_to(tmp_path / "own")
    for name in (tmp_path / "own", tmp_path / "link", tmp_path / "own" / ".." / "own"):
        with pytest.raises(ConfigurationError, match="names the configured store itself"):
            await read_compared_store(settings, settings.model_copy(update={"data_dir": name}))


async def test_a_half_built_store_is_nothing_to_compare_with(tmp_path: Path) -> None:
    """Its own rebuild goes on first."""
    settings = await site(tmp_path / "own")
    store = await migrated_sqlite(tmp_path / "own")
    await keep_setting(store, REBUILD, "{}")
    await store.close()
    with pytest.raises(StoreRebuilding):
        await read_compared_store(settings, settings.model_copy(update={"data_dir": tmp_path / "second"}))


@pytest.mark.postgres
async def test_the_configured_database_by_any_name_is_refused(create_database: Callable[[], DatabaseUrls]) -> None:
    """Its URL again, another role's, or another name of the same server; another database of that server is fine."""
    own, other = create_database(), create_database()
    for urls in (own, other):
        store = await migrated_postgres(urls)
        await lived(store)
        await store.close()

    def named(url: str) -> Settings:
        return embedded_settings(Path("unused")).model_copy(
            update={"kafka_bootstrap_servers": "none", "database_url": SecretStr(url)}
        )

    elsewhere = own.owner.replace("127.0.0.1", "localhost") if "127.0.0.1" in own.owner else own.owner
    for url in (own.runtime, own.owner, elsewhere):
        with pytest.raises(ConfigurationError, match="names the configured store itself"):
            await read_compared_store(named(own.runtime), named(url))
    assert await read_compared_store(named(own.runtime), named(other.owner)) is not None


@pytest.mark.slow
def test_an_interrupted_rebuild_is_not_freed_by_naming_its_store(tmp_path: Path) -> None:
    """As an operator might try: refused, and still nobody starts on it."""
    line = CommandLine(tmp_path)
    line.up()
    try:
        append(line, "o1", event_record("o1", placed(restaurant="r1"), PLATFORM))
        wait_for(lambda: line.run("order", "show", "o1").returncode == 0, "the order")
    finally:
        line.end()
    shutil.copytree(line.data_dir, tmp_path / "copy")
    with closing(sqlite3.connect(line.data_dir / "store.db")) as connection:
        connection.execute("INSERT INTO kept_settings VALUES ('rebuild', '{\"topic_id\": null}')")
        connection.commit()
    named = line.run("rebuild", "--to-data-dir", str(line.data_dir))
    assert (named.returncode, "configured store itself" in named.stderr) == (3, True), named
    beside = line.run("rebuild", "--to-data-dir", str(tmp_path / "second"))
    assert (beside.returncode, "store_rebuilding" in beside.stderr) == (3, True), beside
    with closing(sqlite3.connect(line.data_dir / "store.db")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM kept_settings WHERE name = 'rebuild'").fetchone() == (1,)
    line.env["MEALTRAIL_DATA_DIR"] = str(tmp_path / "copy")
    done = line.json("rebuild", "--to-data-dir", str(tmp_path / "third"))
    assert (done["ok"], [row["same_chain"] for row in done["partitions"]]) == (True, [True] * 3)
