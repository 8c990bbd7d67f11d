"""Which event log a process gets, and how many copies its topics have: from the settings."""

from __future__ import annotations

from backbone.eventlog.embedded import EmbeddedEventLog, EmbeddedLogConfig
from backbone.eventlog.kafka import KafkaEventLog
from backbone.eventlog.kafka_admin import KafkaAdmin
from backbone.eventlog.kafka_connection import KafkaLogConfig
from backbone.eventlog.port import EventLog
from backbone.settings import Settings
from schemas.errors import TopicMisconfigured
from schemas.topics import TopicSpec, topic_specs

REPLICATION, MIN_INSYNC = 3, 2


def open_event_log(settings: Settings) -> EventLog:
    """The event log of these settings, not started yet. Call it inside the event loop; no I/O."""
    if settings.kafka_bootstrap_servers is None:
        return EmbeddedEventLog(embedded_config(settings))
    return KafkaEventLog(kafka_config(settings, settings.kafka_bootstrap_servers))


async def replication_of(settings: Settings) -> tuple[int, int]:
    """Replication and min.insync.replicas for `topic_specs`: 3 and 2, or 1 and 1 where one broker is enough.

    Embedded there is one copy. With `kafka_allow_single_broker` one copy is accepted where the cluster has fewer than
    three brokers. Asks the cluster. Raises TopicMisconfigured when it is too small, LogUnavailable.
    """
    if settings.kafka_bootstrap_servers is None:
        return 1, 1
    brokers = await KafkaAdmin(kafka_config(settings, settings.kafka_bootstrap_servers)).broker_count()
    if brokers >= REPLICATION:
        return REPLICATION, MIN_INSYNC
    if settings.kafka_allow_single_broker:
        return 1, 1
    raise TopicMisconfigured(
        f"the Kafka cluster has {brokers} broker(s), and an acknowledged event must survive losing one: topics need "
        f"replication {REPLICATION} and min.insync.replicas {MIN_INSYNC}. "
        "Set MEALTRAIL_KAFKA_ALLOW_SINGLE_BROKER=true to accept a single copy (development, tests)."
    )


async def wanted_topics(settings: Settings) -> tuple[TopicSpec, ...]:
    """All topics as these settings want them. Asks the cluster, and raises, as `replication_of` does."""
    replication, min_insync = await replication_of(settings)
    return topic_specs(
        prefix=settings.topic_prefix,
        partitions=settings.partitions,
        replication=replication,
        min_insync=min_insync,
    )


def embedded_config(settings: Settings) -> EmbeddedLogConfig:
    """The embedded log as the settings have it."""
    return EmbeddedLogConfig(
        data_dir=settings.data_dir,
        publish_timeout_ms=settings.publish_timeout_ms,
        publish_window=settings.publish_window,
        shutdown_timeout_ms=settings.shutdown_timeout_ms,
    )


def kafka_config(settings: Settings, bootstrap_servers: str) -> KafkaLogConfig:
    """The Kafka log at these brokers, the rest as the settings have it."""
    return KafkaLogConfig(
        bootstrap_servers=bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=settings.kafka_sasl_password,
        ssl_cafile=settings.kafka_ssl_cafile,
        ssl_certfile=settings.kafka_ssl_certfile,
        ssl_keyfile=settings.kafka_ssl_keyfile,
        publish_timeout_ms=settings.publish_timeout_ms,
        publish_window=settings.publish_window,
        session_timeout_ms=settings.kafka_session_timeout_ms,
        shutdown_timeout_ms=settings.shutdown_timeout_ms,
    )
