"""10,000 events over HTTP while processes are killed: every 202 ends in exactly one final verdict."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from random import Random
from typing import Any

import aiohttp
import pytest

from tests.support.deployments import Deployment, deployment
from tests.support.partners import Client, add_client, add_reader
from tests.support.waiting import wait_until

__all__ = ["deployment"]

EVENTS = 10_000
STEPS = ("NEW", "ACCEPTED_BY_RESTAURANT", "COOKING", "READY", "DELIVERED")
KILLS = 4
POSTERS = 32


async def post_until_accepted(client: Client, order_id: str, step: str) -> None:
    """Posts one event, again and again, until it is answered 202. Its event id makes the repeats harmless."""
    body = {"order_id": order_id, "status": step, "event_id": f"{order_id}/{step}"}
    for _ in range(600):
        try:
            answer = await client.call("POST", f"/v1/webhooks/{client.name}", body)
        except (aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(0.1)  # the process is down; there is nothing to wait on but time
            continue
        if answer.status == 202:
            return
        assert answer.status in (429, 503), answer
        await asyncio.sleep(0.1)
    pytest.fail(f"{order_id} {step} was never accepted")


async def post_everything(client: Client, rng: Random, progress: Counter[str]) -> None:
    """Every step of every order, in an order of its own for each: some come before the announcement."""
    waiting = [f"order-{number}" for number in range(EVENTS // len(STEPS))]

    async def poster() -> None:
        while waiting:
            order_id = waiting.pop()
            steps = list(STEPS)
            if rng.random() < 0.3:
                rng.shuffle(steps)
            for step in steps:
                await post_until_accepted(client, order_id, step)
                progress["accepted"] += 1

    await asyncio.gather(*(poster() for _ in range(POSTERS)))


async def kill_now_and_then(deployment: Deployment, rng: Random, progress: Counter[str]) -> None:
    """Kills the process that consumes, at random points of the load, and starts it again."""
    victim = deployment.roles[-1]
    points = sorted(rng.sample(range(EVENTS // 20, EVENTS), KILLS))
    for point in points:
        await wait_until(lambda point=point: progress["accepted"] >= point, timeout=240.0, what=f"{point} events")
        await asyncio.to_thread(deployment.end, victim, signal.SIGKILL)
        deployment.start(victim)
        progress["kills"] += 1


async def all_outcomes(reader: Client) -> list[dict[str, Any]]:
    """The changes feed from its beginning to its present end."""
    items: list[dict[str, Any]] = []
    position = ""
    while True:
        page = (await reader.call("GET", f"/v1/changes?after={position}&limit=1000")).body
        items += page["items"]
        position = page["next"]
        if not page["items"]:
            return items


@pytest.mark.slow
async def test_every_accepted_event_has_exactly_one_verdict(deployment: Deployment) -> None:
    """Consumers killed with SIGKILL in the middle of it: nothing lost, nothing twice, every chain verifies."""
    rng, progress = Random(20261121), Counter[str]()
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=POSTERS)) as session:
        platform = await add_client(deployment, session, "platform", "--role", "platform", "--rate", "100000")
        reader = await add_reader(deployment, session)
        await asyncio.gather(
            post_everything(platform, rng, progress), kill_now_and_then(deployment, Random(7), progress)
        )
        assert progress["accepted"] == EVENTS
        assert progress["kills"] == KILLS
        await deployment.ready()
        verdicts: Counter[tuple[str, str]] = Counter()

        async def all_decided() -> bool:
            outcomes = [item for item in await all_outcomes(reader) if not item["inferred"]]
            verdicts.clear()
            verdicts.update((item["order_id"], item["event_id"]) for item in outcomes)
            return len(verdicts) >= EVENTS

        await wait_until(all_decided, timeout=90.0, what="all verdicts")
        assert set(verdicts.values()) == {1}
        assert {event_id for _, event_id in verdicts} == {
            f"order-{number}/{step}" for number in range(EVENTS // len(STEPS)) for step in STEPS
        }
    report = await deployment.cli_json("audit", "verify")
    assert report["ok"], report
