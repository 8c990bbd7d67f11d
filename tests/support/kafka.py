"""A real Apache Kafka for the tests: by address, in Docker, or from local jars, whichever is found first.

`shared_kafka` may be given by address (MEALTRAIL_TEST_KAFKA=host:port) and is used by everyone; tests that kill or
freeze their broker take `private_kafka`, which is always started for them alone.
All calls block (use asyncio.to_thread where a loop must go on meanwhile).
"""

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from kafka_broker import Broker, Entrance, free_port
from kafka_jars import KAFKA_VERSION, KafkaLocalError, fetch_jars, find_java, jars_are_obtainable
from tests.support.processes import forget_process, guard_folder, guard_process, remove_folder
from tests.support.sources import UnavailableError, docker_problem

ADDRESS_VARIABLE = "MEALTRAIL_TEST_KAFKA"
IMAGE = f"apache/kafka:{KAFKA_VERSION}"
NO_ENTRANCES: Mapping[str, int] = MappingProxyType({})


class KafkaBroker(Protocol):
    """One broker. After `stop` or `kill`, `start` brings it back on the same port with the same data."""

    source: str

    @property
    def bootstrap(self) -> str:
        """The address for clients, host:port."""

    def entrance(self, name: str) -> tuple[str, int]:
        """Where a proxy finds the listener of that name; its clients are sent to the proxy's port."""

    def start(self) -> None:
        """Return when it takes requests; 2 to 4 s, also after a kill."""

    def stop(self) -> None:
        """Shut down in order. May be repeated."""

    def kill(self) -> None:
        """SIGKILL. May be repeated."""

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""

    def thaw(self) -> None:
        """SIGCONT."""

    def close(self) -> None:
        """End it for good and remove what it kept. May be repeated."""


class LocalKafka:
    """A broker process from local jars, in a temporary folder. `entrances` are proxies' ports by name."""

    def __init__(self, entrances: Mapping[str, int] = NO_ENTRANCES) -> None:
        try:
            java, jars = find_java(), fetch_jars()
        except KafkaLocalError as error:
            raise UnavailableError(str(error)) from error
        self.source = f"local jars of Apache Kafka {KAFKA_VERSION}, {java}"
        self._folder = Path(tempfile.mkdtemp(prefix="mealtrail-kafka-"))
        guard_folder(self._folder)
        doors = {name: Entrance(port) for name, port in entrances.items()}
        self._broker = Broker(self._folder, java, jars, entrances=doors)

    @property
    def bootstrap(self) -> str:
        """The address for clients, host:port."""
        return self._broker.bootstrap

    def entrance(self, name: str) -> tuple[str, int]:
        """The listener that sends its clients to a proxy."""
        return "127.0.0.1", self._broker.entrances[name].port

    def start(self) -> None:
        """Return when it takes requests."""
        self._broker.start(on_launch=guard_process)

    def stop(self) -> None:
        """Shut down in order."""
        self._broker.stop()
        self._forget()

    def kill(self) -> None:
        """SIGKILL."""
        self._broker.kill()
        self._forget()

    def _forget(self) -> None:
        if self._broker.process is not None:
            forget_process(self._broker.process.pid)

    def freeze(self) -> None:
        """SIGSTOP."""
        self._broker.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        self._broker.thaw()

    def close(self) -> None:
        """End it (its data is thrown away, so there is no need to ask politely) and remove its folder."""
        self.kill()
        remove_folder(self._folder)


