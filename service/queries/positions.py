"""The position in every partition as one opaque string: what `/v1/changes` calls `next` and takes as `after`.

Base64url of a JSON list of partition, seq, partition, seq…; a reader keeps it and gives it back, nothing else.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import orjson

from schemas.errors import MalformedEvent

_LONGEST = 32_768
_MOST_PARTITIONS = 1000
_MOST_SEQ = 1 << 63


def write_position(seqs: Mapping[int, int]) -> str:
    """The string of a position; partitions at their start are left out."""
    flat = [number for partition, seq in sorted(seqs.items()) if seq > 0 for number in (partition, seq)]
    return base64.urlsafe_b64encode(orjson.dumps(flat)).rstrip(b"=").decode()


def read_position(text: str) -> dict[int, int]:
    """The position that `write_position` made a string of. Raises MalformedEvent on the field `after`."""
    try:
        if len(text) > _LONGEST:
            raise ValueError("too long")  # noqa: TRY301 - one place makes the refusal
        flat = orjson.loads(base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_"))
        if not isinstance(flat, list) or len(flat) % 2 or any(type(number) is not int for number in flat):
            raise ValueError("not pairs")  # noqa: TRY301
        seqs = dict(zip(flat[::2], flat[1::2], strict=True))
        if len(seqs) * 2 != len(flat) or not all(
            0 <= p < _MOST_PARTITIONS and 0 <= s < _MOST_SEQ for p, s in seqs.items()
        ):
            raise ValueError("out of range")  # noqa: TRY301
    except (ValueError, binascii.Error) as error:
        problem = ("after", "must be a position that this feed gave as `next`")
        raise MalformedEvent("The position cannot be used.", errors=(problem,)) from error
    return seqs
