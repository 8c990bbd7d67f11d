"""Until when a topic may still hold what was appended to it: from the settings that the topics really have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backbone.eventlog.kafka_admin import KafkaAdmin
from backbone.eventlog.opening import kafka_config
from backbone.settings import Settings
from schemas.topics import RETENTION_MS


@dataclass(frozen=True, slots=True)
class TopicRetention:
    """How long a record may outlive its append, at most, in milliseconds; None is for good.

    Kafka removes segments, not records: one goes when its newest record is older than `retention.ms`, and it may take
    records in for `segment.ms`. So a record may stay for the sum of the two.
    """

    topic: str
    longest_ms: int | None


async def topic_retentions(settings: Settings) -> list[TopicRetention]:
    """Of the two topics that hold events as they came: received and dead letters.

    Asks the cluster. Raises LogUnavailable, also when a topic is missing.
    """
    names = [settings.topics.received, settings.topics.dead_letters]
    if settings.kafka_bootstrap_servers is None:
        return [TopicRetention(name, settings.embedded_log_retention or RETENTION_MS) for name in names]
    found = await KafkaAdmin(kafka_config(settings, settings.kafka_bootstrap_servers)).settings_of(names)
    return [TopicRetention(name, _longest(found[name])) for name in names]


def _longest(settings: dict[str, str | None]) -> int | None:
    retention, segment = (int(settings.get(name) or -1) for name in ("retention.ms", "segment.ms"))
    return None if retention < 0 or segment < 0 else retention + segment


def latest_removal_ms(retentions: Sequence[TopicRetention], appended_ms: int) -> int | None:
    """When the last of the topics will have removed what was appended until then; None if one never does."""
    longest = [retention.longest_ms for retention in retentions]
    if any(one is None for one in longest):
        return None
    return appended_ms + max((one for one in longest if one is not None), default=0)
