"""Which partition a key belongs to: Kafka's Java default (murmur2), computed by us and passed explicitly.

Client libraries disagree on their defaults; an order whose records lie in two partitions has two owners.
"""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2

_REMEMBERED = 16_384
"""Keys whose partition is kept, at about 200 bytes each: an order's records come within its hour, ten or so of them."""


@lru_cache(maxsize=_REMEMBERED)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a record key, 0 to partitions - 1, as Kafka's Java client would choose."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions
