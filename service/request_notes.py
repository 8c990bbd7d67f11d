"""What one request's canonical log line will say, filled in along the way. Ids and numbers only, never content."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web


@dataclass(slots=True)
class RequestNotes:
    """One request's facts. Everything stays None where it does not apply."""

    request_id: str
    remote: str | None
    """The caller's address; for the refused-attempts log alone, not for log lines."""
    source: str | None = None
    event_id: str | None = None
    order_id: str | None = None
    partition: int | None = None
    offset: int | None = None
    events: int | None = None
    bytes: int | None = None
    refusal: str | None = None
    """The true reason of a refusal; for the operator, never in an answer."""


LOGGED_NOTES = ("bytes", "source", "event_id", "order_id", "partition", "offset", "events", "refusal")
NOTES = web.RequestKey("notes", RequestNotes)


def notes_of(request: web.Request) -> RequestNotes:
    """The notes that the edge made for this request."""
    return request[NOTES]
