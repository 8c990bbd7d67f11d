"""Forms from strangers: what a client that fetches an access token posts (RFC 6749, section 4.4.2)."""

from __future__ import annotations

from urllib.parse import parse_qsl

FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 50


def read_form(raw: bytes) -> dict[str, str] | None:
    """The form's fields; None where it is no form, or names a field twice (RFC 6749, section 3.2)."""
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            max_num_fields=_MOST_FIELDS,
            errors="strict",
        )
    except ValueError:
        return None
    form = dict(pairs)
    return form if len(form) == len(pairs) else None
