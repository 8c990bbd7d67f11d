"""From parsed events to records: everything a decision will need, stamped on, since consumers read no source table.

The body as received rides on the first event's record alone; siblings carry its digest, made with the first one's
salt. Every record has a salt of its own, so that erasing one order leaves nothing of it to guess by.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from backbone.eventlog.port import NewRecord
from backbone.eventlog.received import to_log
from backbone.store.sources import Source
from schemas.canonical import payload_digest
from schemas.errors import Unavailable
from schemas.identifiers import receipt_digest
from schemas.records import EventRecord, SourceStamp
from service.dialects.port import ParsedEvent

_SALT_BYTES = 16
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Stamped:
    """A record ready for the log, and the digest its receipt will carry."""

    record: NewRecord
    digest: str


def stamp(
    events: Sequence[ParsedEvent], source: Source, raw: bytes, *, partitions: int, traceparent: str | None = None
) -> list[Stamped]:
    """The records of one request, in its order. `traceparent` is carried through where it is a valid one.

    Raises Unavailable for a source whose receipt key is not open: its receipts would be another source's.
    """
    if not source.receipt_key:
        raise Unavailable(f"the receipt key of source {source.name} is not open")
    posted_by = SourceStamp(
        uid=source.uid,
        name=source.name,
        role=source.role,
        parties=source.parties,
        policy=source.policy,
        hold_ms=source.hold_ms,
        skew_ms=source.skew_ms,
        ahead_hold_ms=source.ahead_hold_ms,
    )
    trace = traceparent if traceparent is not None and _TRACEPARENT.fullmatch(traceparent) else None
    stamped: list[Stamped] = []
    digest_of_payload = ""
    for index, parsed in enumerate(events):
        salt = secrets.token_bytes(_SALT_BYTES)
        if index == 0:
            digest_of_payload = payload_digest(salt, raw)
        digest = receipt_digest(source.receipt_key, parsed.order_id, parsed.event_id)
        record = EventRecord(
            event_id=parsed.event_id,
            workspace=source.workspace,
            order_id=parsed.order_id,
            source=posted_by,
            receipt_digest=digest,
            salt=salt.hex(),
            payload=base64.b64encode(raw).decode("ascii") if index == 0 else None,
            payload_digest=digest_of_payload,
            event=parsed.event,
        )
        stamped.append(Stamped(to_log(record, partitions, traceparent=trace), digest))
    return stamped
