"""The servers that a run stands on, and the environment that mealtrail's own processes get."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from backbone.settings import Settings
from benchmarks.durable_postgres import LocalDurablePostgres, start_durable_postgres
from benchmarks.machine import Cores, on_cores
from tests.support import postgres_databases
from tests.support.kafka import KafkaBroker, start_kafka
from tests.support.postgres import PostgresServer
from tests.support.postgres_databases import DatabaseUrls

PARTITIONS = 12


@dataclass(frozen=True, slots=True)
class Parts:
    """A running Kafka and PostgreSQL, the cores, and a key ring made for this run."""

    kafka: KafkaBroker
    postgres: PostgresServer | LocalDurablePostgres
    cores: Cores
    secret_keys: str

    @contextmanager
    def database(self) -> Iterator[DatabaseUrls]:
        """A fresh database, dropped at the end. Blocks shortly."""
        urls = postgres_databases.create_database(self.postgres.admin_url)
        try:
            yield urls
        finally:
            postgres_databases.drop_database(self.postgres.admin_url, urls)

    def environment(self, urls: DatabaseUrls, *, prefix: str, **more: object) -> dict[str, str]:
        """MEALTRAIL_* variables for processes on these servers; `more` by settings' names."""
        settings = {
            "kafka_bootstrap_servers": self.kafka.bootstrap,
            "kafka_allow_single_broker": "true",
            "database_url": urls.runtime,
            "migrate_database_url": urls.owner,
            "secret_keys": self.secret_keys,
            "topic_prefix": prefix,
            "partitions": PARTITIONS,
            "admin_port": 0,
            "log_format": "json",
            **more,
        }
        return {f"MEALTRAIL_{name.upper()}": str(value) for name, value in settings.items()}


def settings_of(environment: dict[str, str]) -> Settings:
    """The settings that a process with this environment would have."""
    return Settings.model_validate(
        {name.removeprefix("MEALTRAIL_").lower(): value for name, value in environment.items()}
    )


@contextmanager
def running_parts(cores: Cores) -> Iterator[Parts]:
    """Both servers, started for this run (or given by address) and ended with it. Raises UnavailableError."""
    with on_cores(cores.others):
        kafka = start_kafka(private=False)
        try:
            postgres = start_durable_postgres()
            try:
                key = base64.b64encode(secrets.token_bytes(32)).decode()
                yield Parts(kafka, postgres, cores, f"bench:{key}")
            finally:
                postgres.close()
        finally:
            kafka.close()


def make_prefix(figure: str) -> str:
    """A prefix for topics and groups that no other run has."""
    return f"bench-{figure}-{secrets.token_hex(4)}."
