"""What really happened, read by the suite's own means: librdkafka, plain SQL, and the file of answers.

Nothing here is mealtrail's: topics are read as bytes of JSON, tables by their columns' names.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

_ANSWER_S = 20.0
TOPICS = ("mealtrail.received.v1", "mealtrail.outcomes.v1", "mealtrail.dead-letters.v1")
RECEIVED, OUTCOMES, DEAD_LETTERS = TOPICS
TABLES = ("trail", "offsets", "receipts", "held_events", "orders", "dead_letters", "reused_event_ids")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """A record of a topic."""

    offset: int
    log_ms: int
    key: bytes | None
    value: bytes


@dataclass
class Evidence:
    """All that a run left behind. `received` and `outcomes` go by partition, in order of offsets."""

    answers: list[Row]
    received: dict[int, list[Message]]
    outcomes: dict[int, list[Row]]
    tables: dict[str, list[Row]] = field(default_factory=dict)
    now_ms: int = 0


class Topics:
    """The topics of one run, read without a group."""

    def __init__(self, bootstrap: str, prefix: str, partitions: int) -> None:
        self._bootstrap, self._prefix, self._partitions = bootstrap, prefix, partitions

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "fault-suite",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": False,
                "log_level": 0,
            }
        )

    def ends(self, topic: str) -> dict[int, int]:
        """The offset after the last record, by partition. Blocks; raises KafkaException."""
        consumer = self._consumer()
        try:
            return {
                number: consumer.get_watermark_offsets(
                    TopicPartition(self._prefix + topic, number), timeout=_ANSWER_S, cached=False
                )[1]
                for number in range(self._partitions)
            }
        finally:
            consumer.close()

    def read(self, topic: str) -> dict[int, list[Message]]:
        """Everything from offset 0 to the present ends. Blocks; raises KafkaException, TimeoutError."""
        ends = self.ends(topic)
        found: dict[int, list[Message]] = {number: [] for number in ends}
        missing = sum(ends.values())
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(self._prefix + topic, number, 0) for number in ends])
            give_up = time.monotonic() + _ANSWER_S
            while missing > 0:
                if time.monotonic() > give_up:
                    raise TimeoutError(f"{missing} records of {topic} did not come")
                messages = consumer.consume(min(missing, 1000), timeout=0.2)
                for message in messages:
                    if message.error() is not None:
                        raise KafkaException(message.error())
                    number, offset = int(message.partition() or 0), int(message.offset() or 0)
                    if offset < ends[number]:
                        value, (_, log_ms) = message.value(), message.timestamp()
                        found[number].append(Message(offset, log_ms, _bytes(message.key()), _bytes(value) or b""))
                        missing -= 1
        finally:
            consumer.close()
        return found

    def delete(self) -> None:
        """Removes the run's topics, so that a long series does not weigh on the broker. Blocks."""
        admin = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})
        for done in admin.delete_topics([self._prefix + topic for topic in TOPICS]).values():
            done.result(_ANSWER_S)


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


async def read_tables(url: str, tables: tuple[str, ...] = TABLES) -> dict[str, list[Row]]:
    """All rows of the tables, in one snapshot."""
    connection = await asyncpg.connect(url.replace("postgresql+asyncpg://", "postgresql://", 1), timeout=10)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return {name: [dict(row) for row in await connection.fetch(f"SELECT * FROM {name}")] for name in tables}
    finally:
        await connection.close(timeout=10)


def read_answers(path: Path) -> list[Row]:
    """The lines of the answers log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


async def gather(topics: Topics, url: str, answers: Path, now_ms: int) -> Evidence:
    """Everything, once all is quiet."""
    received = await asyncio.to_thread(topics.read, RECEIVED)
    published = await asyncio.to_thread(topics.read, OUTCOMES)
    outcomes = {number: [json.loads(message.value) for message in found] for number, found in published.items()}
    return Evidence(read_answers(answers), received, outcomes, await read_tables(url), now_ms)
