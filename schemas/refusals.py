"""The closed set of reasons for which a request is turned away. For the operator alone; a caller is never told."""

from __future__ import annotations

from enum import StrEnum


class Why(StrEnum):
    """The true reasons of refusals. The first group are those of `NotAuthenticated`."""

    UNKNOWN_SOURCE = "unknown_source"
    """No source has the name in the URL, or the client id of whoever asks for an access token."""
    SOURCE_DISABLED = "source_disabled"
    """The source was disabled; nothing of what it proves is looked at."""
    UNKNOWN_SCHEME = "unknown_auth_scheme"
    """The source proves itself in a way that this release, or its dialect, does not know."""
    MISSING_SIGNATURE = "missing_signature"
    """What carries the signature is not there or is empty: a header (of Standard Webhooks any of three), or a field of
    the body.
    """
    MALFORMED_SIGNATURE = "malformed_signature"
    """What carries it cannot be read (no hex, no base64, no token, another algorithm), or a header is there twice."""
    OLD_TIMESTAMP = "timestamp_outside_tolerance"
    """A good signature, made more than five minutes from our clock. Of Standard Webhooks alone: a partner's own format
    has no replay window.
    """
    BAD_SIGNATURE = "bad_signature"
    """Readable, but of another secret, another body or another URL; or of no version that we know."""
    RESERIALISED_BODY = "signature_of_reserialised_body"
    """By the right secret, over the body written anew instead of its raw bytes."""
    MISSING_TOKEN = "missing_token"  # noqa: S105 - a reason, no secret
    """No header with a token, or with user and password, that could be one; or one that is there twice."""
    BAD_TOKEN = "bad_token"  # noqa: S105 - a reason, no secret
    """A token, user and password, or client secret that is none of the source's live ones."""

    ROLE_NOT_SERVED = "role_not_served"
    """The credential is right, and the API does not serve its role."""

    KEY_MISSING = "key_missing"
    """Answered 503: secrets of the source do not open with the ring's keys. Nothing is wrong with the request."""
    RATE_LIMITED = "rate_limited"
    """Answered 429 (some partners are told 503): more requests a second than the source's rate."""
    BODY_TOO_LARGE = "body_too_large"
    """Answered 413."""
    UNSUPPORTED_CONTENT_TYPE = "unsupported_media_type"
    """Answered 415: a type that the format does not have, or a compressed body."""
    MALFORMED = "malformed"
    """Answered 400: proved, and what it says cannot be read."""
