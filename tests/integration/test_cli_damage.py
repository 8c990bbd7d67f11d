"""What a lost key ring and a damaged store look like from the command line: an exit code and a line that help."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from backbone.store.opening import STORE_FILE
from backbone.store.secrets import KEY_FILE
from service.cli.exits import ExitCode
from tests.support.deployments import Deployment, embedded_deployment
from tests.support.partners import add_client
from tests.support.waiting import wait_until


@pytest.fixture
async def stopped(tmp_path: Path) -> AsyncIterator[Deployment]:
    """An embedded mealtrail with one source and one order, stopped."""
    made = embedded_deployment(tmp_path, MEALTRAIL_PARTITIONS="1")
    try:
        await made.up()
        async with aiohttp.ClientSession() as session:
            platform = await add_client(made, session, "platform", "--role", "platform")
            assert await platform.verdict("o1", "NEW") == ("applied", None)
        made.end("up")
        yield made
    finally:
        made.close()


def data_dir(deployment: Deployment) -> Path:
    """Where its files lie."""
    return Path(deployment.env["MEALTRAIL_DATA_DIR"])


def damage(deployment: Deployment, *statements: str) -> None:
    """Changes the store behind its own back, without triggers and constraints."""
    connection = sqlite3.connect(data_dir(deployment) / STORE_FILE)
    try:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    finally:
        connection.close()


async def test_lost_keys_stop_the_start(stopped: Deployment) -> None:
    """No new ring is made beside sources that it could not open, neither by the server nor by a command; commands that
    need no keys go on, and a ring in the environment is the way out.
    """
    (data_dir(stopped) / KEY_FILE).unlink()
    stopped.start("up")
    server = stopped.processes["up"]
    await wait_until(lambda: server.poll() is not None, timeout=30.0, what="the server to give up")
    assert server.returncode == ExitCode.CONFIGURATION
    assert "MEALTRAIL_SECRET_KEYS" in stopped.log_of("up")
    assert str(data_dir(stopped) / KEY_FILE) in stopped.log_of("up")
    for command in (("list",), ("add", "another", "--role", "courier"), ("disable", "platform")):
        await stopped.cli("source", *command, expect=ExitCode.CONFIGURATION)
    assert not (data_dir(stopped) / KEY_FILE).exists()
    await stopped.cli("audit", "verify")
    stopped.env["MEALTRAIL_SECRET_KEYS"] = "new:" + base64.b64encode(bytes(32)).decode()
    stopped.start("up")
    await stopped.ready()
    async with aiohttp.ClientSession() as session, session.get(f"{stopped.url}/readyz") as answer:
        sources = (await answer.json())["parts"]["sources"]
    assert sources.startswith("degraded: key '")
    assert sources.endswith("' missing for source platform")


@pytest.mark.parametrize(
    ("statements", "problem"),
    [
        (["DELETE FROM trail", "DELETE FROM offsets"], "its trail and its offsets row are gone"),
        (["UPDATE trail SET order_id = 'a' || char(55296)"], "cannot be read"),
        (["ALTER TABLE trail RENAME TO away"], "the table trail is missing"),
        (["ALTER TABLE offsets RENAME TO away"], "the table offsets is missing"),
    ],
)
async def test_a_damaged_trail_is_a_finding_and_not_a_crash(
    stopped: Deployment, statements: list[str], problem: str
) -> None:
    """Exit 1 and the place, whatever was done to the store."""
    damage(stopped, *statements)
    report = await stopped.cli_json("audit", "verify", expect=ExitCode.NEGATIVE)
    assert report["ok"] is False
    assert problem in report["first_bad"]["problem"]
