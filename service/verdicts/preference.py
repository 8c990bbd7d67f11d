"""`Prefer: wait=N` (RFC 7240): how long a caller is willing to wait for more than a 202."""

from __future__ import annotations

import re
from collections.abc import Sequence

LONGEST_WAIT_S = 30
_LONGEST_HEADER = 1000
_PREFERENCE = re.compile(
    r"""\s*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*(?P<value>"(?:[^"\\]|\\.)*"|[^\s",;]*))?"""
    r"""(?:\s*;(?:[^",]|"(?:[^"\\]|\\.)*")*)?\s*(?:,|$)"""
)
_WHOLE = re.compile(r"[0-9]{1,9}")


def preferred_wait(headers: Sequence[str]) -> int:
    """The seconds of the first `wait` among the values of all Prefer headers, at most 30; 0 when there is none.

    Other preferences are passed over; so is a `wait` that is no whole number, as the RFC asks. Never raises.
    """
    for header in headers:
        position = 0
        text = header[:_LONGEST_HEADER]
        while position < len(text):
            found = _PREFERENCE.match(text, position)
            if found is None:  # not a list of preferences from here on; go on behind the next comma
                comma = text.find(",", position)
                if comma < 0:
                    break
                position = comma + 1
                continue
            position = found.end()
            if found["name"].lower() == "wait":
                value = (found["value"] or "").strip('"')
                return min(int(value), LONGEST_WAIT_S) if _WHOLE.fullmatch(value) else 0
    return 0
