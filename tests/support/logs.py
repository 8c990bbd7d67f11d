"""Event logs for tests: the embedded one and the one on real Kafka, with topics made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.eventlog.kafka_connection import KafkaLogConfig
from backbone.eventlog.opening import embedded_config, kafka_config, open_event_log
from backbone.eventlog.port import EventLog
from backbone.settings import Settings
from schemas.topics import TopicNames, topic_specs
from tests.support.stores import KEYS, embedded_settings


@dataclass(frozen=True, slots=True)
class LogUnderTest:
    """A started log and its topics."""

    log: EventLog
    prefix: str
    partitions: int

    @property
    def topics(self) -> TopicNames:
        """The names of all topics."""
        return TopicNames.with_prefix(self.prefix)

    @property
    def received(self) -> str:
        """The received topic's name."""
        return self.topics.received

    @property
    def outcomes(self) -> str:
        """The outcomes topic's name."""
        return self.topics.outcomes

    @property
    def dead_letters(self) -> str:
        """The dead-letters topic's name."""
        return self.topics.dead_letters


def kafka_settings(bootstrap: str, **more: object) -> Settings:
    """Settings that name a broker; the database is never used."""
    return Settings.model_validate(
        {
            "kafka_bootstrap_servers": bootstrap,
            "database_url": "postgresql+asyncpg://nobody@127.0.0.1:1/none",
            "secret_keys": KEYS,
            "kafka_allow_single_broker": True,
            **more,
        }
    )


def embedded_log(data_dir: Path, **changes: Any) -> EmbeddedEventLog:
    """The embedded log as the settings' defaults have it, but for `changes`; not started."""
    return EmbeddedEventLog(replace(embedded_config(embedded_settings(data_dir)), **changes))


def kafka_limits(bootstrap: str, **changes: Any) -> KafkaLogConfig:
    """The Kafka log's configuration as the settings' defaults have it, but for `changes`."""
    return replace(kafka_config(kafka_settings(bootstrap), bootstrap), **changes)


async def started_log(settings: Settings, *, prefix: str = "", partitions: int = 3) -> LogUnderTest:
    """Opens and starts the log of the settings and makes its topics. The caller stops it."""
    log = open_event_log(settings)
    await log.start()
    await log.create_topics(topic_specs(prefix=prefix, partitions=partitions, replication=1, min_insync=1))
    return LogUnderTest(log, prefix, partitions)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def event_log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LogUnderTest]:
    """A started log with three partitions, embedded and on Kafka in turn. Import it into a test module to use it."""
    if request.param == "embedded":
        (tmp_path / "log").mkdir()
        settings = Settings.model_validate({"data_dir": tmp_path / "log"})
        under_test = await started_log(settings)
    else:
        broker = request.getfixturevalue("kafka_broker")
        prefix = request.getfixturevalue("topic_prefix")
        under_test = await started_log(kafka_settings(broker.bootstrap), prefix=prefix)
    yield under_test
    await under_test.log.stop()
