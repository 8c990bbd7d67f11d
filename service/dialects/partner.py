"""What the dialects of real partners share: proof by the source's scheme, and answers as the profile declares them.

A partner's file has a class with a `profile`, a `parse`, `verify_signature` where it signs, and a `day`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from backbone.store.sources import Source
from schemas.errors import MalformedEvent, MealtrailError, NotAuthenticated
from schemas.events import FactEvent, StatusEvent
from schemas.refusals import Why
from schemas.statuses import OrderStatus
from schemas.times import TimeMark
from service.bodies.documents import is_json
from service.dialects.bearer import verify_token
from service.dialects.days import Message, Outgoing, Signing
from service.dialects.header_tokens import verify_basic, verify_header_token
from service.dialects.port import Answer, Inbound, Meaning, Taken
from service.dialects.profile import Profile, refusal_of
from service.failures import Failure, failure_of

TOKEN_REFUSALS = frozenset({"invalid_request", "invalid_client", "unsupported_grant_type", "invalid_scope"})
"""The codes of a token that is not issued."""
_LONGEST_CODE = 64


class PartnerDialect(ABC):
    """A dialect made of its profile. `parse` and `day` are the partner's own."""

    profile: ClassVar[Profile]

    @property
    def name(self) -> str:
        """The profile's."""
        return self.profile.name

    @property
    def expects(self) -> str:
        """JSON, which all partners so far send."""
        return "JSON, sent as application/json"

    def authenticate(self, inbound: Inbound, source: Source) -> None:
        """By the source's scheme, if it is one of the profile's."""
        if source.auth not in self.profile.schemes:
            raise NotAuthenticated(Why.UNKNOWN_SCHEME)
        match source.auth:
            case "bearer":
                self._verify_bearer(inbound, source)
            case "basic":
                verify_basic(inbound.headers, source.token_hashes)
            case "header" if self.profile.token_header is not None:
                verify_header_token(inbound.headers, self.profile.token_header, source.token_hashes)
            case "signature":
                self.verify_signature(inbound, source)
            case _:
                raise NotAuthenticated(Why.UNKNOWN_SCHEME)

    def _verify_bearer(self, inbound: Inbound, source: Source) -> None:
        """The secret itself or, where the partner fetches them, an access token that was issued for it."""
        if self.profile.token is None or inbound.issued_to is None or inbound.issued_to != source.uid:
            verify_token(inbound.headers, source.token_hashes)

    def verify_signature(self, inbound: Inbound, source: Source) -> None:  # noqa: ARG002 - for those who sign
        """Returns when the partner's signature is a genuine one. Raises NotAuthenticated with the reason."""
        raise NotAuthenticated(Why.UNKNOWN_SCHEME)

    def takes(self, content_type: str) -> bool:
        """JSON, under its own name or as the base of another."""
        return is_json(content_type)

    @abstractmethod
    def parse(self, inbound: Inbound, source: Source) -> Meaning:
        """What the request says. Raises MalformedEvent."""

    def answer(self, taken: Sequence[Taken], location: str) -> Answer:  # noqa: ARG002 - part of the port
        """What the partner wants for success, with the receipt's address for whoever looks at headers."""
        return self.success({"Location": location} if location else {})

    def success(self, headers: dict[str, str] | None = None) -> Answer:
        """The profile's success."""
        return Answer(self.profile.success_status, self.profile.success_body, headers or {})

    def answer_refusal(self, error: MealtrailError) -> Answer | None:
        """The status that the profile's table gives to this refusal, with our code and words; None where it is ours."""
        refusal = refusal_of(error)
        told = None if refusal is None else self.profile.refusals.get(refusal)
        if told is None or told.status is None:
            return None
        failure = failure_of(error)
        return Answer(told.status, {"code": failure.code, "detail": failure.detail}, failure.headers)

    def answer_failure(self, failure: Failure) -> Answer | None:
        """As RFC 6749 has it (section 5.2) for a token that is not issued; the rest is left to problem+json."""
        if failure.code not in TOKEN_REFUSALS:
            return None
        body = {"error": failure.code, "error_description": failure.detail}
        return Answer(failure.status, body, {**failure.headers, "Cache-Control": "no-store"})

    def day(self, order_id: str, store: str, start: datetime) -> Sequence[Message]:
        """This partner's messages for one order from its first to its last, with its usual repeats, skips and disorder.

        The times that it writes count from `start`. Same arguments, same messages.
        """
        raise NotImplementedError

    def sign(self, body: bytes, signing: Signing) -> Outgoing:
        """The body as the partner sends it, with the headers that prove it; from its document, not from
        `verify_signature`.
        """
        raise NotImplementedError


def fact(code: object, occurred: tuple[int | None, TimeMark | None], comment: str | None = None) -> FactEvent:
    """What the lifecycle has no place for, under the partner's own word for it. A word that cannot be kept as a code is
    kept as far as it can.

    Raises MalformedEvent for a code that is no text or number.
    """
    if isinstance(code, bool) or not isinstance(code, str | int):
        raise MalformedEvent("The body does not have the expected form: code.", errors=(("code", "must be text"),))
    kept = "".join(letter if " " <= letter <= "~" else "?" for letter in str(code)).strip()[:_LONGEST_CODE]
    occurred_us, mark = occurred
    return FactEvent(code=kept or "?", occurred_us=occurred_us, occurred_mark=mark, comment=comment)


def report(
    status: OrderStatus | None,
    word: object,
    occurred: tuple[int | None, TimeMark | None],
    *,
    comment: str | None = None,
    reason: str | None = None,
) -> StatusEvent | FactEvent:
    """The partner's word as the status that it says or, without one, as a fact. A fact keeps the comment, CANCELLED the
    reason. An announcement with an order's details is an `OrderPlaced` and not made here; a NEW announces too.

    Raises what `fact` does.
    """
    if status is None:
        return fact(word, occurred, comment)
    occurred_us, mark = occurred
    why = reason if status is OrderStatus.CANCELLED else None
    return StatusEvent(status=status, occurred_us=occurred_us, occurred_mark=mark, reason=why)


def words(value: Any) -> str | None:
    """Free words of a partner as a comment: cut to what is kept; None for anything else and for nothing."""
    if not isinstance(value, str):
        return None
    return value.strip()[:500] or None
