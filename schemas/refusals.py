"""The closed set of reasons for which a request is turned away. For the operator alone; a caller is never told."""

from __future__ import annotations

from enum import StrEnum


class Why(StrEnum):
    """The true reasons of refusals. The first group are those of `NotAuthenticated`."""

    UNKNOWN_SOURCE = "unknown_source"
    SOURCE_DISABLED = "source_disabled"
    UNKNOWN_SCHEME = "unknown_auth_scheme"
    """The source proves itself in a way that this release, or its dialect, does not know."""
    MISSING_SIGNATURE = "missing_signature"
    """One of the three signature headers is not there."""
    MALFORMED_SIGNATURE = "malformed_signature"
    """A signature header that cannot be read, or that is there twice."""
    OLD_TIMESTAMP = "timestamp_outside_tolerance"
    BAD_SIGNATURE = "bad_signature"
    """Readable, but of another secret or another body; or of no version that we know."""
    MISSING_TOKEN = "missing_token"  # noqa: S105 - a reason, no secret
    BAD_TOKEN = "bad_token"  # noqa: S105 - a reason, no secret

    ROLE_NOT_SERVED = "role_not_served"
    """The credential is right, and the API does not serve its role."""

    KEY_MISSING = "key_missing"
    """Answered 503: secrets of the source do not open with the ring's keys. Nothing is wrong with the request."""
    RATE_LIMITED = "rate_limited"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_CONTENT_TYPE = "unsupported_media_type"
    MALFORMED = "malformed"
