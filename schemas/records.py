"""What lies in the received log: an event with everything that its decision will need, stamped at the door.

Consumers read no source table: a decision depends on the record and on state of the same partition, nothing else.
Every record has an event id, control records (tick, operator, replay, discard, erase) too. Ids are normalised here as
well, so that a record and its key cannot name an order in two ways.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from schemas.canonical import content_digest
from schemas.errors import RecordUnknown
from schemas.events import AnyEvent, Event, Identifier, OrderAmended, StatusEvent
from schemas.statuses import Policy, Role
from schemas.storable import StorableText

DEFAULT_HOLD_MS = 24 * 3600 * 1000
DEFAULT_SKEW_MS = 120 * 1000
DEFAULT_AHEAD_HOLD_MS = 30 * 1000
Name = Annotated[StorableText, Field(max_length=200)]
"""A name, a digest or a salt: bounded, since they become keys in the store, whose indexes take no long ones."""
Duration = Annotated[int, Field(ge=0, le=366 * 24 * 3600 * 1000)]
"""Milliseconds that are added to log times."""


class SourceStamp(BaseModel):
    """Who posted, as it was at that moment."""

    model_config = ConfigDict(frozen=True)

    uid: Name
    """Immutable; a source that is renamed or rotated keeps it."""
    name: Name
    role: Role
    parties: tuple[Name, ...] | None
    """The parties it speaks for; None is all of them."""
    policy: Policy = Policy.FORWARD
    hold_ms: Duration = DEFAULT_HOLD_MS
    """How long its events wait for an order they may see; 0 rejects at once."""
    skew_ms: Duration = DEFAULT_SKEW_MS
    """How far its clock may be off when its late events are judged."""
    ahead_hold_ms: Duration = DEFAULT_AHEAD_HOLD_MS
    """Of the strict policy: how long an event that is more than one status ahead waits; 0 rejects at once."""


class _Applicable(BaseModel):
    model_config = ConfigDict(frozen=True)

    event_id: Identifier
    workspace: Name
    order_id: Identifier
    source: SourceStamp
    receipt_digest: Name
    salt: Name
    """Hex of 16 random bytes; erasable."""
    payload: str | None = None
    """Base64 of the request body as received, on the first event of a request."""
    payload_digest: Name
    """Salted digest of that body, on all its events."""


class EventRecord(_Applicable):
    """An event from a source."""

    kind: Literal["event"] = "event"
    event: AnyEvent


class OperatorRecord(_Applicable):
    """A person's act, with the reason for it. The source's role is `operator`."""

    kind: Literal["operator"] = "operator"
    event: Annotated[StatusEvent | OrderAmended, Field(discriminator="type")]
    actor: StorableText
    why: StorableText


class TickRecord(BaseModel):
    """Makes the log's time pass on an idle partition, so that holds can end. Too many do no harm."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["tick"] = "tick"
    event_id: Identifier


class _Act(BaseModel):
    """A person's act on one order's records, with the reason for it. It lies in the order's partition.

    It names one order, and what touches two (to merge them, say) cannot be one record: they may lie in two partitions.
    """

    model_config = ConfigDict(frozen=True)

    event_id: Identifier
    workspace: Name
    order_id: Identifier
    actor: StorableText
    why: StorableText


class ReplayRecord(_Act):
    """A dead letter is tried again, as the event that it was and with its first log time.

    It names the pair that was set aside. A pair that is not set aside (any more) makes this record do nothing.
    `received_ms`, `content` and `original` are for people and programs that read the log: what is decided is the dead
    letter's own copy, since an erasure may have come between the two.
    """

    kind: Literal["replay"] = "replay"
    in_hand_offset: int
    event_offset: int
    received_ms: int
    """Log time of the original."""
    content: str
    """Digest of the original event's own fields, which an erasure leaves as it was."""
    original: str
    """Base64 of the original record's value; empty where the log would not take a record of that size."""


class DiscardRecord(_Act):
    """A dead letter is given up: its event is rejected, reason `discarded`. Names the pair, as a replay does."""

    kind: Literal["discard"] = "discard"
    in_hand_offset: int
    event_offset: int


class Erasable(StrEnum):
    """The classes of data that an erasure takes away."""

    PAYLOADS = "payloads"
    """Request bodies as received, and their salts."""
    PERSONAL = "personal"
    """Details, external ids, comments, the reasons that senders wrote, courier positions."""


class EraseRecord(_Act):
    """Takes an order's erasable data away. What the trail's hashes cover stays."""

    kind: Literal["erase"] = "erase"
    classes: Annotated[tuple[Erasable, ...], Field(min_length=1)] = tuple(Erasable)


ApplicableRecord = EventRecord | OperatorRecord
ControlRecord = TickRecord | ReplayRecord | DiscardRecord | EraseRecord
AnyRecord = ApplicableRecord | ControlRecord
ReceivedRecord = Annotated[ApplicableRecord | ControlRecord, Field(discriminator="kind")]
RECORD_ADAPTER: TypeAdapter[AnyRecord] = TypeAdapter(ReceivedRecord)
KNOWN_KINDS: frozenset[str] = frozenset(model.model_fields["kind"].default for model in get_args(AnyRecord))
"""Every `kind` that this release can read."""


def dump_record(record: AnyRecord) -> bytes:
    """The record's value in the log: JSON."""
    return record.model_dump_json().encode()


def dump_event(
    event: Event,
    *,
    event_id: str,
    workspace: str,
    order_id: str,
    source: bytes,
    receipt_digest: str,
    salt: str,
    payload: str | None,
    payload_digest: str,
) -> bytes:
    """The value of an event's record, put together from parts of which each was checked where it was made.

    The same bytes as `dump_record` gives for an `EventRecord` of them, which would check every part once more. `source`
    is a SourceStamp as JSON, the ids are normalised, the rest is our own.
    """
    fields = {
        "event_id": event_id,
        "workspace": workspace,
        "order_id": order_id,
        "source": orjson.Fragment(source),
        "receipt_digest": receipt_digest,
        "salt": salt,
        "payload": payload,
        "payload_digest": payload_digest,
        "kind": "event",
        "event": orjson.Fragment(to_json(event)),
    }
    return orjson.dumps(fields)


def load_record(value: bytes) -> AnyRecord:
    """The record that a value holds. Raises RecordUnknown for a kind or shape this release does not know."""
    try:
        return RECORD_ADAPTER.validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "".join(f"{part}." for part in first["loc"]).removesuffix(".")
        problem = first["msg"].removeprefix("Value error, ")
        told = f"{where}: {problem}" if where else problem
        raise RecordUnknown(f"the record is none that this release knows: {told}") from error


def digest_event(event: Event) -> str:
    """Digest of the event's own fields: a repeat has the same one, whatever else its request carried."""
    fields = event.model_dump(exclude_defaults=True) | {"type": getattr(event, "type", "")}
    try:
        return content_digest(fields)
    except TypeError:  # a whole number beyond 64 bits, which no door lets in: as floating-point, like any reader has it
        return content_digest(orjson.loads(event.model_dump_json(exclude_defaults=True)) | {"type": fields["type"]})
