"""A record of the received log, read and understood, with its place and time in the log.

Three things may lie there: an event to decide, a control record, and bytes that nobody can read. What a newer release
may have written is none of them: it stops the partition. That is a kind of record that this one does not know, or a
type of event, a status, a role or a policy.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass
from typing import NamedTuple

import orjson
from pydantic import ValidationError

from schemas.errors import RecordUnknown
from schemas.identifiers import DEFAULT_WORKSPACE, normalise_id
from schemas.records import (
    KNOWN_KINDS,
    ApplicableRecord,
    ControlRecord,
    digest_event,
    load_record,
)

OrderKey = tuple[str, str]
"""Workspace and order id."""
ReceiptKey = tuple[str, str]
"""Workspace and receipt digest."""


class LoggedEvent(NamedTuple):
    """An applicable record with its place and time in the log. `content` is the digest of the event's own fields."""

    offset: int
    log_ms: int
    record: ApplicableRecord
    content: str
    order_key: OrderKey
    """Which order it is about."""
    receipt_key: ReceiptKey
    """Which receipt tells of it."""

    @property
    def event_id(self) -> str:
        """The record's event id."""
        return self.record.event_id

    @property
    def payload(self) -> bytes | None:
        """The request body as it was received, if it rides on this record."""
        return None if self.record.payload is None else b64decode(self.record.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedControl:
    """A control record with its place and time in the log."""

    offset: int
    log_ms: int
    record: ControlRecord

    @property
    def event_id(self) -> str:
        """The record's event id."""
        return self.record.event_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A record that is no JSON, or of a known kind and broken; or one that is set aside because it killed its reader,
    and is not parsed. Applying it always fails; it can only be set aside.

    A type, status, role or policy that no release knows yet does not make it broken: see `read_event`.
    """

    offset: int
    log_ms: int
    value: bytes
    problem: str
    order_key: OrderKey | None
    """From the record's key; None where that names no order."""
    event_id: str
    """From its headers, else `unreadable-` and the offset."""


LogEntry = LoggedEvent | LoggedControl | Unreadable


def read_event(
    offset: int, log_ms: int, value: bytes, *, key: bytes | None = None, event_id: str | None = None
) -> LogEntry:
    """A record of the received log, parsed. `key` and `event_id` (of the headers) name what cannot be read.

    Raises RecordUnknown for a kind that this release does not know, or in a known kind a type of event, a status, a
    role or a policy: setting such a record aside would park orders that a newer release has no trouble with.
    """
    try:
        record = load_record(value)
    except RecordUnknown as error:
        if _is_of_another_release(value, error):
            raise
        return _unreadable(offset, log_ms, value, str(error), key=key, event_id=event_id)
    if record.kind == "event" or record.kind == "operator":  # noqa: PLR1714 - mypy narrows by this form alone
        order_key, receipt_key = (record.workspace, record.order_id), (record.workspace, record.receipt_digest)
        return LoggedEvent(offset, log_ms, record, digest_event(record.event), order_key, receipt_key)
    return LoggedControl(offset=offset, log_ms=log_ms, record=record)


def leave_unread(
    offset: int, log_ms: int, value: bytes, *, key: bytes | None = None, event_id: str | None = None
) -> Unreadable:
    """A record of the received log that is not to be parsed, since that killed the process. Otherwise as `read_event`
    has what cannot be read.
    """
    return _unreadable(offset, log_ms, value, "to parse it killed the process", key=key, event_id=event_id)


def _unreadable(
    offset: int, log_ms: int, value: bytes, problem: str, *, key: bytes | None, event_id: str | None
) -> Unreadable:
    return Unreadable(
        offset=offset,
        log_ms=log_ms,
        value=value,
        problem=problem,
        order_key=_order_of(key),
        event_id=_storable_id(event_id) or f"unreadable-{offset}",
    )


def order_key_of(entry: LogEntry) -> OrderKey | None:
    """The order that an entry of the log is about; ticks are about none, nor are bytes whose key cannot be read."""
    if isinstance(entry, LoggedControl):
        record = entry.record
        return None if record.kind == "tick" else (record.workspace, record.order_id)
    return entry.order_key


_NAMED_VALUES = frozenset({("source", "role"), ("source", "policy"), ("event", "status")})
"""Where a record holds a name out of a list that a newer release may have added to. The event's type is another one."""


def _is_of_another_release(value: bytes, error: RecordUnknown) -> bool:
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    kind = document.get("kind") if isinstance(document, dict) else None
    if not isinstance(kind, str):
        return False
    return kind not in KNOWN_KINDS or _names_what_is_unknown(error.__cause__)


def _names_what_is_unknown(cause: BaseException | None) -> bool:
    """Whether a name stands where this release knows only others. What is no name at all is broken."""
    if not isinstance(cause, ValidationError):
        return False
    for found in cause.errors(include_url=False):
        where, given = found["loc"], found["input"]
        if found["type"] == "union_tag_invalid" and where[-1:] == ("event",):
            given = given.get("type")
        elif found["type"] != "enum" or (where[1], where[-1]) not in _NAMED_VALUES:
            continue
        if isinstance(given, str):
            return True
    return False


def _order_of(key: bytes | None) -> OrderKey | None:
    """The order that a record's key names. The workspace stands before the first colon."""
    workspace, _, order_id = (key or b"").decode(errors="replace").partition(":")
    return (workspace, order_id) if workspace == DEFAULT_WORKSPACE and _storable_id(order_id) == order_id else None


def _storable_id(text: str | None) -> str | None:
    """The text as an id, or None where it can be none."""
    try:
        return normalise_id(text)
    except ValueError:
        return None
