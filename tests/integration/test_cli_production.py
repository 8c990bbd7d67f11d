"""The command line on real Kafka and PostgreSQL: migrate, several workers on one port, a consumer, an operator."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from backbone.store.migration import REQUIRED_REVISION
from tests.support.deployments import ROOT, Deployment, kafka_deployment
from tests.support.kafka import KafkaBroker
from tests.support.postgres_databases import PASSWORD, DatabaseUrls
from tests.support.processes import forget_process, guard_process
from tests.support.waiting import wait_until
from tests.support.warm_commands import run_command

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


@pytest.fixture
async def production(
    tmp_path: Path, kafka_broker: KafkaBroker, database_urls: DatabaseUrls, topic_prefix: str
) -> AsyncIterator[Deployment]:
    """Settings of a production deployment on fresh topics and an empty database; nothing runs yet."""
    made = kafka_deployment(tmp_path, kafka_broker.bootstrap, database_urls, topic_prefix, MEALTRAIL_ADMIN_PORT="0")
    yield made
    await asyncio.to_thread(made.close)


async def test_start_up_says_what_is_missing(production: Deployment) -> None:
    """Before `migrate` a server ends with exit 3 and says what to do; after it with other partitions, too."""
    refused = await run(production, "serve")
    assert refused[0] == 3
    assert "mealtrail migrate" in refused[2]
    assert production.env["MEALTRAIL_DATABASE_URL"] not in refused[2]
    first = await production.cli_json("migrate")
    assert first == await production.cli_json("migrate")
    assert [topic["partitions"] for topic in first["topics"]] == [4, 4, 4]
    for command in ("serve", "consume"):
        other = await run(production, command, MEALTRAIL_PARTITIONS="5")
        assert other[0] == 3
        assert "partition" in other[2]


async def test_a_migration_without_kafka_says_that_the_store_is_done(production: Deployment) -> None:
    """Exit 4; the store's line is there, and nothing else is printed or logged beside the error."""
    code, out, err = await run(production, "migrate", MEALTRAIL_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert (code, out) == (4, f"store   revision {REQUIRED_REVISION}\n")
    assert re.fullmatch(r"mealtrail: .+ \[log_unavailable\]\n", err)


async def run(production: Deployment, *arguments: str, **more: str) -> tuple[int | None, str, str]:
    """One command to its end: exit code, standard output, standard error."""
    done = await asyncio.to_thread(run_command, arguments, {**production.env, **more})
    return done.returncode, done.stdout, done.stderr


async def test_workers_share_the_port_and_are_started_again(production: Deployment) -> None:
    """Two workers and a consumer; one worker is killed; the order goes on; all stop in order."""
    await production.cli("migrate")
    platform = await production.cli_json("source", "add", "p", "--role", "platform", "--auth", "bearer")
    supervisor, out = start_serve(production)
    try:
        production.start("consume")
        await production.ready()
        workers = await workers_of(supervisor, 2)
        for _ in range(20):
            async with aiohttp.ClientSession() as session, session.get(f"{production.url}/healthz") as answer:
                assert answer.status == 200
        assert await statuses(production, platform["secret"], "o1", "NEW") == ("applied", 0)

        workers[0].send_signal(signal.SIGKILL)
        await wait_until(lambda: not workers[0].is_running() or workers[0].status() == psutil.STATUS_ZOMBIE)
        again = await workers_of(supervisor, 2)
        assert {worker.pid for worker in again} != {worker.pid for worker in workers}
        await production.ready()
        assert await statuses(production, platform["secret"], "o1", "READY") == ("applied", 0)

        moved = await production.cli_json("order", "move", "o1", "COOKING", "--reason", "the kitchen called")
        assert moved["receipt"]["verdict"] == "applied"
        assert (await production.cli_json("order", "show", "o1"))["status"] == "COOKING"
        assert (await production.cli_json("audit", "verify"))["ok"] is True

        log = production.folder / "serve.log"  # /readyz is one worker's word: the other may be starting still
        await wait_until(lambda: log.read_text().count('"event":"ready"') == 3, timeout=60, what="each to be ready")
        supervisor.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(supervisor.wait, 30) == 0
        assert not any(worker.is_running() for worker in again)
        assert production.end("consume") == 0
        printed = out.read_text()
        assert "2 workers" in printed
        assert (production.folder / "serve.log").read_text().count('"in_order":true') == 2
        assert re.search(r"  admin   http://127\.0\.0\.1:\d+  ", (production.folder / "consume.log").read_text())
        assert f":{PASSWORD}@" not in printed + (production.folder / "serve.log").read_text()
    finally:
        await asyncio.to_thread(end, supervisor)


async def test_workers_end_when_their_supervisor_is_killed(production: Deployment) -> None:
    """Nobody is left behind on the port."""
    await production.cli("migrate")
    supervisor, _ = start_serve(production)
    try:
        await production.ready()
        workers = await workers_of(supervisor, 2)
        supervisor.kill()
        supervisor.wait(10)
        await wait_until(
            lambda: not any(worker.is_running() for worker in workers), timeout=30, what="the workers' end"
        )
    finally:
        await asyncio.to_thread(end, supervisor)


def start_serve(production: Deployment) -> tuple[subprocess.Popen[bytes], Path]:
    """`mealtrail serve --workers 2`, and the file with what it prints."""
    printed = production.folder / "serve.out"
    with printed.open("wb") as stdout, (production.folder / "serve.log").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve", "--workers", "2"],
            cwd=ROOT,
            env=production.env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    guard_process(process.pid, signal.SIGTERM)
    return process, printed


async def workers_of(supervisor: subprocess.Popen[bytes], count: int) -> list[psutil.Process]:
    """The live workers, once there are so many."""

    def living() -> list[Any]:
        children = psutil.Process(supervisor.pid).children()
        return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]

    await wait_until(lambda: len(living()) == count, timeout=30, what=f"{count} workers")
    return living()


async def statuses(production: Deployment, token: str, order_id: str, status: str) -> tuple[str, int | None]:
    """Posts a status by `mealtrail send`: the verdict, and the exit code."""
    command = ("send", order_id, status, "--source", "p", "--token", token, "--url", production.url, "--wait", "20")
    code, out, err = await run(production, *command)
    assert out, err
    return out.splitlines()[-1].split()[0], code


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends it if it still runs."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
    forget_process(process.pid)
