"""One real Apache Kafka broker on loopback, without Docker: for development and for the tests.

`Broker` is one KRaft process, broker and controller at once, with a data folder of its own: the storage is
formatted once, then it starts, stops, is killed and starts again on the same port with the same data.

The session timeout is short (1.5 s instead of 9 s): after a kill the restarted broker must wait until its former
self has timed out, and nobody wants to wait for that. Topics are never made by accident.
"""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kafka_jars import KafkaLocalError

LOG4J = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>
  <Loggers><Root level="INFO"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""


def free_port() -> int:
    """Return a loopback port that nothing listens on.

    Below the range from which the system takes ports for outgoing connections: a broker that is down keeps its
    port, as nothing else takes it by chance.
    """
    for _ in range(200):
        port = random.randint(15_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise KafkaLocalError("found no free port between 15000 and 30000")


@dataclass(frozen=True)
class Entrance:
    """A listener that sends its clients to a proxy's port instead of its own."""

    advertised: int
    port: int = field(default_factory=free_port)


@dataclass
class Broker:
    """One broker process and its data folder. Not thread-safe; every method blocks until what it names is done."""

    data: Path
    java: Path
    jars: Path
    port: int = field(default_factory=free_port)
    controller_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    entrances: dict[str, Entrance] = field(default_factory=dict)
    """Further listeners, for clients that come through a proxy."""

    @property
    def bootstrap(self) -> str:
        """The address for clients, host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the broker printed, all starts in one file."""
        return self.data / "broker.log"

    def _java(self, *arguments: str) -> list[str]:
        return [str(self.java), "-cp", f"{self.jars}/*", *arguments]

    def _properties(self) -> str:
        local = "127.0.0.1"
        listeners = [f"PLAINTEXT://{local}:{self.port}", f"CONTROLLER://{local}:{self.controller_port}"]
        advertised, protocols = listeners[:1], ["PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT"]
        for name, entrance in self.entrances.items():
            listeners.append(f"{name.upper()}://{local}:{entrance.port}")
            advertised.append(f"{name.upper()}://{local}:{entrance.advertised}")
            protocols.append(f"{name.upper()}:PLAINTEXT")
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": f"{local}:{self.controller_port}",
            "listeners": ",".join(listeners),
            "advertised.listeners": ",".join(advertised),
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(protocols),
            "log.dirs": str(self.data / "log"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "broker.session.timeout.ms": "1500",
            "broker.heartbeat.interval.ms": "300",
            "log.cleaner.dedupe.buffer.size": "1048577",
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())

    def format(self) -> None:
        """Write the settings and format the storage. A folder that is formatted already is left as it is."""
        self.data.mkdir(parents=True, exist_ok=True)
        settings = self.data / "server.properties"
        if settings.exists():
            return
        (self.data / "log4j2.xml").write_text(LOG4J)
        unfinished = self.data / "server.properties.new"
        unfinished.write_text(self._properties())
        quiet = f"-Dlog4j2.configurationFile={self.data / 'log4j2.xml'}"
        tool = self._java("-Xmx128m", "-XX:TieredStopAtLevel=1", quiet, "kafka.tools.StorageTool")
        identity = subprocess.run([*tool, "random-uuid"], capture_output=True, text=True, timeout=60, check=True)
        cluster = identity.stdout.split()[-1]
        command = [*tool, "format", "--standalone", "-t", cluster, "-c", str(unfinished)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise KafkaLocalError(f"formatting Kafka's storage failed:\n{done.stdout}{done.stderr}")
        unfinished.rename(settings)

    def start(self, timeout: float = 60, on_launch: Callable[[int], object] = lambda _: None) -> None:
        """Start the process and return when it takes requests (2 to 4 s). May be called again after stop or kill.

        `on_launch` is told the process id at once, before the broker is ready.

        Raises:
            KafkaLocalError: it ended or was not ready within `timeout` seconds; the end of its log is in the message.
        """
        if self.process is not None and self.process.poll() is None:
            raise KafkaLocalError("the broker is running already")
        self.format()
        seen = self.log.stat().st_size if self.log.exists() else 0
        options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        options.append(f"-Dlog4j2.configurationFile={self.data / 'log4j2.xml'}")
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._java(*options, "kafka.Kafka", str(self.data / "server.properties")),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C in a terminal is for the tests, which then stop their broker
            )
        on_launch(self.process.pid)
        give_up = time.monotonic() + timeout
        while not self._has_started(seen):
            ended = self.process.poll() is not None
            if ended or time.monotonic() > give_up:
                self.kill()
                why = "ended at once" if ended else f"was not ready within {timeout:.0f} s"
                raise KafkaLocalError(f"Kafka {why}; the end of its log:\n{self._tail()}")
            time.sleep(0.05)

    def _has_started(self, seen: int) -> bool:
        with self.log.open("rb") as printed:
            printed.seek(seen)
            return b"Kafka Server started" in printed.read()

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])

    def stop(self, timeout: float = 30) -> None:
        """Shut down in order; killed if that takes longer than `timeout` seconds. May be repeated."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End at once, as a power cut would. May be repeated."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def freeze(self) -> None:
        """Stop it in its tracks: connections stay open and nothing is answered until `thaw`."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen broker go on."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None or self.process.poll() is not None:
            raise KafkaLocalError("the broker is not running")
        return self.process
