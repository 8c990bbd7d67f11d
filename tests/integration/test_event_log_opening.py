"""How many copies the topics get, asked of a real cluster."""

import pytest

from backbone.eventlog.opening import open_event_log, replication_of
from backbone.settings import Settings
from schemas.errors import TopicMisconfigured
from schemas.topics import topic_specs
from tests.support.kafka import KafkaBroker

pytestmark = pytest.mark.kafka


def settings(broker: KafkaBroker, *, allow: bool) -> Settings:
    """Settings for that broker."""
    return Settings.model_validate(
        {
            "kafka_bootstrap_servers": broker.bootstrap,
            "database_url": "postgresql+asyncpg://u@h/d",
            "secret_keys": "k:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            "kafka_allow_single_broker": allow,
        }
    )


async def test_one_broker_is_refused_unless_it_is_allowed(kafka_broker: KafkaBroker, topic_prefix: str) -> None:
    """The refusal names the setting; allowed, topics get one copy and pass the check."""
    with pytest.raises(TopicMisconfigured, match="MEALTRAIL_KAFKA_ALLOW_SINGLE_BROKER"):
        await replication_of(settings(kafka_broker, allow=False))
    allowed = settings(kafka_broker, allow=True)
    replication, min_insync = await replication_of(allowed)
    assert (replication, min_insync) == (1, 1)
    specs = topic_specs(prefix=topic_prefix, partitions=2, replication=replication, min_insync=min_insync)
    log = open_event_log(allowed)
    await log.start()
    await log.create_topics(specs)
    await log.check_topics(specs)
    await log.stop()
