"""From parsed events to records: everything a decision will need, stamped on, since consumers read no source table.

Every part of a record is checked where it is made: the event and its ids when they were parsed, the source's stamp when
the source posts for the first time. What is left for a request is to put them together.

The body as received rides on the first event's record alone; siblings carry its digest, made with the first one's
salt. Every record has a salt of its own, so that erasing one order leaves nothing of it to guess by.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from backbone.eventlog.port import NewRecord
from backbone.eventlog.received import value_to_log
from backbone.store.sources import Source
from schemas.canonical import payload_digest
from schemas.errors import Unavailable
from schemas.identifiers import receipt_digest
from schemas.records import SourceStamp, dump_event
from schemas.statuses import Policy, Role
from service.dialects.port import ParsedEvent

_SALT_BYTES = 16
_REMEMBERED = 1024
"""Sources whose stamp is kept."""
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Stamped(NamedTuple):
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
    posted_by = _posted_by(
        source.uid,
        source.name,
        source.role,
        source.parties,
        source.policy,
        source.hold_ms,
        source.skew_ms,
        source.ahead_hold_ms,
    )
    trace = traceparent if traceparent is not None and _TRACEPARENT.fullmatch(traceparent) else None
    stamped: list[Stamped] = []
    payload: str | None = base64.b64encode(raw).decode("ascii")
    digest_of_payload = ""
    for parsed in events:
        salt = os.urandom(_SALT_BYTES)
        if payload is not None:
            digest_of_payload = payload_digest(salt, raw)
        digest = receipt_digest(source.receipt_key, parsed.order_id, parsed.event_id)
        value = dump_event(
            parsed.event,
            event_id=parsed.event_id,
            workspace=source.workspace,
            order_id=parsed.order_id,
            source=posted_by,
            receipt_digest=digest,
            salt=salt.hex(),
            payload=payload,
            payload_digest=digest_of_payload,
        )
        payload = None
        record = value_to_log(
            value,
            partitions,
            workspace=source.workspace,
            order_id=parsed.order_id,
            event_id=parsed.event_id,
            source=source.name,
            traceparent=trace,
        )
        stamped.append(Stamped(record, digest))
    return stamped


@lru_cache(maxsize=_REMEMBERED)
def _posted_by(
    uid: str,
    name: str,
    role: Role,
    parties: tuple[str, ...] | None,
    policy: Policy,
    hold_ms: int,
    skew_ms: int,
    ahead_hold_ms: int,
) -> bytes:
    """The source's stamp as JSON. Raises ValidationError for what can be no source."""
    stamp_of_source = SourceStamp(
        uid=uid,
        name=name,
        role=role,
        parties=parties,
        policy=policy,
        hold_ms=hold_ms,
        skew_ms=skew_ms,
        ahead_hold_ms=ahead_hold_ms,
    )
    return stamp_of_source.model_dump_json().encode()
