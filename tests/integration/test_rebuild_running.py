"""A lost store on real logs: rebuilt, also by the command line as an operator would, and work goes on after it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import aiohttp
import orjson
import pytest

from backbone.eventlog.port import Bounds, LogRecord
from backbone.metrics import Metrics
from backbone.store.engine import Store
from consumers.composition import running
from consumers.rebuild import Rebuild
from consumers.runner import Runner, RunnerConfig
from tests.support.deployments import Deployment, deployment
from tests.support.logs import LogUnderTest, event_log
from tests.support.postgres_databases import DatabaseUrls
from tests.support.rebuilding import contents
from tests.support.received import event_record, new_record, placed, source, status
from tests.support.stores import migrated_sqlite
from tests.support.waiting import wait_until

__all__ = ["deployment", "event_log"]

PLATFORM, RESTAURANT = source("platform"), source("restaurant", "r1")
STATUSES = ("ACCEPTED_BY_RESTAURANT", "COOKING", "READY")


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    """Two stores in files."""
    for name in ("lost", "new"):
        (tmp_path / name).mkdir()
    lost, new = await migrated_sqlite(tmp_path / "lost"), await migrated_sqlite(tmp_path / "new")
    yield lost, new
    await lost.close()
    await new.close()


def a_runner(log: LogUnderTest, store: Store) -> Runner:
    """A worker on the log's topics."""
    config = RunnerConfig(
        topics=log.topics,
        group=f"{log.prefix}workers",
        idle_s=0.1,
    )
    return Runner(log=log.log, store=store, config=config, metrics=Metrics())


async def ends(log: LogUnderTest) -> dict[str, dict[int, Bounds]]:
    """The bounds of every topic."""
    topics = (log.received, log.outcomes, log.dead_letters)
    return {topic: dict(await log.log.bounds(topic, range(log.partitions))) for topic in topics}


async def published(log: LogUnderTest) -> list[LogRecord]:
    """Every outcome that the topic has, repeats too."""
    bounds = await log.log.bounds(log.outcomes, range(log.partitions))
    reader = await log.log.tail(log.outcomes, {p: b.start for p, b in bounds.items()})
    found: list[LogRecord] = []
    try:
        while len(found) < sum(b.end - b.start for b in bounds.values()):
            found += await reader.read(max_records=1000, timeout=2.0)
    finally:
        await reader.stop()
    return found


async def test_a_worker_goes_on_after_a_rebuild_and_publishes_nothing_twice(
    event_log: LogUnderTest, files: tuple[Store, Store]
) -> None:
    """Nothing is appended by the rebuild; afterwards every partition's outcomes are gapless, and only new ones came."""
    lost, new = files
    first = [event_record(f"o{n}", placed(restaurant="r1"), PLATFORM) for n in range(30)]
    first += [event_record(f"o{n}", status(value), RESTAURANT) for value in STATUSES[:2] for n in range(30)]
    await event_log.log.append(
        event_log.received, [new_record(record, partitions=event_log.partitions) for record in first]
    )
    async with running(a_runner(event_log, lost), stop_timeout_s=5.0):
        await wait_until(lambda: _published(event_log, 90), 30, "90 outcomes")
    before = await ends(event_log)
    done = await Rebuild(event_log.log, new, event_log.topics, event_log.partitions).run()
    assert (done.same, done.records) == (True, 90)
    assert await contents(new) == await contents(lost)
    assert await ends(event_log) == before
    more = [event_record(f"o{n}", status("READY"), RESTAURANT) for n in range(30)]
    await event_log.log.append(
        event_log.received, [new_record(record, partitions=event_log.partitions) for record in more]
    )
    async with running(a_runner(event_log, new), stop_timeout_s=5.0):
        await wait_until(lambda: _published(event_log, 120), 30, "120 outcomes")
    seqs: dict[int, set[int]] = {}
    for record in await published(event_log):
        seq = orjson.loads(record.value)["seq"]
        seqs.setdefault(record.partition, set()).add(seq)
        is_new = record.offset >= before[event_log.outcomes][record.partition].end
        assert is_new == (seq > done.partitions[record.partition].seq)
    assert sum(len(numbers) for numbers in seqs.values()) == 120
    assert all(numbers == set(range(1, len(numbers) + 1)) for numbers in seqs.values())


async def _published(log: LogUnderTest, count: int) -> bool:
    bounds = await log.log.bounds(log.outcomes, range(log.partitions))
    return sum(b.end - b.start for b in bounds.values()) >= count


# --- As an operator does it ---------------------------------------------------------------------------


