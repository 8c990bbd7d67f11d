"""What a dialect is: how a partner proves who it is, what its bodies mean, and the answers it understands.

A new format is a new file in this package with a `DIALECT` of this shape; `registry` finds it. Most partners' formats
fit `service.dialects.partner.PartnerDialect`, which leaves a profile and `parse` to write; docs/dialects.md shows how.
A dialect is pure: it sees the request's facts and a clock's reading, and does no I/O. `tests/contract/test_dialects.py`
holds every registered one to the promises below, whatever a stranger sends.

What a dialect need not check: `ParsedEvent` normalises ids, and the events' own types refuse what cannot be logged.
What it must: that a body can be read at all (`service.bodies.documents` does so for JSON). It names orders and stores
as the partner does; the source's id prefix and its map of stores are put on by `service.ingress.identity`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

from multidict import CIMultiDictProxy

from backbone.store.sources import Source
from schemas.errors import MalformedEvent, MealtrailError
from schemas.events import FactEvent, OrderAmended, OrderPlaced, StatusEvent
from schemas.identifiers import normalise_id
from service.dialects.profile import Profile
from service.failures import Failure

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
MOST_EVENTS = 100
"""What one request may carry; one with more is refused whole (400). A format that may say more at a time says which of
them count.
"""


class Inbound(NamedTuple):
    """A request as it came. `path` is the path with its query, as the sender wrote it.

    A signature that covers the whole URL covers our address as the partner knows it, which no request tells for sure:
    it is the source's `url`.
    """

    headers: CIMultiDictProxy[str]
    raw: bytes
    path: str
    now_ms: int
    """Wall clock at arrival; for the age of signatures only."""
    method: str = "POST"
    endpoint: str = ""
    """The path below the webhook URL as the profile declares it, with its variables unfilled."""
    variables: Mapping[str, str] = _NONE
    """What the path says for the endpoint's variables, decoded: whatever the sender wrote there."""
    issued_to: str | None = None
    """The uid of the source that its access token speaks for, where it carries a live one that we issued."""


@dataclass(frozen=True, slots=True)
class ParsedEvent:
    """One event of a request. The event id is given, derived from the content, or random.

    Both ids are normalised here, so that one order is one key whatever dialect names it. Raises MalformedEvent, with
    the field, for an id that cannot be one.
    """

    order_id: str
    event_id: str
    event: StatusEvent | FactEvent | OrderPlaced | OrderAmended
    store: str | None = None
    """The partner's id of the restaurant, where the message names it. A NEW that announces its order gives it this
    restaurant.
    """

    def __post_init__(self) -> None:
        for name, given in (("order_id", self.order_id), ("event_id", self.event_id)):
            try:
                known = normalise_id(given)
                if known is not given:
                    object.__setattr__(self, name, known)
            except ValueError as error:
                what = name.replace("_", " ")
                raise MalformedEvent(f"The {what} cannot be used.", errors=((name, str(error)),)) from error


@dataclass(frozen=True, slots=True)
class Position:
    """Where an order's courier is. Never logged: the latest one is kept beside the order while the order is open.

    Raises MalformedEvent for an order id that cannot be one.
    """

    order_id: str
    latitude: float
    longitude: float
    occurred_us: int | None = None

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "order_id", normalise_id(self.order_id))
        except ValueError as error:
            raise MalformedEvent("The order id cannot be used.", errors=(("order_id", str(error)),)) from error

    @classmethod
    def at(cls, order_id: str, latitude: object, longitude: object, occurred_us: int | None = None) -> Position | None:
        """The position, or None where the two are no place on Earth: partners blank and mask coordinates, and a courier
        without a place is no reason to refuse what else the message says.
        """
        if isinstance(latitude, bool) or isinstance(longitude, bool):
            return None
        if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
            return None
        if not (math.isfinite(latitude) and math.isfinite(longitude)) or abs(latitude) > 90 or abs(longitude) > 180:
            return None
        return cls(order_id, float(latitude), float(longitude), occurred_us)


class Parsed(NamedTuple):
    """What a request says: events in their order (at most MOST_EVENTS), and a courier's positions; at least one."""

    events: tuple[ParsedEvent, ...] = ()
    positions: tuple[Position, ...] = ()


class Taken(NamedTuple):
    """An event that lies in the log."""

    order_id: str
    event_id: str
    receipt_id: str


class Answer(NamedTuple):
    """What the partner gets.

    `body` is JSON-ready where the content type is JSON; for any other type it is the text (sent as UTF-8) or the bytes
    themselves. None is an empty body.
    """

    status: int
    body: Any
    headers: Mapping[str, str] = _NONE
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class AnswerOnly:
    """A request that says nothing about an order, such as a keep-alive or a connection test: authenticated like any
    other, answered so, and not logged.
    """

    answer: Answer


Meaning = Parsed | AnswerOnly


class Dialect(Protocol):
    """One format."""

    @property
    def profile(self) -> Profile:
        """What it declares: for `source add`, and for the table in docs/dialects.md."""

    @property
    def name(self) -> str:
        """What a source carries, and `--dialect` takes."""

    @property
    def expects(self) -> str:
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

    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """What an authenticated request says. Raises MalformedEvent naming the fields.

        What the partner may say and we have no place for (an unknown code) is a FactEvent, never a refusal: it goes
        into the trail as noted.

        pydantic's ValidationError, from making an event of what was sent, is taken for one. Anything else is a fault
        of the dialect, and the partner gets a 500 for what it sent.
        """

    def answer(self, taken: Sequence[Taken], location: str) -> Answer:
        """The answer once all events lie in the log. `location` is the first receipt's address; of a request with
        positions alone nothing was taken, and it is empty.
        """

    def answer_refusal(self, error: MealtrailError) -> Answer | None:
        """The answer to a refusal or an outage (401, 413, 429, 415, 400, 503) in the partner's own terms.

        None leaves it to problem+json.
        """

    def answer_failure(self, failure: Failure) -> Answer | None:
        """The same for what no event was ever made of, with the status as it stands: no such path (404), another
        method (405), a body that does not arrive (408), a fault of ours (500), a token that is not issued; on the
        dialect's own paths below the webhook URL also for every refusal that `answer_refusal` leaves.
        """
