"""What a dialect is: how a partner proves who it is, what its bodies mean, and the answers it understands.

A new format is a new file with a class of this shape and a line in `registry`. A dialect is pure: it sees the request's
facts and a clock's reading, and does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from multidict import CIMultiDictProxy

from backbone.store.sources import Source
from schemas.errors import MealtrailError
from schemas.events import FactEvent, OrderAmended, OrderPlaced, StatusEvent


@dataclass(frozen=True, slots=True)
class Inbound:
    """A request as it came. `path` is the path with its query, as signatures over URLs cover it."""

    headers: CIMultiDictProxy[str]
    raw: bytes
    path: str
    now_ms: int
    """Wall clock at arrival; for the age of signatures only."""


@dataclass(frozen=True, slots=True)
class ParsedEvent:
    """One event of a request. The id is never empty: given, derived from the content, or random."""

    order_id: str
    event_id: str
    event: StatusEvent | FactEvent | OrderPlaced | OrderAmended


@dataclass(frozen=True, slots=True)
class Taken:
    """An event that lies in the log."""

    order_id: str
    event_id: str
    receipt_id: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the partner gets. `body` is JSON-ready; None for an empty body."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


class Dialect(Protocol):
    """One format."""

    name: str

    def authenticate(self, inbound: Inbound, source: Source) -> None:
        """Returns when the request proves to come from the source. Raises NotAuthenticated with the true reason, for
        whatever a stranger may send; never anything else. Compares in constant time.
        """

    def takes(self, content_type: str) -> bool:
        """Whether bodies of this content type (lower case, without parameters) can be parsed."""

    def parse(self, inbound: Inbound, source: Source) -> Sequence[ParsedEvent]:
        """The events of an authenticated request, in order, at least one. Raises MalformedEvent naming the fields."""

    def answer(self, taken: Sequence[Taken], location: str) -> Answer:
        """The answer once all events lie in the log. `location` is the first receipt's address."""

    def refuse(self, error: MealtrailError) -> Answer | None:
        """The answer to a refusal or an outage (401, 413, 429, 415, 400, 503) in the partner's own terms.

        None leaves it to problem+json.
        """
