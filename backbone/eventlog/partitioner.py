"""Which partition a key belongs to: Kafka's Java default (murmur2), computed by us and passed explicitly.

Client libraries disagree on their defaults; an order whose records lie in two partitions has two owners.
"""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a record key, 0 to partitions - 1, as Kafka's Java client would choose."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions
