"""Contender: a plain consumer as most people would write it: one event, one ORM transaction.

SQLAlchemy's ORM on asyncpg, aiokafka's consumer with automatic commits. For each event: has it been seen, the order
FOR UPDATE, an if/else over statuses, a row of history, a mark that it was seen, commit. It has neither holds nor
receipts, parties, late events, a hash chain, a fence or outcomes.

    python -m benchmarks.apply.plain_orm --kafka=HOST:PORT --topic=NAME --group=NAME < URL
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer
from sqlalchemy import BigInteger, Identity, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

CHAIN = ("NEW", "ACCEPTED_BY_RESTAURANT", "COOKING", "READY", "TAKEN_BY_COURIER", "DELIVERED")
ALLOWED = {
    "restaurant": {"ACCEPTED_BY_RESTAURANT", "COOKING", "READY", "CANCELLED"},
    "courier": {"TAKEN_BY_COURIER", "DELIVERED"},
}


class Base(DeclarativeBase):
    """The tables."""


class Order(Base):
    """An order and where it stands."""

    __tablename__ = "orders"
    order_id: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str]
    restaurant: Mapped[str | None]
    courier: Mapped[str | None]
    updated_ms: Mapped[int] = mapped_column(BigInteger)


class History(Base):
    """One event of an order and what became of it."""

    __tablename__ = "history"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    order_id: Mapped[str] = mapped_column(index=True)
    event_id: Mapped[str]
    source: Mapped[str]
    verdict: Mapped[str]
    from_status: Mapped[str | None]
    to_status: Mapped[str | None]
    received_ms: Mapped[int] = mapped_column(BigInteger)


class SeenEvent(Base):
    """An event that was handled."""

    __tablename__ = "seen_events"
    source: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)


async def handle(session: AsyncSession, record: dict[str, Any], received_ms: int) -> None:
    """One event in the caller's transaction."""
    order_id, event_id, source = record["order_id"], record["event_id"], record["source"]
    key = (source["uid"], order_id, event_id)
    if await session.get(SeenEvent, key) is not None:
        return
    event = record["event"]
    found = await session.execute(select(Order).where(Order.order_id == order_id).with_for_update())
    order = found.scalar_one_or_none()
    before = None if order is None else order.status
    if order is None:
        if event["type"] == "announcement":
            parties = event["parties"]
            order = Order(
                order_id=order_id,
                status="NEW",
                restaurant=parties.get("restaurant"),
                courier=parties.get("courier"),
                updated_ms=received_ms,
            )
            session.add(order)
            verdict = "applied"
        else:
            verdict = "rejected"
    elif event["type"] != "status" or event["status"] not in ALLOWED.get(source["role"], CHAIN):
        verdict = "rejected"
    elif event["status"] == "CANCELLED" or CHAIN.index(event["status"]) > CHAIN.index(order.status):
        order.status, order.updated_ms = event["status"], received_ms
        verdict = "applied"
    else:
        verdict = "rejected"
    session.add(
        History(
            order_id=order_id,
            event_id=event_id,
            source=source["name"],
            verdict=verdict,
            from_status=before,
            to_status=None if order is None else order.status,
            received_ms=received_ms,
        )
    )
    session.add(SeenEvent(source=key[0], order_id=key[1], event_id=key[2]))


async def consume(url: str, options: argparse.Namespace) -> None:
    """Handles events until it is killed."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    consumer = AIOKafkaConsumer(
        options.topic, bootstrap_servers=options.kafka, group_id=options.group, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async for message in consumer:
            async with sessions.begin() as session:
                await handle(session, orjson.loads(message.value), message.timestamp)
    finally:
        await consumer.stop()
        await engine.dispose()


def main() -> None:
    """Reads the options and works."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--group", required=True)
    options = parser.parse_args()
    uvloop.run(consume(sys.stdin.readline().strip(), options))


if __name__ == "__main__":
    main()
