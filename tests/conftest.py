"""The real parts that tests stand on. Nothing starts before a test asks for it."""

import signal
import uuid
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
import structlog

from tests.support import kafka, postgres
from tests.support.kafka import KafkaBroker
from tests.support.postgres import PostgresServer
from tests.support.postgres_databases import DatabaseUrls
from tests.support.sources import UnavailableError, in_ci

_used: dict[str, str] = {}


def pytest_configure() -> None:
    """Heed Ctrl-C as a terminal's job does, and log tracebacks plainly.

    A script's background job (`make test &`) is born with Ctrl-C ignored, and so would be every process that a test
    starts and interrupts. And where nobody has configured structlog, as in tests, it paints each traceback with all its
    local variables, which takes seconds of CPU each.
    """
    structlog.dev.ConsoleRenderer.get_active().exception_formatter = structlog.dev.plain_traceback
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    """Say before the first test where Kafka and PostgreSQL would come from."""
    return [f"kafka: {kafka.expected_source()}", f"postgres: {postgres.expected_source()}"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say after the last test what was really used."""
    for part, source in _used.items():
        terminalreporter.write_line(f"{part} used: {source}")


def _do_without(part: str, reason: UnavailableError) -> NoReturn:
    """Skip the test that needs `part`, or fail it under CI=true; the reason is said in both cases."""
    if in_ci():
        pytest.fail(f"no {part}: {reason}", pytrace=False)
    pytest.skip(f"no {part}: {reason}")


def _kafka(*, private: bool) -> KafkaBroker:
    try:
        broker = kafka.start_kafka(private=private)
    except UnavailableError as error:
        _do_without("Apache Kafka", error)
    _used["private kafka" if private else "kafka"] = broker.source
    return broker


def _postgres(*, private: bool) -> PostgresServer:
    try:
        server = postgres.start_postgres(private=private)
    except UnavailableError as error:
        _do_without("PostgreSQL", error)
    _used["private postgres" if private else "postgres"] = server.source
    return server


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[KafkaBroker]:
    """One Kafka for the whole run. Do not stop it; name topics with `topic_prefix`."""
    broker = _kafka(private=False)
    yield broker
    broker.close()


@pytest.fixture
def private_kafka() -> Iterator[KafkaBroker]:
    """A Kafka for this test alone, which may stop, kill, freeze and start it."""
    broker = _kafka(private=True)
    yield broker
    broker.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL with an owner and a runtime role for the whole run. Do not stop it."""
    server = _postgres(private=False)
    yield server
    server.close()


@pytest.fixture
def private_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for this test alone, which may stop, kill and start it."""
    server = _postgres(private=True)
    yield server
    server.close()


@pytest.fixture
def create_database(postgres_server: PostgresServer) -> Iterator[Callable[[], DatabaseUrls]]:
    """Make fresh databases on the shared server; they are dropped after the test."""
    made: list[DatabaseUrls] = []

    def make() -> DatabaseUrls:
        made.append(postgres.create_database(postgres_server))
        return made[-1]

    yield make
    for urls in made:
        postgres.drop_database(postgres_server, urls)


@pytest.fixture
def database_urls(create_database: Callable[[], DatabaseUrls]) -> DatabaseUrls:
    """A fresh, empty database for this test, as its owner and as the runtime role see it."""
    return create_database()


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topic and group names that no other test has."""
    return f"t{uuid.uuid4().hex[:10]}."
