"""The outcomes topic, read by a Kafka client that is not ours."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.canonical import GENESIS, chain_hash
from schemas.outcomes import Outcome
from schemas.topics import OUTCOMES
from tests.support.deployments import Deployment, kafka_deployment
from tests.support.kafka import KafkaBroker
from tests.support.partners import add_client, add_reader
from tests.support.postgres_databases import DatabaseUrls

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


def read_topic(bootstrap: str, topic: str, partitions: int, wanted: int) -> list[Any]:
    """Messages of the whole topic by librdkafka, until the wanted number is there."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "analytics",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    found: list[Any] = []
    give_up = time.monotonic() + 30
    while len(found) < wanted and time.monotonic() < give_up:
        message = consumer.poll(0.5)
        if message is not None:
            assert message.error() is None, message.error()
            found.append(message)
    consumer.close()
    return found


async def test_another_client_reads_keyed_gapless_outcomes(
    tmp_path: Any, kafka_broker: KafkaBroker, database_urls: DatabaseUrls, topic_prefix: str
) -> None:
    """Keys, CloudEvents headers, a gapless seq per partition, hashes that chain and equal the store's."""
    deployment: Deployment = kafka_deployment(tmp_path, kafka_broker.bootstrap, database_urls, topic_prefix)
    try:
        await deployment.up()
        async with aiohttp.ClientSession() as session:
            platform = await add_client(deployment, session, "platform", "--role", "platform")
            reader = await add_reader(deployment, session)
            for number in range(20):
                await platform.post(f"o-{number}", "NEW")
                last = await platform.post(f"o-{number}", "COOKING")
                await platform.await_verdict(last)
            stored = (await reader.call("GET", "/v1/changes?limit=1000")).body["items"]
        messages = await asyncio.to_thread(read_topic, kafka_broker.bootstrap, topic_prefix + OUTCOMES, 4, len(stored))
    finally:
        await asyncio.to_thread(deployment.close)
    seen: dict[tuple[int, int], dict[str, Any]] = {}
    heads: dict[int, tuple[int, bytes]] = {}
    for message in messages:
        document = orjson.loads(message.value())
        Outcome.model_validate_json(message.value(), strict=False)
        headers = dict(message.headers())
        assert message.key() == f"default:{document['order_id']}".encode()
        assert headers["ce_specversion"] == b"1.0"
        assert headers["ce_id"] == f"{message.partition()}-{document['seq']}".encode()
        assert headers["ce_type"] == b"io.mealtrail.outcome.v1"
        assert headers["ce_subject"] == document["order_id"].encode()
        assert headers["content-type"] == b"application/json"
        assert document["partition"] == message.partition()
        if (message.partition(), document["seq"]) in seen:
            continue
        seen[(message.partition(), document["seq"])] = document
        seq, head = heads.get(message.partition(), (0, GENESIS))
        assert document["seq"] == seq + 1
        fields = {name: value for name, value in document.items() if name != "hash"}
        assert chain_hash(head, fields).hex() == document["hash"]
        heads[message.partition()] = (document["seq"], bytes.fromhex(document["hash"]))
    assert {(item["partition"], item["seq"]): item for item in stored} == seen
