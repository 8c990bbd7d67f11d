"""Dead letters as they are shown: documents for scripts, and what a person may do next."""

from __future__ import annotations

import base64
from typing import Any

from backbone.store.dead_letters import DeadLetterView
from consumers.attempts import PROCESS_DIED
from consumers.blame import UNREADABLE
from schemas.dead_letters import PROCESS_DIED_READING, DeadLetterState, Parks
from schemas.errors import RecordUnknown
from schemas.records import EventRecord, OperatorRecord, load_record
from schemas.times import rfc3339_millis
from service.cli.dead_letter_acts import Done

_WHAT_HELPS = {
    UNREADABLE: "This release cannot read it. A replay helps only once a release is installed that can.",
    PROCESS_DIED_READING: "Workers died while they read its bytes, so nobody reads them; here too they are not parsed. "
    "Find what killed the workers, install a release that survives it, then replay.",
    PROCESS_DIED: "Workers died while they decided it. Look for what killed them (memory?), then replay it.",
}


def letter_document(letter: DeadLetterView) -> dict[str, Any]:
    """A dead letter without its bytes."""
    return {
        "pair": str(letter.pair),
        "partition": letter.pair.partition,
        "in_hand_offset": letter.pair.in_hand_offset,
        "event_offset": letter.pair.event_offset,
        "seq": letter.seq,
        "state": letter.state.value,
        "order_id": letter.order_id,
        "event_id": letter.event_id,
        "source_uid": letter.source_uid,
        "error": letter.error,
        "attempts": letter.attempts,
        "parks": letter.parks.value,
        "received_at": rfc3339_millis(letter.received_ms),
        "set_aside_at": rfc3339_millis(letter.set_aside_ms),
        "record_bytes": letter.record_bytes,
    }


def done_document(one: Done) -> dict[str, Any]:
    """What became of it."""
    return {
        "pair": str(one.letter.pair),
        "order_id": one.letter.order_id,
        "event_id": one.letter.event_id,
        "fate": one.fate.value,
        "offset": one.offset,
        "set_aside_as": None if one.again is None else str(one.again),
        "set_aside_behind": [str(other.pair) for other in one.others],
    }


def advice(letter: DeadLetterView) -> list[str]:
    """What to do about it, for a person who has it before them."""
    pair = letter.pair
    if letter.state is not DeadLetterState.OPEN:
        return [f"It is open no more: it was {letter.state.value}. See `mealtrail order show`."]
    discard = f'  mealtrail dead-letters discard {pair} --reason "…"'
    if letter.record_bytes is None:
        return ["Its bytes were erased, so that it cannot be replayed. Give it up:", discard]
    replay = f'  mealtrail dead-letters replay {pair} --reason "…"'
    why = _WHAT_HELPS.get(letter.error, "Deciding it failed. Install a release that decides it, then replay it.")
    waits = ["What came later for its order waits meanwhile."] if letter.parks is Parks.ORDER else []
    return [why, *waits, replay, "Or give it up:", discard, 'More: "dead letters open" in docs/runbook.md.']


def event_document(record: EventRecord | OperatorRecord | None) -> dict[str, Any] | None:
    """What the event reports, without anything that a person wrote or that is about one."""
    if record is None:
        return None
    event = record.event
    return {
        "kind": record.kind,
        "type": event.type,
        "status": getattr(event, "status", None),
        "source": record.source.name,
        "role": record.source.role.value,
        "policy": record.source.policy.value,
        "occurred_us": event.occurred_us,
        "occurred_mark": event.occurred_mark,
    }


def load_letter(letter: DeadLetterView, value: bytes | None) -> EventRecord | OperatorRecord | None:
    """The event of a dead letter's bytes; None for what is no event, or cannot be read by this release.

    Bytes that killed their reader are not parsed.
    """
    if letter.error == PROCESS_DIED_READING:
        return None
    try:
        record = load_record(value or b"")
    except RecordUnknown:
        return None
    return record if isinstance(record, EventRecord | OperatorRecord) else None


def payload_text(record: EventRecord | OperatorRecord | None) -> str | None:
    """The request's body as it came; None when it is gone, or lies with another event of the request."""
    if record is None or record.payload is None:
        return None
    return base64.b64decode(record.payload).decode("utf-8", "backslashreplace")


def flatten(document: dict[str, Any]) -> dict[str, Any]:
    """The document as lines of name and value."""
    event = document["event"] or {}
    rest = {name: value for name, value in document.items() if name != "event"}
    return {**rest, **{f"event {name}": value for name, value in event.items() if value is not None}}
