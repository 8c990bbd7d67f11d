"""The topics, their names and the settings that matter, all of them explicit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

RECEIVED = "mealtrail.received.v1"
OUTCOMES = "mealtrail.outcomes.v1"
DEAD_LETTERS = "mealtrail.dead-letters.v1"
ALL_TOPICS: tuple[str, ...] = (RECEIVED, OUTCOMES, DEAD_LETTERS)

DEFAULT_PARTITIONS = 12
RETENTION_MS = 14 * 24 * 3600 * 1000
MAX_MESSAGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicNames:
    """The topics of one log by what they hold."""

    received: str
    outcomes: str
    dead_letters: str

    @classmethod
    def with_prefix(cls, prefix: str) -> Self:
        """As a deployment with that prefix names them."""
        return cls(received=prefix + RECEIVED, outcomes=prefix + OUTCOMES, dead_letters=prefix + DEAD_LETTERS)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it must be: created so by `mealtrail migrate`, checked so at start-up."""

    name: str
    partitions: int
    replication: int
    settings: tuple[tuple[str, str], ...]


def topic_specs(*, prefix: str, partitions: int, replication: int, min_insync: int) -> tuple[TopicSpec, ...]:
    """All topics with their settings. The received log is neither compacted nor transactional: offsets stay
    contiguous. Outcomes and dead letters are kept at least as long as what they were made from.
    """
    settings = {
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(RETENTION_MS),
        "retention.bytes": "-1",
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        "min.insync.replicas": str(min_insync),
        "unclean.leader.election.enable": "false",
        "compression.type": "producer",
    }
    return tuple(
        TopicSpec(prefix + name, partitions, replication, tuple(sorted(settings.items()))) for name in ALL_TOPICS
    )
