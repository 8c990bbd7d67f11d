"""Events that were set aside, published to the dead-letters topic: what a rebuild must know before it reads the log.

Each is published once, as it was when it was set aside; what a person does about it later is a record of the received
log. A record that was erased before it was published goes without its bytes.
"""

from __future__ import annotations

from dataclasses import fields

import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.eventlog.port import NewRecord
from backbone.metrics import Metrics
from backbone.store.tables import dead_letters
from consumers.relay import Publication
from schemas.cloudevents import DEAD_LETTER_TYPE, cloudevent_headers
from schemas.dead_letters import DeadLetterRow, dead_letter_document
from schemas.identifiers import record_key
from schemas.times import rfc3339_millis

BATCH_ROWS = 20
"""Few: each carries a whole record."""
_COLUMNS = tuple(dead_letters.c[field.name] for field in fields(DeadLetterRow))


def dead_letters_publication(topic: str, metrics: Metrics) -> Publication:
    """The list of what was set aside, to the dead-letters topic of that name."""
    return Publication("dead letters", topic, _read_dead_letters, metrics.dead_letter_lag)


async def _read_dead_letters(connection: AsyncConnection, partition: int, after: int) -> list[tuple[int, NewRecord]]:
    rows = await connection.execute(
        select(*_COLUMNS)
        .where(dead_letters.c.partition == partition, dead_letters.c.seq > after)
        .order_by(dead_letters.c.seq)
        .limit(BATCH_ROWS)
    )
    letters = [DeadLetterRow(**row) for row in rows.mappings()]
    return [(letter.seq, dead_letter_record(letter)) for letter in letters]


def dead_letter_record(letter: DeadLetterRow) -> NewRecord:
    """A dead letter as it is published. Its CloudEvents id is `partition-seq`, the same however often it is sent."""
    return NewRecord(
        partition=letter.partition,
        key=record_key(letter.workspace, letter.order_id),
        value=orjson.dumps(dead_letter_document(letter)),
        headers=cloudevent_headers(
            event_id=f"{letter.partition}-{letter.seq}",
            event_type=DEAD_LETTER_TYPE,
            source=f"/workspaces/{letter.workspace}",
            subject=letter.order_id,
            time=rfc3339_millis(letter.set_aside_ms),
        ),
    )
