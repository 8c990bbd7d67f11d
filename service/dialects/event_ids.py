"""Event ids for senders that give none."""

from __future__ import annotations

import hashlib
import secrets

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
