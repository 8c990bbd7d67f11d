"""The embedded default killed at random points, and started with a clock that has gone back."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import aiohttp
import pytest

from backbone.eventlog.embedded_file import FILE_NAME
from tests.support.deployments import Deployment, embedded_deployment
from tests.support.partners import Client, add_client, add_reader
from tests.support.waiting import wait_until

ROUNDS = 6
POSTERS = 8
STEPS = ("NEW", "ACCEPTED_BY_RESTAURANT", "COOKING", "READY", "DELIVERED")
AN_HOUR_MS = 3600_000


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Deployment]:
    """An embedded mealtrail that runs."""
    made = embedded_deployment(tmp_path, MEALTRAIL_LOG_LEVEL="WARNING")
    try:
        await made.up()
        yield made
    finally:
        await asyncio.to_thread(made.close)


async def post_until_killed(client: Client, round_number: int, accepted: set[str], killed: asyncio.Event) -> None:
    """Takes orders through their steps until the server is gone; what was answered 202 goes into `accepted`."""

    async def poster(number: int) -> None:
        turn = 0
        while not killed.is_set():
            turn += 1
            for step in STEPS:
                order_id = f"r{round_number}-{number}-{turn}"
                body = {"order_id": order_id, "status": step, "event_id": f"{order_id}/{step}"}
                try:
                    answer = await client.call("POST", f"/v1/webhooks/{client.name}", body)
                except (aiohttp.ClientError, TimeoutError):
                    return
                if answer.status == 202:
                    accepted.add(body["event_id"])

    await asyncio.gather(*(poster(number) for number in range(POSTERS)))


class Outcomes:
    """The changes feed, read on from where the last look ended: how often each event was decided."""

    def __init__(self, reader: Client) -> None:
        self._reader = reader
        self._position = ""
        self.verdicts: Counter[str] = Counter()

    async def read_on(self) -> None:
        """Reads to the present end."""
        while True:
            page = (await self._reader.call("GET", f"/v1/changes?after={self._position}&limit=1000")).body
            self.verdicts.update(item["event_id"] for item in page["items"] if not item["inferred"])
            self._position = page["next"]
            if not page["items"]:
                return


async def test_killed_at_random_points(running: Deployment) -> None:
    """Amid posting, and amid starting: each 202 has exactly one verdict, nothing has two, every chain verifies."""
    seed = int(os.environ.get("SEED", "20261122"))
    rng = Random(seed)
    print(f"SEED={seed}")  # noqa: T201 - shown with a failure
    accepted: set[str] = set()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        platform = await add_client(running, session, "platform", "--role", "platform", "--rate", "100000")
        reader = await add_reader(running, session)
        for number in range(ROUNDS):
            await running.ready()
            killed = asyncio.Event()
            posting = asyncio.create_task(post_until_killed(platform, number, accepted, killed))
            goal = len(accepted) + rng.randrange(1, 400)
            await wait_until(lambda goal=goal: len(accepted) >= goal, timeout=60.0, what=f"{goal} events")
            running.end("up", signal.SIGKILL)
            killed.set()
            await posting
            if rng.random() < 0.5:  # and once more while it starts
                running.start("up")
                await asyncio.sleep(rng.uniform(0.0, 1.2))  # a point in the life of another process
                running.end("up", signal.SIGKILL)
            running.start("up")
        await running.ready()
        outcomes = Outcomes(reader)

        async def all_decided() -> bool:
            await outcomes.read_on()
            return accepted <= outcomes.verdicts.keys()

        await wait_until(all_decided, timeout=120.0, what="all verdicts")
        assert set(outcomes.verdicts.values()) == {1}
    report = await running.cli_json("audit", "verify")
    assert report["ok"], report


async def test_a_clock_that_went_back(running: Deployment) -> None:
    """Log time waits for the clock instead of going back, orders move on meanwhile, and the chain verifies."""
    async with aiohttp.ClientSession() as session:
        platform = await add_client(running, session, "platform", "--role", "platform")
        assert await platform.verdict("o1", "NEW") == ("applied", None)
        assert running.end("up") == 0
        ahead = time.time_ns() // 1_000_000 + AN_HOUR_MS
        log = sqlite3.connect(Path(running.env["MEALTRAIL_DATA_DIR"]) / FILE_NAME)
        with log:  # as if all this had been written by a clock that was an hour ahead
            log.execute("UPDATE partitions SET last_ms = ?", (ahead,))
        log.close()
        running.start("up")
        await running.ready()
        for step in STEPS[1:]:
            assert await platform.verdict("o1", step) == ("applied", None)
        history = (await platform.call("GET", "/v1/orders/o1/history")).body["items"]
        assert [item["reported_status"] for item in history if not item["inferred"]] == list(STEPS)
        decided = [item["decided_at"] for item in history]
        assert decided == sorted(decided)
    report = await running.cli_json("audit", "verify")
    assert report["ok"], report
