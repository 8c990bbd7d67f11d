"""CloudEvents 1.0, Kafka protocol binding, binary mode: attributes in `ce_*` headers, JSON in the value."""

from __future__ import annotations

from collections.abc import Sequence

Headers = tuple[tuple[str, bytes], ...]

RECEIVED_TYPE = "io.mealtrail.received.v1"
OUTCOME_TYPE = "io.mealtrail.outcome.v1"
TICK_TYPE = "io.mealtrail.tick.v1"
REPLAY_TYPE = "io.mealtrail.replay.v1"
DISCARD_TYPE = "io.mealtrail.discard.v1"
ERASE_TYPE = "io.mealtrail.erase.v1"
DEAD_LETTER_TYPE = "io.mealtrail.dead-letter.v1"
_SPECVERSION = ("ce_specversion", b"1.0")
_CONTENT_TYPE = ("content-type", b"application/json")


def cloudevent_headers(
    *,
    event_id: str,
    event_type: str,
    source: str,
    subject: str | None,
    time: str | None = None,
    traceparent: str | None = None,
) -> Headers:
    """Headers of one record. `subject` is the order id, `time` RFC 3339; `traceparent` is carried through as it is."""
    pairs = [
        _SPECVERSION,
        ("ce_id", event_id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", event_type.encode()),
    ]
    if subject is not None:
        pairs.append(("ce_subject", subject.encode()))
    if time is not None:
        pairs.append(("ce_time", time.encode()))
    pairs.append(_CONTENT_TYPE)
    if traceparent is not None:
        pairs.append(("traceparent", traceparent.encode("ascii", "ignore")))
    return tuple(pairs)


def header(headers: Sequence[tuple[str, bytes]], name: str) -> str | None:
    """The first header of that name as text, or None."""
    for key, value in headers:
        if key == name:
            return value.decode("utf-8", "replace")
    return None
