"""Waiting for quiet: everything that was logged is applied, every hold that ends soon has ended, all is published."""

from __future__ import annotations

import asyncio
import json
import time

import asyncpg
from confluent_kafka import KafkaException

from tests.faults.suite.evidence import OUTCOMES, RECEIVED, Topics, read_tables
from tests.faults.suite.partners import SHORT_HOLD_MS

_LOOK_EVERY_S = 0.5


async def unquiet(topics: Topics, url: str) -> str | None:
    """What is still going on, in words; None when nothing is."""
    tables = await read_tables(url, ("offsets", "held_events"))
    ends = await asyncio.to_thread(topics.ends, RECEIVED)
    at = {row["partition"]: row for row in tables["offsets"]}
    behind = {number: end - (at[number]["next"] if number in at else 0) for number, end in ends.items()}
    if any(behind.values()):
        return f"records not applied: {behind}"
    soon = time.time() * 1000 + 10 * SHORT_HOLD_MS
    due = [row["deadline_ms"] for row in tables["held_events"] if (row["deadline_ms"] or soon) < soon]
    if due:
        return f"{len(due)} holds end soon"
    published = await asyncio.to_thread(topics.read, OUTCOMES)
    heads = {number: max((json.loads(m.value)["seq"] for m in found), default=0) for number, found in published.items()}
    lag = {number: row["seq"] - heads[number] for number, row in at.items()}
    return f"rows not published: {lag}" if any(lag.values()) else None


async def wait_for_quiet(topics: Topics, url: str, limit_s: float) -> str | None:
    """None as soon as it is quiet; what is still going on after `limit_s`."""
    give_up = time.monotonic() + limit_s
    while True:
        try:
            trouble = await unquiet(topics, url)
        except (OSError, TimeoutError, asyncpg.PostgresError, KafkaException) as error:
            trouble = f"cannot look: {error!r}"
        if trouble is None or time.monotonic() > give_up:
            return trouble
        await asyncio.sleep(_LOOK_EVERY_S)
