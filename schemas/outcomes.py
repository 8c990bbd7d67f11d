"""The trail row and its published form, the outcome: one row, one record, the same fields, seq and hash.

A row's hash covers the previous row's hash and all the other fields below, as canonical JSON. They come from the
record and from the log's time alone: no wall clock, no database id, no code version, no personal data.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from schemas.canonical import chain_hash
from schemas.events import EventType
from schemas.statuses import Fulfilment, OrderStatus, Role
from schemas.times import TimeMark, rfc3339_micros, rfc3339_millis
from schemas.verdicts import Reason, Verdict


class TrailRow(NamedTuple):
    """One verdict (or one inferred step) as the store keeps it. `_us` are microseconds, `_ms` milliseconds.

    Its fields are the columns, in their order: rows are made, written and read by the million.
    """

    partition: int
    seq: int
    workspace: str
    order_id: str
    event_id: str
    event_type: str
    source: str
    source_uid: str
    role: str
    verdict: str
    reason: str | None
    reported_status: str | None
    fact: str | None
    from_status: str | None
    to_status: str | None
    occurred_us: int | None
    occurred_mark: str | None
    received_ms: int
    decided_ms: int
    previous_received_ms: int | None
    previous_occurred_us: int | None
    inferred: bool
    foreign: bool
    restaurant: str | None
    courier: str | None
    marketplace: str | None
    fulfilment: str | None
    offset: int
    payload_digest: str


class Outcome(BaseModel):
    """The published form of a trail row: the value of a record in the outcomes topic."""

    model_config = ConfigDict(frozen=True)

    partition: int
    seq: int = Field(description="Counts from 1 per partition, without gaps; a reader drops what it has seen.")
    hash: str = Field(description="Hex SHA-256 over the previous row's hash and the other fields.")
    workspace: str
    order_id: str
    event_id: str
    event_type: EventType
    source: str
    source_uid: str
    role: Role
    verdict: Verdict
    reason: Reason | None
    reported_status: OrderStatus | None
    fact: str | None = Field(description="The code of a fact that has no place in the lifecycle.")
    from_status: OrderStatus | None
    to_status: OrderStatus | None = Field(description="The order's status after this verdict.")
    occurred_at: str | None = Field(description="The sender's claim, UTC, six digits; see occurred_mark.")
    occurred_mark: TimeMark | None
    received_at: str = Field(description="Log time of the event, UTC, milliseconds.")
    decided_at: str = Field(description="The partition's watermark at the decision; never goes back.")
    previous_received_at: str | None = Field(description="Log time of the event that brought from_status.")
    previous_occurred_at: str | None
    inferred: bool = Field(description="A step that a later event passed over.")
    foreign: bool = Field(description="The order was unknown or named no party of the source.")
    restaurant: str | None
    courier: str | None
    marketplace: str | None
    fulfilment: Fulfilment | None
    offset: int = Field(description="Offset of the event in the same partition of the received topic.")
    payload_digest: str


def _micros(us: int | None) -> str | None:
    return None if us is None else rfc3339_micros(us)


def hashed_fields(row: TrailRow) -> dict[str, Any]:
    """All fields of the outcome but its hash, as they are hashed and published."""
    return {
        "partition": row.partition,
        "seq": row.seq,
        "workspace": row.workspace,
        "order_id": row.order_id,
        "event_id": row.event_id,
        "event_type": row.event_type,
        "source": row.source,
        "source_uid": row.source_uid,
        "role": row.role,
        "verdict": row.verdict,
        "reason": row.reason,
        "reported_status": row.reported_status,
        "fact": row.fact,
        "from_status": row.from_status,
        "to_status": row.to_status,
        "occurred_at": _micros(row.occurred_us),
        "occurred_mark": row.occurred_mark,
        "received_at": rfc3339_millis(row.received_ms),
        "decided_at": rfc3339_millis(row.decided_ms),
        "previous_received_at": None if row.previous_received_ms is None else rfc3339_millis(row.previous_received_ms),
        "previous_occurred_at": _micros(row.previous_occurred_us),
        "inferred": row.inferred,
        "foreign": row.foreign,
        "restaurant": row.restaurant,
        "courier": row.courier,
        "marketplace": row.marketplace,
        "fulfilment": row.fulfilment,
        "offset": row.offset,
        "payload_digest": row.payload_digest,
    }


_STORED = {
    "occurred_at": "occurred_us",
    "received_at": "received_ms",
    "decided_at": "decided_ms",
    "previous_received_at": "previous_received_ms",
    "previous_occurred_at": "previous_occurred_us",
}
HASHED_NAMES: tuple[str, ...] = tuple(sorted(name for name in Outcome.model_fields if name != "hash"))
"""The members of the text that is hashed, in its order."""
STORED_NAMES: tuple[str, ...] = tuple(_STORED.get(name, name) for name in HASHED_NAMES)
"""The fields of a trail row that they are made of, one by one."""
_stored_values = attrgetter(*STORED_NAMES)


def hash_values(previous: bytes, values: Sequence[Any]) -> bytes:
    """The hash of a row that is given as its values in the order of STORED_NAMES; what follows them is left out.

    Verifying goes through millions of rows: no object is made of them. Raises OverflowError, TypeError or ValueError
    where a value is none that a row can have.
    """
    fields = dict(zip(HASHED_NAMES, values, strict=False))
    received_ms, decided_ms = fields["received_at"], fields["decided_at"]
    fields["received_at"] = received_at = rfc3339_millis(received_ms)
    fields["decided_at"] = received_at if decided_ms == received_ms else rfc3339_millis(decided_ms)
    if (us := fields["occurred_at"]) is not None:
        fields["occurred_at"] = rfc3339_micros(us)
    if (us := fields["previous_occurred_at"]) is not None:
        fields["previous_occurred_at"] = rfc3339_micros(us)
    if (ms := fields["previous_received_at"]) is not None:
        fields["previous_received_at"] = rfc3339_millis(ms)
    return chain_hash(previous, fields)


def hash_row(previous: bytes, row: TrailRow) -> bytes:
    """The row's 32-byte hash, given the hash of the row before it in its partition."""
    return hash_values(previous, _stored_values(row))


def outcome_document(row: TrailRow, row_hash: bytes) -> dict[str, Any]:
    """The outcome as a JSON-ready mapping; `Outcome` is its schema."""
    return {**hashed_fields(row), "hash": row_hash.hex()}