async def history(site: Deployment, order_id: str) -> list[dict[str, Any]]:
    """An order's trail as the command line shows it."""
    found = json.loads(await site.cli("order", "show", order_id, "--json"))
    items: list[dict[str, Any]] = found["items"]
    return items


async def post(site: Deployment, token: str, path: str, body: dict[str, Any]) -> None:
    """A callback that is taken, and its verdict."""
    headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=20"}
    async with aiohttp.ClientSession() as session, session.post(site.url + path, json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()


async def lose_store(site: Deployment, folder: Path, request: pytest.FixtureRequest) -> None:
    """The database is gone; an empty, migrated one is in its place."""
    for name in list(site.processes):
        await asyncio.to_thread(site.end, name)
    if site.mode == "embedded":
        await asyncio.to_thread(_move_store, Path(site.env["MEALTRAIL_DATA_DIR"]), folder / "kept")
        return
    urls = cast("Callable[[], DatabaseUrls]", request.getfixturevalue("create_database"))()
    site.env.update({"MEALTRAIL_DATABASE_URL": urls.runtime, "MEALTRAIL_MIGRATE_DATABASE_URL": urls.owner})
    await site.cli("migrate")


def _move_store(data: Path, kept: Path) -> None:
    kept.mkdir()
    for path in data.glob("store.db*"):
        shutil.move(path, kept / path.name)


@pytest.mark.slow
async def test_an_operator_brings_a_lost_database_back(
    deployment: Deployment, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """No process starts on the empty store, and says which command helps; after it the same trail goes on."""
    source_of = await deployment.cli_json("source", "add", "platform", "--role", "platform", "--auth", "bearer")
    await post(deployment, source_of["secret"], "/v1/orders", {"order_id": "A-1", "restaurant": "r1"})
    for value in STATUSES:
        body = {"order_id": "A-1", "status": value}
        await post(deployment, source_of["secret"], "/v1/webhooks/platform", body)
    before = await history(deployment, "A-1")
    await lose_store(deployment, tmp_path, request)

    for role in deployment.roles:
        deployment.start(role)
        process = deployment.processes.pop(role)
        assert await asyncio.to_thread(process.wait, 30) == 3, deployment.log_of(role)[-2000:]
        assert "mealtrail rebuild" in deployment.log_of(role)
        assert "history_lost" in deployment.log_of(role)
    done = await deployment.cli_json("rebuild")
    assert (done["ok"], done["let_go"], done["resumed"]) == (True, True, False)
    assert (done["records"], done["rows"]) == (4, 4)
    assert sum(partition["compared"] for partition in done["partitions"]) == 4
    assert "sources" in done["not_rebuilt"]
    assert await history(deployment, "A-1") == before
    await deployment.cli("rebuild", expect=3)  # it is not empty any more

    await deployment.up()
    again = await deployment.cli_json("source", "add", "platform", "--role", "platform", "--auth", "bearer")
    await post(deployment, again["secret"], "/v1/webhooks/platform", {"order_id": "A-1", "status": "TAKEN_BY_COURIER"})
    assert len(await history(deployment, "A-1")) == 5
    verified = await deployment.cli_json("audit", "verify")
    assert (verified["ok"], verified["rows"]) == (True, 5)


@pytest.mark.slow
async def test_a_living_deployment_is_held_against_a_second_store(deployment: Deployment, tmp_path: Path) -> None:
    """While it runs: a file somewhere else is filled as far as the deployment came, and says the same."""
    source_of = await deployment.cli_json("source", "add", "platform", "--role", "platform", "--auth", "bearer")
    await post(deployment, source_of["secret"], "/v1/orders", {"order_id": "A-1", "restaurant": "r1"})
    second = tmp_path / "second"
    done = await deployment.cli_json("rebuild", "--to-data-dir", str(second))
    assert (done["ok"], done["records"], done["store"]) == (True, 1, str(second / "store.db"))
    words = await deployment.cli("rebuild", "--to-data-dir", str(tmp_path / "third"))
    assert "1 records applied" in words
    assert "and the heads of the store at work compared, all the same" in words
    assert "consumers may start" not in words
    await deployment.cli("rebuild", "--to-data-dir", str(second), expect=3)
    await deployment.cli("rebuild", "--to", "sqlite:///x", expect=2)
    await deployment.cli("rebuild", "--to", "postgresql+asyncpg://x", "--to-data-dir", "x", expect=2)
    await deployment.cli("rebuild", expect=3)  # the one that runs is not empty, or its directory is taken
