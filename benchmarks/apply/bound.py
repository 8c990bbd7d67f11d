"""Contender: what writing mealtrail's rows costs by itself, written by hand on asyncpg.

One transaction a batch: the offsets row, the batch's orders FOR UPDATE, COPY into the tables that only grow, and one
UNNEST upsert for each of the others. Same tables, indexes, triggers, role and durability as mealtrail; the rows are
prepared (`benchmarks.apply.prepared`), so nothing is parsed, decided or hashed here. With a topic named it fetches the
same records in the same portions first and throws them away: what is compared is then understanding and deciding
alone.

    python -m benchmarks.apply.bound --prepared=FILE [--kafka=HOST:PORT --topic=NAME] < URL
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary

from backbone.store.tables import metadata
from benchmarks.apply.prepared import COPIED, UPSERTED, PreparedBatch, load
from benchmarks.durable_postgres import plain_url
from schemas.canonical import GENESIS

_TYPES = ((BigInteger, "bigint"), (Integer, "integer"), (Boolean, "boolean"), (LargeBinary, "bytea"))
_OFFSETS = """UPDATE offsets SET next = $3, last_event_id = $4, watermark_ms = $5, seq = $6, hash = $7
    WHERE partition = $1 AND next = $2"""
_FIRST = """INSERT INTO offsets (partition, next, watermark_ms, published, seq, hash) VALUES ($1, 0, 0, 0, 0, $2)
    ON CONFLICT DO NOTHING"""
_LOCK = "SELECT order_id, status, decision_state FROM orders WHERE workspace = $1 AND order_id = ANY($2) FOR UPDATE"


def upsert_sql(name: str) -> str:
    """One statement for any number of rows, given as one array a column."""
    table, columns = metadata.tables[name], UPSERTED[name]
    arrays = ", ".join(f"${number}::{_type(table.c[column])}[]" for number, column in enumerate(columns, 1))
    keys = [column.name for column in table.primary_key]
    updates = ", ".join(f'"{column}" = excluded."{column}"' for column in columns if column not in keys)
    names = ", ".join(f'"{column}"' for column in columns)
    rows = f"SELECT * FROM unnest({arrays})"
    return f"INSERT INTO {name} ({names}) {rows} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {updates}"


def _type(column: Column[Any]) -> str:
    return next((name for kind, name in _TYPES if isinstance(column.type, kind)), "text")


class Bound:
    """Writes prepared batches over one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._upserts = {name: upsert_sql(name) for name in UPSERTED}

    async def begin(self, partitions: Sequence[int]) -> None:
        """Makes the partitions' offset rows."""
        await self._connection.executemany(_FIRST, [(partition, GENESIS) for partition in partitions])

    async def write(self, batch: PreparedBatch) -> None:
        """One batch, one transaction. Raises RuntimeError when the batch is not the next one."""
        connection = self._connection
        async with connection.transaction():
            moved = await connection.execute(_OFFSETS, batch.partition, batch.start, batch.end, *batch.head)
            if moved != "UPDATE 1":
                raise RuntimeError(f"partition {batch.partition} does not stand at {batch.start}")
            await connection.fetch(_LOCK, batch.workspace, batch.order_ids)
            for name, rows in batch.copied.items():
                if rows:
                    await connection.copy_records_to_table(name, records=rows, columns=COPIED[name])
            for name, columns in batch.upserted.items():
                if columns:
                    await connection.execute(self._upserts[name], *columns)


class Fetching:
    """Fetches each batch's records before it is written."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic

    async def take(self, batch: PreparedBatch) -> None:
        """Returns once all of the batch's records have come. Raises RuntimeError when others come."""
        own, at = TopicPartition(self._topic, batch.partition), batch.start
        while at < batch.end:
            found = await self._consumer.getmany(own, timeout_ms=1000, max_records=batch.end - at)
            for message in found.get(own, ()):
                if message.offset != at:
                    raise RuntimeError(f"partition {batch.partition}: offset {message.offset} came instead of {at}")
                at += 1


async def write_all(url: str, options: argparse.Namespace) -> None:
    """Writes all batches, then waits to be killed."""
    batches = load(options.prepared)
    partitions = sorted({batch.partition for batch in batches})
    connection = await asyncpg.connect(plain_url(url), timeout=10)
    consumer = None
    try:
        bound = Bound(connection)
        await bound.begin(partitions)
        if options.topic is None:
            for batch in batches:
                await bound.write(batch)
        else:
            # A fetch that finds nothing new must not keep the other partitions waiting: none of its time is Kafka's.
            consumer = AIOKafkaConsumer(bootstrap_servers=options.kafka, enable_auto_commit=False, fetch_max_wait_ms=10)
            await consumer.start()
            own = [TopicPartition(options.topic, partition) for partition in partitions]
            consumer.assign(own)
            await consumer.seek_to_beginning(*own)
            fetching = Fetching(consumer, options.topic)
            for batch in batches:
                await fetching.take(batch)
                await bound.write(batch)
        await asyncio.Event().wait()
    finally:
        if consumer is not None:
            await consumer.stop()
        await connection.close(timeout=10)


def main() -> None:
    """Reads the options and works."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--kafka")
    parser.add_argument("--topic")
    options = parser.parse_args()
    uvloop.run(write_all(sys.stdin.readline().strip(), options))


if __name__ == "__main__":
    main()
