"""An outcomes topic without outcomes, before each run that begins with an empty database: a worker whose store is empty
refuses a log whose outcomes were published, since that is what a lost database looks like.
"""

from __future__ import annotations

import asyncio

from aiokafka.admin import AIOKafkaAdminClient

from backbone.eventlog.port import EventLog
from schemas.topics import TopicSpec

_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.05


async def make_anew(log: EventLog, bootstrap: str, spec: TopicSpec) -> None:
    """Deletes the topic with all that is in it and makes it again. Raises KafkaError, TimeoutError, LogUnavailable."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([spec.name])
        async with asyncio.timeout(_WITHIN_S):
            while spec.name in await admin.list_topics():  # noqa: ASYNC110 - Kafka tells nobody
                await asyncio.sleep(_LOOK_EVERY_S)
    finally:
        await admin.close()
    await log.create_topics([spec])
