"""Settings to event log: which one, with which options."""

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr

from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.eventlog.kafka import KafkaEventLog
from backbone.eventlog.kafka_connection import client_options
from backbone.eventlog.opening import open_event_log, replication_of
from backbone.settings import Settings
from schemas.errors import SettingsInvalid
from tests.support.logs import kafka_limits


def settings(**given: object) -> Settings:
    """Settings for Kafka, with what else they need."""
    return Settings.model_validate(
        {
            "kafka_bootstrap_servers": "broker:9092",
            "database_url": "postgresql+asyncpg://u@h/d",
            "secret_keys": "k:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            **given,
        }
    )


async def test_without_kafka_the_embedded_log_is_opened(tmp_path: Path) -> None:
    """In the data directory; nothing is written before `start`."""
    log = open_event_log(Settings(data_dir=tmp_path / "var"))
    assert isinstance(log, EmbeddedEventLog)
    assert not (tmp_path / "var").exists()
    assert await replication_of(Settings(data_dir=tmp_path)) == (1, 1)
    await log.start()
    await log.stop()
    assert (tmp_path / "var" / "log.db").exists()


async def test_with_kafka_its_log_is_opened_with_the_limits_of_the_settings() -> None:
    """Every setting that has a place in the configuration gets there."""
    log = open_event_log(settings(publish_timeout_ms=1234, publish_window=7, kafka_session_timeout_ms=9000))
    assert isinstance(log, KafkaEventLog)
    config = log._config
    assert (config.publish_timeout_ms, config.publish_window) == (1234, 7)
    assert (config.session_timeout_ms, config.rebalance_ms) == (9000, 13_500)


def test_sasl_is_passed_on_and_the_password_does_not_show() -> None:
    """Mechanism, name and password reach the client; the configuration's text keeps the password to itself."""
    config = kafka_limits(
        "b:1",
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="meal",
        sasl_password=SecretStr("very-secret"),
    )
    options = client_options(config)
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("meal", "very-secret")
    assert "ssl_context" not in options
    assert "very-secret" not in repr(config)


def test_tls_uses_the_given_files(tmp_path: Path) -> None:
    """The CA is trusted, host names are checked, the client certificate is loaded."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    config = kafka_limits(
        "b:1",
        security_protocol="SSL",
        ssl_cafile=cert_file,
        ssl_certfile=cert_file,
        ssl_keyfile=key_file,
    )
    context = client_options(config)["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1


async def test_unusable_tls_files_are_a_setting_error(tmp_path: Path) -> None:
    """The settings are named, at start, before anything is connected."""
    log = KafkaEventLog(kafka_limits("b:1", security_protocol="SSL", ssl_cafile=tmp_path / "missing.pem"))
    with pytest.raises(SettingsInvalid, match="MEALTRAIL_KAFKA_SSL_CAFILE"):
        await log.start()
    await log.stop()
