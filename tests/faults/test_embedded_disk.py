"""The embedded default on a full disk and on a read-only one: nothing accepted is lost, and it says what to do."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from backbone.eventlog.embedded_file import FILE_NAME
from service.cli.exits import ExitCode
from tests.support.deployments import Deployment, embedded_deployment
from tests.support.disks import SmallDisk, small_disk
from tests.support.partners import Client, add_client
from tests.support.waiting import wait_until

REFUSALS = 5


@pytest.fixture
async def on_small_disk(tmp_path: Path) -> AsyncIterator[tuple[Deployment, SmallDisk]]:
    """An embedded mealtrail, running, whose data lie on a small disk of their own."""
    with small_disk(tmp_path / "disk", megabytes=6) as disk:
        data_dir = str(disk.folder / "data")
        made = embedded_deployment(tmp_path, MEALTRAIL_DATA_DIR=data_dir, MEALTRAIL_LOG_LEVEL="WARNING")
        try:
            await made.up()
            yield made, disk
        finally:
            await asyncio.to_thread(made.close)


async def post_until_refused(client: Client) -> dict[str, str]:
    """Posts events until several in a row are refused; receipts of those that were accepted, by order."""
    accepted: dict[str, str] = {}
    refused = 0
    for number in range(2000):
        body = {"order_id": f"full-{number}", "status": "NEW", "comment": "x" * 400}
        answer = await client.call("POST", f"/v1/webhooks/{client.name}", body)
        if answer.status == 202:
            accepted[body["order_id"]], refused = answer.body["receipt_id"], 0
            continue
        assert (answer.status, answer.body["code"]) == (503, "log_unavailable"), answer
        assert int(answer.headers["Retry-After"]) >= 1
        refused += 1
        if refused == REFUSALS:
            return accepted
    pytest.fail("the disk never was full")


async def test_a_full_disk(on_small_disk: tuple[Deployment, SmallDisk]) -> None:
    """503 with Retry-After while it lasts and one line that says what to do; with room again it goes on by itself, and
    every event that was answered 202, before and meanwhile, has its verdict.
    """
    deployment, disk = on_small_disk
    log_file = Path(deployment.env["MEALTRAIL_DATA_DIR"]) / FILE_NAME
    async with aiohttp.ClientSession() as session:
        platform = await add_client(deployment, session, "platform", "--role", "platform", "--rate", "100000")
        assert await platform.verdict("before", "NEW") == ("applied", None)
        pid = deployment.processes["up"].pid
        disk.fill(pid, log_file.with_name(f"{FILE_NAME}-wal"))
        accepted = await post_until_refused(platform)
        said = [line for line in deployment.log_of("up").splitlines() if "log_not_writable" in line]
        assert len(said) == 1, "once, however many appends fail"
        assert str(log_file) in said[0]
        assert "disk" in said[0]

        async def is_not_ready() -> bool:
            async with session.get(f"{deployment.url}/readyz") as answer:
                return answer.status == 503

        await wait_until(is_not_ready, timeout=10.0, what="readiness to tell of it")
        disk.make_room(pid)

        async def accepts() -> bool:
            body = {"order_id": "after", "status": "NEW", "event_id": "after"}
            return (await platform.call("POST", "/v1/webhooks/platform", body)).status == 202

        await wait_until(accepts, timeout=10.0, what="the log to take events again")
        for receipt in accepted.values():
            assert await platform.await_verdict(receipt) == ("applied", None)
        assert await platform.verdict("after", "COOKING") == ("applied", None)
    report = await deployment.cli_json("audit", "verify")
    assert report["ok"], report


async def test_killed_on_a_full_disk(on_small_disk: tuple[Deployment, SmallDisk]) -> None:
    """A start on the full disk ends with a line that names the disk, or runs; with room again all that was accepted is
    there.
    """
    deployment, disk = on_small_disk
    log_file = Path(deployment.env["MEALTRAIL_DATA_DIR"]) / FILE_NAME
    async with aiohttp.ClientSession() as session:
        platform = await add_client(deployment, session, "platform", "--role", "platform", "--rate", "100000")
        disk.fill(deployment.processes["up"].pid, log_file.with_name(f"{FILE_NAME}-wal"))
        accepted = await post_until_refused(platform)
        deployment.end("up", signal.SIGKILL)
        if disk.mounted:
            deployment.start("up")
            server = deployment.processes["up"]

            async def ended_or_ready() -> bool:
                if server.poll() is not None:
                    return True
                try:
                    async with session.get(f"{deployment.url}/healthz") as answer:
                        return answer.status == 200
                except aiohttp.ClientError:
                    return False

            await wait_until(ended_or_ready, timeout=30.0, what="the start to end somehow")
            if server.poll() is not None:
                assert server.returncode in (ExitCode.UNAVAILABLE, ExitCode.CONFIGURATION)
                last = deployment.log_of("up").strip().splitlines()[-1]
                assert last.startswith("mealtrail: ")
                assert "full" in last or "No space" in last
            deployment.end("up", signal.SIGKILL)
            disk.make_room(0)
        deployment.start("up")
        await deployment.ready()
        for receipt in accepted.values():
            assert await platform.await_verdict(receipt) == ("applied", None)
    report = await deployment.cli_json("audit", "verify")
    assert report["ok"], report


async def test_a_read_only_directory(on_small_disk: tuple[Deployment, SmallDisk]) -> None:
    """Exit 3 and one line with the path, for the server and for commands; writable again, all is as it was."""
    deployment, disk = on_small_disk
    if not disk.mounted and os.geteuid() == 0:
        pytest.skip("root without the right to mount: nothing is read-only to it")
    async with aiohttp.ClientSession() as session:
        platform = await add_client(deployment, session, "platform", "--role", "platform")
        assert await platform.verdict("before", "NEW") == ("applied", None)
        assert deployment.end("up") == 0
        with disk.read_only():
            deployment.start("up")
            server = deployment.processes["up"]
            await wait_until(lambda: server.poll() is not None, timeout=30.0, what="the server to give up")
            assert server.returncode == ExitCode.CONFIGURATION
            last = deployment.log_of("up").strip().splitlines()[-1]
            assert f"MEALTRAIL_DATA_DIR: {deployment.env['MEALTRAIL_DATA_DIR']} cannot be written to" in last
            assert last.endswith("[configuration_error]")
            deployment.end("up")
            await deployment.cli("source", "list", expect=ExitCode.CONFIGURATION)
        deployment.start("up")
        await deployment.ready()
        assert await platform.verdict("before", "COOKING") == ("applied", None)
