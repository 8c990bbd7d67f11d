"""An event that was set aside, as decisions see it: which pair, whose events wait behind it, and its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from consumers.logged_event import LogEntry, LoggedEvent, OrderKey, Unreadable, read_event
from schemas.dead_letters import PROCESS_DIED_READING, DeadLetterState, Parks

Pair = tuple[int, int]
"""Offset in hand, and the offset at which the event that was being decided was logged."""


class Failure(NamedTuple):
    """Why a pair is set aside. It is for people, but for one error, which belongs to the rule: `forbids_reading`."""

    error: str
    attempts: int

    @property
    def forbids_reading(self) -> bool:
        """Whether the event's bytes are not to be parsed under this record: that killed the process."""
        return self.error == PROCESS_DIED_READING


Aside = Mapping[Pair, Failure]
NOTHING_ASIDE: Aside = MappingProxyType({})


def is_unread(aside: Aside, pair: Pair) -> bool:
    """Whether the pair is set aside as one whose bytes are not to be parsed."""
    failure = aside.get(pair)
    return failure is not None and failure.forbids_reading


@dataclass(slots=True, kw_only=True)
class DeadLetter:
    """One pair that was set aside. Its place in `dead_letters` is its pair; `seq` counts per partition."""

    in_hand_offset: int
    event_offset: int
    seq: int
    workspace: str
    order_id: str
    event_id: str
    state: DeadLetterState = DeadLetterState.OPEN
    parks: Parks
    source_uid: str | None
    digest: str | None
    content_digest: str | None
    received_ms: int
    set_aside_ms: int
    error: str
    attempts: int
    record: bytes | None
    """The record's value as far as it is kept: an erasure takes parts of it, or all."""

    @property
    def pair(self) -> Pair:
        """What names it within its partition."""
        return self.in_hand_offset, self.event_offset

    @property
    def order_key(self) -> OrderKey:
        """The order it belongs to; for bytes without a readable key, a name of its own."""
        return self.workspace, self.order_id

    @property
    def is_open(self) -> bool:
        """Whether nobody has replayed or discarded it yet."""
        return self.state is DeadLetterState.OPEN

    def is_parking(self, source_uid: str) -> bool:
        """Whether events of that source wait behind it."""
        return self.is_open and (
            self.parks is Parks.ORDER or (self.parks is Parks.SOURCE and self.source_uid == source_uid)
        )

    @property
    def killed_its_reader(self) -> bool:
        """Whether its bytes are parsed by its own replay alone, and by nobody else."""
        return self.error == PROCESS_DIED_READING

    def unread(self) -> Unreadable:
        """The record that was set aside, not parsed. It keeps the same events waiting as before."""
        return Unreadable(
            offset=self.event_offset,
            log_ms=self.received_ms,
            value=self.record or b"",
            problem="to parse it killed the process",
            order_key=self.order_key if self.parks is Parks.ORDER else None,
            event_id=self.event_id,
        )

    def original(self) -> LogEntry | None:
        """The record that was set aside, as far as it is kept; None once an erasure took all of it.

        An event has the digest that it came with, whatever was taken from it since. Parses the bytes: see
        `killed_its_reader`. Raises RecordUnknown.
        """
        if self.record is None:
            return None
        key = f"{self.workspace}:{self.order_id}".encode()
        entry = read_event(self.event_offset, self.received_ms, self.record, key=key, event_id=self.event_id)
        return with_content(entry, self.content_digest)


def with_content(entry: LogEntry, content: str | None) -> LogEntry:
    """The entry with the digest that its event came with; an erasure changes the fields and not the digest."""
    if content is None or not isinstance(entry, LoggedEvent):
        return entry
    return entry._replace(content=content)
