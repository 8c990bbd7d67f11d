"""How we connect to Apache Kafka: addresses, security, and the time limits everything else is derived from."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from backbone.eventlog.publishing import MAX_RECORD_BYTES, PUBLISH_WINDOW_BYTES
from schemas.errors import SettingsInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaLogConfig:
    """Everything the Kafka log can be told. Times are whole milliseconds. What the settings name has no default here.

    `publish_*`: see `EventLog.append`. `retire_after_ms`: a batch unacknowledged for this long makes the log take a
    fresh producer (never less than the publish limit). `stall_after_ms`: a reader unanswered for this long is built
    anew, from a fresh bootstrap. `rebalance_timeout_ms`: how long `lost` may take; half as long again as the session
    timeout when unset.
    """

    bootstrap_servers: str
    security_protocol: str
    sasl_mechanism: str
    sasl_username: str | None
    sasl_password: SecretStr | None
    ssl_cafile: Path | None
    ssl_certfile: Path | None
    ssl_keyfile: Path | None
    publish_timeout_ms: int
    publish_window: int
    session_timeout_ms: int
    shutdown_timeout_ms: int
    client_id: str = "mealtrail"
    publish_window_bytes: int = PUBLISH_WINDOW_BYTES
    max_batch_bytes: int = MAX_RECORD_BYTES
    connect_timeout_ms: int = 10_000
    request_timeout_ms: int = 5_000
    retire_after_ms: int = 10_000
    stall_after_ms: int = 15_000
    rebalance_timeout_ms: int | None = None

    @property
    def rebalance_ms(self) -> int:
        """The time a member has to hand its partitions over."""
        return self.rebalance_timeout_ms or self.session_timeout_ms * 3 // 2


def client_options(config: KafkaLogConfig, *, request_timeout_ms: int | None = None) -> dict[str, Any]:
    """Keyword arguments that every aiokafka client takes alike. Raises SettingsInvalid for unusable TLS files."""
    options: dict[str, Any] = {
        "bootstrap_servers": config.bootstrap_servers,
        "client_id": config.client_id,
        "security_protocol": config.security_protocol,
        "request_timeout_ms": request_timeout_ms or config.request_timeout_ms,
        "metadata_max_age_ms": 30_000,  # leaders and addresses change without a word to idle clients
        "retry_backoff_ms": 100,
    }
    if config.security_protocol in {"SSL", "SASL_SSL"}:
        options["ssl_context"] = _ssl_context(config)
    if config.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = config.sasl_mechanism
        options["sasl_plain_username"] = config.sasl_username
        if config.sasl_password is not None:
            options["sasl_plain_password"] = config.sasl_password.get_secret_value()
    return options


def _ssl_context(config: KafkaLogConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(config.ssl_cafile) if config.ssl_cafile else None)
        if config.ssl_certfile is not None:
            context.load_cert_chain(
                certfile=str(config.ssl_certfile), keyfile=str(config.ssl_keyfile) if config.ssl_keyfile else None
            )
    except OSError as error:  # ssl.SSLError is one
        raise SettingsInvalid(
            "MEALTRAIL_KAFKA_SSL_CAFILE, _CERTFILE and _KEYFILE must name readable PEM files that fit together: "
            f"{error}"
        ) from error
    return context
