"""A record of the received log, read and understood, with its place and time in the log."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass

from schemas.errors import RecordUnknown
from schemas.records import ApplicableRecord, EventRecord, OperatorRecord, TickRecord, digest_event, load_record

OrderKey = tuple[str, str]
"""Workspace and order id."""
ReceiptKey = tuple[str, str]
"""Workspace and receipt digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """An applicable record with its place and time in the log. `content` is the digest of the event's own fields."""

    offset: int
    log_ms: int
    record: ApplicableRecord
    content: str

    @property
    def order_key(self) -> OrderKey:
        """Which order it is about."""
        return self.record.workspace, self.record.order_id

    @property
    def receipt_key(self) -> ReceiptKey:
        """Which receipt tells of it."""
        return self.record.workspace, self.record.receipt_digest

    @property
    def payload(self) -> bytes | None:
        """The request body as it was received, if it rides on this record."""
        return None if self.record.payload is None else b64decode(self.record.payload)


def read_event(offset: int, log_ms: int, value: bytes) -> LoggedEvent | TickRecord:
    """A record of the received log, parsed. Raises RecordUnknown for what this release does not know."""
    record = load_record(value)
    if isinstance(record, TickRecord):
        return record
    if not isinstance(record, EventRecord | OperatorRecord):
        raise RecordUnknown(f"records of the kind {record.kind} cannot be applied yet")
    return LoggedEvent(offset=offset, log_ms=log_ms, record=record, content=digest_event(record.event))
