"""The code that the documents show, run against what it is written for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from backbone.eventlog.opening import open_event_log
from backbone.settings import Settings
from consumers.relay import outcome_record
from schemas.canonical import GENESIS
from schemas.outcomes import hash_row
from schemas.topics import OUTCOMES as TOPIC
from schemas.topics import topic_specs
from tests.support.chains import trail_row, write_trail
from tests.support.documents import OUTCOMES, README, run_code
from tests.support.http_face import serve_site
from tests.support.kafka import KafkaBroker

ROWS = 6


async def test_the_readmes_signing_example_is_accepted(tmp_path: Path) -> None:
    """What the README tells partners to send is answered 202 with a receipt."""
    post_status = run_code(README, "signing")["post_status"]
    async with serve_site(tmp_path) as site:
        secret = await site.add_source("kitchen-7")
        answer = await asyncio.to_thread(post_status, site.face.public.url, "kitchen-7", secret, "A-1", "READY")
    assert set(answer) == {"event_id", "receipt_id"}


async def test_the_documented_changes_reader_pages_to_the_end(tmp_path: Path) -> None:
    """More rows than a page, over two partitions, and all of them verify. An empty trail ends it at once."""
    changes = run_code(OUTCOMES, "changes")["changes"]
    verify = run_code(OUTCOMES, "verify")["verify"]
    async with serve_site(tmp_path) as site:
        token = (await site.add_token())["Authorization"].removeprefix("Bearer ")
        url = site.face.public.url
        assert await asyncio.to_thread(lambda: list(changes(url, token))) == []
        await write_trail(site.store, [trail_row(0, seq) for seq in range(1, 1501)])
        await write_trail(site.store, [trail_row(1, seq) for seq in range(1, 4)])
        heads = await asyncio.to_thread(lambda: verify(changes(url, token)))
    assert {partition: seq for partition, (seq, _) in heads.items()} == {0: 1500, 1: 3}


@pytest.mark.kafka
async def test_the_documented_reader_reads_each_outcome_once(kafka_broker: KafkaBroker, topic_prefix: str) -> None:
    """On a real topic that holds a batch twice, the reader gives each row once, and the rows verify."""
    settings = Settings(
        kafka_bootstrap_servers=kafka_broker.bootstrap,
        database_url=SecretStr(
            "postgresql+asyncpg://nobody@127.0.0.1:1/none"
        ),  # the settings want both; no store is opened
        secret_keys=SecretStr("k1:none"),
    )
    topic, head, batch = topic_prefix + TOPIC, GENESIS, []
    for seq in range(1, ROWS + 1):
        row = trail_row(1, seq)
        head = hash_row(head, row)
        batch.append(outcome_record(row, head))
    log = open_event_log(settings)
    await log.start()
    try:
        await log.create_topics(topic_specs(prefix=topic_prefix, partitions=2, replication=1, min_insync=1))
        await log.append(topic, batch[:4])
        await log.append(topic, batch[2:])
    finally:
        await log.stop()
    seen: dict[int, int] = {}

    def read() -> list[dict[str, Any]]:
        reader = run_code(OUTCOMES, "reader")["outcomes"](kafka_broker.bootstrap, topic, topic_prefix + "docs", seen)
        try:
            return [next(reader) for _ in range(ROWS)]
        finally:
            reader.close()

    rows = await asyncio.wait_for(asyncio.to_thread(read), 60)
    assert [row["seq"] for row in rows] == list(range(1, ROWS + 1))
    assert seen == {1: ROWS}
    assert run_code(OUTCOMES, "verify")["verify"](rows) == {1: (ROWS, head.hex())}
