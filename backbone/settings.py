"""Settings from `MEALTRAIL_*` environment variables, read once by each process's composition root.

All problems are reported at once, each with the name of its variable, and secrets never appear in text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from schemas.dead_letters import DEFAULT_ATTEMPTS, DEFAULT_RUN, DEFAULT_SHARE
from schemas.durations import parse_duration
from schemas.errors import SettingsInvalid
from schemas.topics import DEFAULT_PARTITIONS, TopicNames

Port = Annotated[int, Field(ge=0, le=65535)]
_LONGEST_RETENTION_DAYS = 36_525


def _parse_retention(value: object) -> object:
    return parse_duration(value, most_days=_LONGEST_RETENTION_DAYS) if isinstance(value, str) else value


Retention = Annotated[int, BeforeValidator(_parse_retention), Field(ge=1000)]
"""A length of time in milliseconds, written with a unit; at least a second."""
PathPrefix = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$", max_length=200)]


class Settings(BaseSettings):
    """Everything a process can be told. With neither Kafka nor a database named, the embedded default runs."""

    model_config = SettingsConfigDict(env_prefix="MEALTRAIL_", extra="ignore", frozen=True, hide_input_in_errors=True)

    data_dir: Path = Field(Path("./var"), description="Where the embedded log, store and keys lie.")
    host: str = Field("127.0.0.1", description="Address of the HTTP face.")
    port: Port = Field(8080, description="Port of the HTTP face; 0 takes any and prints it.")
    admin_host: str = Field("127.0.0.1", description="Address of metrics and health.")
    admin_port: Port = Field(8081, description="Port of metrics and health; 0 takes any and prints it.")
    public_url: str | None = Field(None, description="How callers reach us; Location headers start with it.")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Addresses or networks of proxies whose X-Forwarded-For is believed, comma-separated."
    )

    order_status_prefix: PathPrefix = Field("", description="Path before the order-status API, such as /eats.")
    vendor_prefix: PathPrefix = Field("", description="Path before the vendor API.")
    storeharmony_prefix: PathPrefix = Field("", description="Path before the StoreHarmony API.")
    verdict_wait_ms: Annotated[int, Field(ge=0, le=30_000)] = Field(
        2000, description="How long a facade's call waits for the verdict before it is answered 202."
    )

    kafka_bootstrap_servers: str | None = Field(None, description="host:port[,host:port…] of Apache Kafka.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How the connection to Kafka is encrypted and logged in to."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="How we log in, with a SASL protocol."
    )
    kafka_sasl_username: str | None = Field(None, description="Needed with a SASL protocol.")
    kafka_sasl_password: SecretStr | None = Field(None, description="Needed with a SASL protocol.")
    kafka_ssl_cafile: Path | None = Field(None, description="CA bundle; the system's when unset.")
    kafka_ssl_certfile: Path | None = Field(None, description="PEM of our own certificate, where brokers ask for one.")
    kafka_ssl_keyfile: Path | None = Field(None, description="PEM of its key, when it is not in the same file.")
    kafka_allow_single_broker: bool = Field(
        default=False, description="Accept replication below 3 and min.insync.replicas below 2."
    )
    kafka_session_timeout_ms: Annotated[int, Field(ge=1000, le=300_000)] = Field(
        10_000, description="A consumer silent for this long loses its partitions."
    )
    topic_prefix: str = Field("", pattern=r"^[a-zA-Z0-9._-]{0,100}$", description="Before every topic's name.")
    consumer_group: str = Field(
        "mealtrail", min_length=1, max_length=200, description="Name of the workers' group, behind the topic prefix."
    )
    partitions: Annotated[int, Field(ge=1, le=1000)] = Field(
        DEFAULT_PARTITIONS, description="Partitions of every topic, fixed when the topics are made."
    )
    publish_timeout_ms: Annotated[int, Field(ge=100, le=60_000)] = Field(
        3000, description="How long a webhook waits for the log before it is answered 503."
    )
    publish_window: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        4096, description="Records that may await the log's acknowledgement; beyond it 503 at once."
    )

    database_url: SecretStr | None = Field(None, description="postgresql+asyncpg://… of the runtime role.")
    migrate_database_url: SecretStr | None = Field(
        None, description="The same of the owner role, for `mealtrail migrate`; the runtime's when unset."
    )
    database_pool_size: Annotated[int, Field(ge=2, le=200)] = Field(
        10, description="Most connections of one process to PostgreSQL."
    )
    store_timeout_ms: Annotated[int, Field(ge=200, le=60_000)] = Field(
        3000,
        description="PostgreSQL statement, lock and idle-in-transaction limit of consumers; below the session timeout.",
    )

    secret_keys: SecretStr | None = Field(
        None, description="id:base64 of 32 bytes, comma-separated; the first encrypts. Embedded: made by itself."
    )
    batch_size: Annotated[int, Field(ge=1, le=10_000)] = Field(1000, description="Most records in one transaction.")
    dead_letter_attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        DEFAULT_ATTEMPTS, description="How often the decision on an event may fail before it is set aside."
    )
    dead_letter_run: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        DEFAULT_RUN, description="So many records in a row with events set aside; at the next one the partition stops."
    )
    dead_letter_share: Annotated[float, Field(gt=0, le=1)] = Field(
        DEFAULT_SHARE,
        description="Share of a partition's last 1,000 records with events set aside, above which it stops; 20 may be.",
    )
    retention_payloads: Retention | None = Field(
        None, description="How long request bodies and their salts are kept, in log time, such as 90d; unset: for good."
    )
    retention_personal: Retention | None = Field(
        None, description="The same of orders' details, external ids, comments and reasons; unset: for good."
    )
    embedded_log_retention: Retention | None = Field(
        None, description="How long the embedded log keeps what is applied; unset: 14 days, as topics do."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="The least that is logged.")
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: console on a terminal.")
    shutdown_timeout_ms: Annotated[int, Field(ge=0, le=300_000)] = Field(
        10_000, description="How long a stop may take before what is left is cut off."
    )

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, object]) -> dict[str, object]:
        proxies = values.get("trusted_proxies")
        if isinstance(proxies, str):
            values = {**values, "trusted_proxies": tuple(p.strip() for p in proxies.split(",") if p.strip())}
        return {name: value for name, value in values.items() if value != ""}

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        problems = []
        if (self.kafka_bootstrap_servers is None) != (self.database_url is None):
            problems.append(
                "MEALTRAIL_KAFKA_BOOTSTRAP_SERVERS and MEALTRAIL_DATABASE_URL go together: set both, "
                "or neither for the embedded default"
            )
        for name, url in (("DATABASE_URL", self.database_url), ("MIGRATE_DATABASE_URL", self.migrate_database_url)):
            if url is not None and not url.get_secret_value().startswith("postgresql+asyncpg://"):
                problems.append(f"MEALTRAIL_{name} must start with postgresql+asyncpg://")
        if self.database_url is not None and self.secret_keys is None:
            problems.append("MEALTRAIL_SECRET_KEYS is needed with MEALTRAIL_DATABASE_URL: id:base64 of 32 random bytes")
        if self.store_timeout_ms >= self.kafka_session_timeout_ms:
            problems.append("MEALTRAIL_STORE_TIMEOUT_MS must be below MEALTRAIL_KAFKA_SESSION_TIMEOUT_MS")
        if self.kafka_security_protocol.startswith("SASL") and (
            self.kafka_sasl_username is None or self.kafka_sasl_password is None
        ):
            problems.append("MEALTRAIL_KAFKA_SASL_USERNAME and MEALTRAIL_KAFKA_SASL_PASSWORD are needed with SASL")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def embedded(self) -> bool:
        """Whether the log and the store are SQLite files in the data directory."""
        return self.kafka_bootstrap_servers is None

    @property
    def topics(self) -> TopicNames:
        """The names of the log's topics."""
        return TopicNames.with_prefix(self.topic_prefix)


def load_settings() -> Settings:
    """Settings of this process's environment. Raises SettingsInvalid, naming every wrong variable at once."""
    try:
        return Settings()
    except ValidationError as error:
        problems = _problems(error)
        # How settings go together is only looked at once each is well by itself: so again, with the wrong ones unset.
        wrong = {str(problem["loc"][0]) for problem in error.errors() if problem["loc"]} & set(Settings.model_fields)
        if wrong:
            try:
                Settings(**{name: Settings.model_fields[name].default for name in wrong})
            except ValidationError as others:
                variables = [f"MEALTRAIL_{name.upper()}" for name in wrong]
                problems += [line for line in _problems(others) if not any(name in line for name in variables)]
        raise SettingsInvalid("settings are wrong:\n  " + "\n  ".join(problems)) from error


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        name = "_".join(str(part) for part in problem["loc"])
        texts = problem["msg"].removeprefix("Value error, ").splitlines()
        lines += [f"MEALTRAIL_{name.upper()}: {text}" if name else text for text in texts]
    return lines
