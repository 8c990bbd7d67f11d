"""What a dialect is: how a partner proves who it is, what its bodies mean, and the answers it understands.

A new format is a new file with a class of this shape and a line in `registry`. A dialect is pure: it sees the request's
facts and a clock's reading, and does no I/O. `tests/contract/test_dialects.py` holds every registered one to the
promises below, whatever a stranger sends.

What a dialect need not check: `ParsedEvent` normalises ids, and the events' own types refuse what cannot be logged.
What it must: that a body can be read at all (`service.ingress.documents` does so for JSON).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from multidict import CIMultiDictProxy

from backbone.store.sources import Source
from schemas.errors import MalformedEvent, MealtrailError
from schemas.events import FactEvent, OrderAmended, OrderPlaced, StatusEvent
from schemas.identifiers import normalise_id


@dataclass(frozen=True, slots=True)
class Inbound:
    """A request as it came. `path` is the path with its query, as the sender wrote it.

    A signature that covers the whole URL covers our address as the partner knows it, which no request tells for sure:
    it is the source's `url`. No dialect of this release reads it; one that does puts the two together itself.
    """

    headers: CIMultiDictProxy[str]
    raw: bytes
    path: str
    now_ms: int
    """Wall clock at arrival; for the age of signatures only."""


@dataclass(frozen=True, slots=True)
class ParsedEvent:
    """One event of a request. The event id is given, derived from the content, or random.

    Both ids are normalised here, so that one order is one key whatever dialect names it. Raises MalformedEvent, with
    the field, for an id that cannot be one.
    """

    order_id: str
    event_id: str
    event: StatusEvent | FactEvent | OrderPlaced | OrderAmended

    def __post_init__(self) -> None:
        for name in ("order_id", "event_id"):
            try:
                object.__setattr__(self, name, normalise_id(getattr(self, name)))
            except ValueError as error:
                what = name.replace("_", " ")
                raise MalformedEvent(f"The {what} cannot be used.", errors=((name, str(error)),)) from error


@dataclass(frozen=True, slots=True)
class Taken:
    """An event that lies in the log."""

    order_id: str
    event_id: str
    receipt_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the partner gets.

    `body` is JSON-ready where the content type is JSON; for any other type it is the text (sent as UTF-8) or the bytes
    themselves. None is an empty body.
    """

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


class Dialect(Protocol):
    """One format."""

    name: str
    expects: str
    """What its bodies are, in words: a body of another content type is refused with "The body must be …"."""

    def authenticate(self, inbound: Inbound, source: Source) -> None:
        """Returns when the request proves to come from the source. Raises NotAuthenticated with the true reason, for
        whatever a stranger may send; never anything else. Compares in constant time.

        The legal reasons are those of `schemas.refusals.Why`: `missing_…` where the proof is not there,
        `malformed_signature` where it cannot be read, `bad_…` where it does not fit, `timestamp_outside_tolerance`
        for a good one that is too old, `unknown_auth_scheme` for a source whose scheme the dialect does not take. The
        two about sources (`unknown_source`, `source_disabled`) are the door's.
        """

    def takes(self, content_type: str) -> bool:
        """Whether bodies of this content type (lower case, without parameters) can be parsed."""

    def parse(self, inbound: Inbound, source: Source) -> Sequence[ParsedEvent]:
        """The events of an authenticated request, in order, at least one. Raises MalformedEvent naming the fields.

        pydantic's ValidationError, from making an event of what was sent, is taken for one. Anything else is a fault
        of the dialect, and the partner gets a 500 for what it sent.
        """

    def answer(self, taken: Sequence[Taken], location: str) -> Answer:
        """The answer once all events lie in the log. `location` is the first receipt's address."""

    def answer_refusal(self, error: MealtrailError) -> Answer | None:
        """The answer to a refusal or an outage (401, 413, 429, 415, 400, 503) in the partner's own terms.

        None leaves it to problem+json.
        """
