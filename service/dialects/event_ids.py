"""Event ids for senders that give none."""

from __future__ import annotations

import hashlib
import secrets

import orjson

from schemas.events import FactEvent, OrderAmended, OrderPlaced, StatusEvent
from schemas.records import digest_event

_KEPT = 32


def derive_event_id(order_id: str, event: StatusEvent | FactEvent | OrderPlaced | OrderAmended) -> str:
    """The same id for the same content: all of the event's own fields, its time among them. A repeat is then a
    duplicate, and two different contents never share an id.
    """
    content = f"{len(order_id)}:{order_id}{digest_event(event)}"
    return "derived-" + hashlib.sha256(content.encode()).hexdigest()[:_KEPT]


def random_event_id() -> str:
    """An id nothing else has: every sending is an event of its own, and the lifecycle decides."""
    return "random-" + secrets.token_hex(_KEPT // 2)


def derive_fact_id(*parts: str | int | None) -> str:
    """The same id for the same parts: those that tell one of a partner's facts from the next, so that its retry is a
    duplicate and an honest later event is not. None and "" differ, and so do 1 and "1".
    """
    content = orjson.dumps([part if isinstance(part, str) else [part if part is None else str(part)] for part in parts])
    return "derived-" + hashlib.sha256(content).hexdigest()[:_KEPT]


def derive_body_id(*parts: str | int | None, raw: bytes) -> str:
    """The same for a fact that only its whole body tells from the next: two bodies that differ are two events."""
    return derive_fact_id(*parts, hashlib.sha256(raw).hexdigest())
