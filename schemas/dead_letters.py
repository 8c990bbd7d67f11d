"""Dead letters: events whose decision failed, set aside until a person replays or discards them.

What is published of one is enough to set the same pair aside in a rebuild, and to look at the event elsewhere.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_ATTEMPTS = 3
"""Failures after which an event is set aside."""
DEFAULT_RUN = 20
"""Offsets in a row that may have events set aside."""
DEFAULT_SHARE = 0.05
"""Share of a partition's last offsets that may have events set aside."""

PROCESS_DIED_READING = "process_died_reading"
"""The error of a record whose bytes killed the process that parsed them. It alone of all errors decides something: what
is set aside with it is not parsed, and so is treated as a record that nobody can read.
"""


class DeadLetterState(StrEnum):
    """What became of an event that was set aside."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"


class Parks(StrEnum):
    """Whose events wait behind a dead letter."""

    ORDER = "order"
    """All of the order."""
    SOURCE = "source"
    """Those of the event's source for the order; the order names no party of it."""
    NOTHING = "nothing"
    """Nobody's: a person's act on records, which belongs to no order's life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterRow:
    """A dead letter as the store keeps it, as far as it is published. `_ms` is log time."""

    partition: int
    seq: int
    in_hand_offset: int
    event_offset: int
    workspace: str
    order_id: str
    event_id: str
    source_uid: str | None
    received_ms: int
    set_aside_ms: int
    error: str
    attempts: int
    parks: str
    record: bytes | None


class PublishedDeadLetter(BaseModel):
    """The value of a record in the dead-letters topic."""

    model_config = ConfigDict(frozen=True)

    partition: int
    seq: int = Field(description="Counts from 1 per partition, without gaps; a reader drops what it has seen.")
    in_hand_offset: int = Field(description="Offset of the record that was being applied.")
    event_offset: int = Field(description="Offset at which the event whose decision failed was logged first.")
    workspace: str
    order_id: str
    event_id: str
    source_uid: str | None = Field(description="Who sent the event; null where that could not be read.")
    received_ms: int = Field(description="Log time of the event, milliseconds since 1970.")
    set_aside_ms: int = Field(description="The partition's watermark when it was set aside.")
    error: str = Field(
        description="Kind of the error; no data of the event. A rebuild does not parse what has "
        f"`{PROCESS_DIED_READING}`."
    )
    attempts: int = Field(description="How often it was tried.")
    parks: Parks = Field(description="Whose later events wait behind it.")
    record: str | None = Field(
        description="Base64 of the record's value as far as it is kept; null when it was erased or is too large."
    )


MAX_PUBLISHED_RECORD = 640 * 1024
"""Bytes of a record that fit into a record of the dead-letters topic, in base64 and with everything around it."""


def dead_letter_document(row: DeadLetterRow) -> dict[str, Any]:
    """The dead letter as a JSON-ready mapping; `PublishedDeadLetter` is its schema."""
    kept = row.record if row.record is not None and len(row.record) <= MAX_PUBLISHED_RECORD else None
    return {
        "partition": row.partition,
        "seq": row.seq,
        "in_hand_offset": row.in_hand_offset,
        "event_offset": row.event_offset,
        "workspace": row.workspace,
        "order_id": row.order_id,
        "event_id": row.event_id,
        "source_uid": row.source_uid,
        "received_ms": row.received_ms,
        "set_aside_ms": row.set_aside_ms,
        "error": row.error,
        "attempts": row.attempts,
        "parks": row.parks,
        "record": None if kept is None else b64encode(kept).decode("ascii"),
    }