class DockerKafka:
    """A broker in a container whose ports on this machine are fixed, so that clients find it again."""

    def __init__(self, entrances: Mapping[str, int] = NO_ENTRANCES) -> None:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415 (slow to import)

        self.source = f"Docker, {IMAGE}"
        port = free_port()
        container = DockerContainer(IMAGE).with_bind_ports(9092, port)
        self._host = container.get_container_host_ip()
        self.bootstrap = f"{self._host}:{port}"
        self._entrances: dict[str, int] = {}
        listeners, advertised = ["PLAINTEXT://:9092", "CONTROLLER://:9093"], [f"PLAINTEXT://{self.bootstrap}"]
        protocols = ["CONTROLLER:PLAINTEXT", "PLAINTEXT:PLAINTEXT"]
        for inside, (name, proxied) in enumerate(entrances.items(), 9094):
            self._entrances[name] = free_port()
            container.with_bind_ports(inside, self._entrances[name])
            listeners.append(f"{name.upper()}://:{inside}")
            advertised.append(f"{name.upper()}://127.0.0.1:{proxied}")
            protocols.append(f"{name.upper()}:PLAINTEXT")
        settings = {
            "PROCESS_ROLES": "broker,controller",
            "NODE_ID": "1",
            "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "LISTENERS": ",".join(listeners),
            "ADVERTISED_LISTENERS": ",".join(advertised),
            "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "LISTENER_SECURITY_PROTOCOL_MAP": ",".join(protocols),
            "AUTO_CREATE_TOPICS_ENABLE": "false",
            "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "OFFSETS_TOPIC_NUM_PARTITIONS": "1",
            "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
            "SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
            "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "BROKER_SESSION_TIMEOUT_MS": "1500",
            "BROKER_HEARTBEAT_INTERVAL_MS": "300",
        }
        for name, value in settings.items():
            container.with_env(f"KAFKA_{name}", value)
        self._container = container
        self._made = False

    def entrance(self, name: str) -> tuple[str, int]:
        """The listener that sends its clients to a proxy."""
        return self._host, self._entrances[name]

    def _docker(self) -> Any:
        return self._container.get_wrapped_container()

    def _starts(self) -> int:
        out, err = self._container.get_logs()
        return (out + err).count(b"Kafka Server started")

    def start(self) -> None:
        """Return when it takes requests."""
        before = self._starts() if self._made else 0
        if self._made:
            self._docker().start()
        else:
            self._container.start()
            self._made = True
        give_up = time.monotonic() + 90
        while self._starts() == before:
            if time.monotonic() > give_up:
                raise UnavailableError(f"{IMAGE} was not ready within 90 s")
            time.sleep(0.1)

    def stop(self) -> None:
        """Shut down in order."""
        self._docker().stop(timeout=30)

    def kill(self) -> None:
        """SIGKILL."""
        container = self._docker()
        container.reload()
        if container.status in {"running", "paused"}:
            container.kill()
            container.wait(timeout=30)

    def freeze(self) -> None:
        """SIGSTOP, through the container's freezer."""
        self._docker().pause()

    def thaw(self) -> None:
        """SIGCONT, through the container's freezer."""
        self._docker().unpause()

    def close(self) -> None:
        """Remove the container and its data."""
        if self._made:
            self._container.stop()
            self._made = False


class GivenKafka:
    """A broker that someone else runs; it cannot be stopped from here."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.source = f"{ADDRESS_VARIABLE}={bootstrap}"

    def start(self) -> None:
        """Nothing to do: it runs."""

    def close(self) -> None:
        """Nothing to do: it is not ours."""

    def entrance(self, name: str) -> tuple[str, int]:
        """It has none."""
        raise NotImplementedError(f"this broker was given by address and has no entrance {name}")

    def _refuse(self) -> None:
        raise NotImplementedError("this broker was given by address; take the private_kafka fixture")

    stop = kill = freeze = thaw = _refuse


def expected_source() -> str:
    """Say, without starting anything, which source is going to be tried first, or why there is none."""
    if address := os.environ.get(ADDRESS_VARIABLE):
        return f"{ADDRESS_VARIABLE}={address}"
    if docker_problem() is None:
        return f"Docker, {IMAGE}"
    try:
        java = find_java()
    except KafkaLocalError as error:
        return f"none: {error}"
    missing = jars_are_obtainable()
    return f"none: {missing}" if missing else f"local jars of Apache Kafka {KAFKA_VERSION}, {java}"


def _start_in_docker(entrances: Mapping[str, int]) -> KafkaBroker:
    from docker.errors import DockerException  # noqa: PLC0415 (slow to import)

    in_docker: DockerKafka | None = None
    try:
        in_docker = DockerKafka(entrances)
        in_docker.start()
    except (DockerException, UnavailableError, OSError) as error:
        if in_docker is not None:
            in_docker.close()
        raise UnavailableError(f"Docker: {error}") from error
    return in_docker


def start_kafka(*, private: bool, entrances: Mapping[str, int] = NO_ENTRANCES) -> KafkaBroker:
    """Start a broker from the first source that works; a private one never comes by address.

    `entrances` are for private brokers: further listeners by name, each with the port of the proxy before it.

    Raises:
        UnavailableError: no source works; the message has every reason.
    """
    address = os.environ.get(ADDRESS_VARIABLE)
    if address and not private:
        return GivenKafka(address)
    reasons = [f"{ADDRESS_VARIABLE} is not set"] if not address else [f"{ADDRESS_VARIABLE} is for sharing only"]
    if problem := docker_problem():
        reasons.append(problem)
    else:
        try:
            return _start_in_docker(entrances)
        except UnavailableError as error:
            reasons.append(str(error))
    try:
        local = LocalKafka(entrances)
    except UnavailableError as error:
        reasons.append(str(error))
        raise UnavailableError("; ".join(reasons)) from error
    try:
        local.start()
    except KafkaLocalError as error:
        local.close()
        reasons.append(str(error))
        raise UnavailableError("; ".join(reasons)) from error
    return local
