"""The embedded default when its directory is taken away, exchanged, damaged or wanted by a second process."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from backbone.eventlog.embedded_file import FILE_NAME
from backbone.store.opening import STORE_FILE
from service.cli.exits import ExitCode
from tests.support.deployments import Deployment, embedded_deployment
from tests.support.partners import add_client
from tests.support.waiting import wait_until


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Deployment]:
    """An embedded mealtrail that runs."""
    made = embedded_deployment(tmp_path, MEALTRAIL_LOG_LEVEL="WARNING", MEALTRAIL_PARTITIONS="2")
    try:
        await made.up()
        yield made
    finally:
        await asyncio.to_thread(made.close)


def data_dir(deployment: Deployment) -> Path:
    """Where its files lie."""
    return Path(deployment.env["MEALTRAIL_DATA_DIR"])


async def refused_start(deployment: Deployment, name: str = "up") -> str:
    """Starts a server that must give up with exit 3; its last line."""
    deployment.start(name, "up")
    server = deployment.processes[name]
    await wait_until(lambda: server.poll() is not None, timeout=30.0, what="the server to give up")
    assert server.returncode == ExitCode.CONFIGURATION, deployment.log_of(name)
    deployment.end(name)
    return deployment.log_of(name).strip().splitlines()[-1]


async def test_a_directory_that_is_taken_away_and_put_back(running: Deployment) -> None:
    """503 while it is away and while another one lies in its place, which stays without a log; put back, it goes on
    without a restart, and what was accepted before is there.
    """
    here, away = data_dir(running), data_dir(running).with_name("away")
    async with aiohttp.ClientSession() as session:
        platform = await add_client(running, session, "platform", "--role", "platform")
        assert await platform.verdict("o1", "NEW") == ("applied", None)

        async def is_refused() -> None:
            answer = await platform.call("POST", "/v1/webhooks/platform", {"order_id": "lost", "status": "NEW"})
            assert (answer.status, answer.body["code"]) == (503, "log_unavailable"), answer
            assert int(answer.headers["Retry-After"]) >= 1

        here.rename(away)
        await is_refused()
        here.mkdir(mode=0o700)
        await is_refused()
        assert not (here / FILE_NAME).exists()
        said = [line for line in running.log_of("up").splitlines() if "log_not_writable" in line]
        assert len(said) == 1
        assert f"{here / FILE_NAME} was removed or replaced" in said[0]
        assert '"code":"log_unusable"' in said[0]
        shutil.rmtree(here)
        away.rename(here)
        assert await platform.verdict("o1", "COOKING") == ("applied", None)
        history = await platform.call("GET", "/v1/orders/o1/history")
        assert [item["to_status"] for item in history.body["items"]][-1] == "COOKING"
    report = await running.cli_json("audit", "verify")
    assert report["ok"], report


async def test_another_log_in_its_place_is_not_written(running: Deployment) -> None:
    """A backup of the log that is put there under the running server takes nothing until a restart reads it."""
    here = data_dir(running)
    async with aiohttp.ClientSession() as session:
        platform = await add_client(running, session, "platform", "--role", "platform")
        assert await platform.verdict("o1", "NEW") == ("applied", None)
        backup = here.with_name("backup.db")
        with sqlite3.connect(here / FILE_NAME) as source, sqlite3.connect(backup) as target:
            source.backup(target)
        source.close()
        target.close()
        before = backup.read_bytes()
        shutil.copy(backup, here / "new.db")
        (here / "new.db").rename(here / FILE_NAME)
        answer = await platform.call("POST", "/v1/webhooks/platform", {"order_id": "o2", "status": "NEW"})
        assert (answer.status, answer.body["code"]) == (503, "log_unavailable")
        assert (here / FILE_NAME).read_bytes() == before


async def test_a_wal_that_is_taken_away_is_noticed(running: Deployment) -> None:
    """The newest records lie in it: 503 from then on, also after a second try; an orderly stop brings them home."""
    here = data_dir(running)
    async with aiohttp.ClientSession() as session:
        platform = await add_client(running, session, "platform", "--role", "platform")
        assert await platform.verdict("o1", "NEW") == ("applied", None)
        (here / f"{FILE_NAME}-wal").unlink()
        for _ in range(3):
            answer = await platform.call("POST", "/v1/webhooks/platform", {"order_id": "lost", "status": "NEW"})
            assert (answer.status, answer.body["code"]) == (503, "log_unavailable"), answer
        assert not (here / f"{FILE_NAME}-wal").exists()
        said = [line for line in running.log_of("up").splitlines() if "log_not_writable" in line]
        assert len(said) == 1
        assert f"{FILE_NAME}-wal was removed or replaced" in said[0]
        assert '"code":"log_unusable"' in said[0]
        assert running.end("up") == 0
        running.start("up")
        await running.ready()
        assert await platform.verdict("o1", "COOKING") == ("applied", None)
    report = await running.cli_json("audit", "verify", "--topic", "--receipts")
    assert report["ok"], report


async def test_a_log_at_debug_has_nothing_personal(tmp_path: Path) -> None:
    """Announcement, amendment, comments, an unknown field and an erasure: no value of theirs is in the log, nor a
    salt.
    """
    deployment = embedded_deployment(tmp_path, MEALTRAIL_LOG_LEVEL="DEBUG", MEALTRAIL_PARTITIONS="2")
    try:
        await deployment.up()
        async with aiohttp.ClientSession() as session:
            platform = await add_client(deployment, session, "platform", "--role", "platform")
            customer = {"name": "QQPII Ana", "phone": "+34QQPII"}
            order = {"order_id": "o1", "restaurant": "r1", "details": {"customer": customer, "remarks": "QQPII"}}
            assert (await platform.call("POST", "/v1/orders", order | {"external_ids": ["QQPII-1"]})).status == 202
            assert await platform.verdict("o1", "COOKING", comment="QQPII rings twice") == ("applied", None)
            await deployment.cli("erase", "order", "o1", "--reason", "asked", "--yes")
        with sqlite3.connect(data_dir(deployment) / STORE_FILE) as store:
            salts = [salt for (salt,) in store.execute("SELECT salt FROM event_payloads WHERE salt IS NOT NULL")]
        store.close()
        log = deployment.log_of("up")
        assert '"level":"debug"' in log
        assert "QQPII" not in log
        assert not [salt for salt in salts if salt in log]
    finally:
        await asyncio.to_thread(deployment.close)


async def test_a_lost_or_older_log_stops_the_start(running: Deployment) -> None:
    """A store whose log is gone, or is of an earlier day: exit 3 with both paths, and nothing is made or taken in. The
    right one put back, it runs.
    """
    here = data_dir(running)
    file, older, right = here / FILE_NAME, here.with_name("older.db"), here.with_name("right.db")
    async with aiohttp.ClientSession() as session:
        platform = await add_client(running, session, "platform", "--role", "platform")
        for step, kept in (("NEW", older), ("COOKING", right)):
            assert await platform.verdict("o1", step) == ("applied", None)
            assert running.end("up") == 0
            assert not list(here.glob(f"{FILE_NAME}-*")), "an orderly stop leaves one file"
            shutil.copy(file, kept)
            if kept is older:
                running.start("up")
                await running.ready()
        file.unlink()
        line = await refused_start(running)
        assert f"{file} is missing" in line
        assert line.rstrip().endswith("[log_mismatch]")
        assert str(here / STORE_FILE) in line
        assert not file.exists()
        shutil.copy(older, file)
        line = await refused_start(running)
        assert f"{file} is not the log that {here / STORE_FILE} was filled from" in line
        assert line.rstrip().endswith("[log_gap]")
        shutil.copy(right, file)
        running.start("up")
        await running.ready()
        assert await platform.verdict("o1", "READY") == ("applied", None)


async def test_a_damaged_log_stops_the_start(running: Deployment) -> None:
    """Exit 3, the path, and what to do; the file put back, it runs and has everything."""
    async with aiohttp.ClientSession() as session:
        platform = await add_client(running, session, "platform", "--role", "platform")
        assert await platform.verdict("o1", "NEW") == ("applied", None)
        assert running.end("up") == 0
        file = data_dir(running) / FILE_NAME
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        line = await refused_start(running)
        assert f"the embedded log {file}" in line
        assert "the file is damaged" in line
        assert line.endswith("[log_unusable]")
        for rest in file.parent.glob(f"{FILE_NAME}-*"):
            rest.unlink()
        file.write_bytes(whole)
        running.start("up")
        await running.ready()
        assert await platform.verdict("o1", "COOKING") == ("applied", None)


async def test_a_second_process_is_refused_even_beside_a_frozen_one(running: Deployment) -> None:
    """Exit 3 with the first one's process id; commands work beside it; the first goes on as if nothing had been."""
    first = running.processes["up"]
    async with aiohttp.ClientSession() as session:
        platform = await add_client(running, session, "platform", "--role", "platform")
        for frozen in (False, True):
            if frozen:
                first.send_signal(signal.SIGSTOP)
            ports = {"MEALTRAIL_PORT": "0", "MEALTRAIL_ADMIN_PORT": "0"}
            running.start("second", "up", **ports)
            second = running.processes["second"]
            await wait_until(lambda second=second: second.poll() is not None, timeout=30.0, what="a refusal")
            assert second.returncode == ExitCode.CONFIGURATION
            running.end("second")
            line = running.log_of("second").strip().splitlines()[-1]
            assert f"process {first.pid}" in line
            assert line.endswith("[data_directory_locked]")
            first.send_signal(signal.SIGCONT)
        assert await platform.verdict("o1", "NEW") == ("applied", None)
