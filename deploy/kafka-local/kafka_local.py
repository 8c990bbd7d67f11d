"""The command line of `make kafka-up` and `make kafka-down`: one local broker that outlives the command.

Settings: KAFKA_LOCAL_DATA (default var/kafka), KAFKA_LOCAL_PORT (default 9092; the next port is the controller's)
and KAFKA_LOCAL_CACHE (where the jars are kept, default .cache).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from kafka_broker import Broker
from kafka_jars import HERE, KAFKA_VERSION, KafkaLocalError, fetch_jars, find_java


def _recorded(data: Path) -> tuple[int, str] | None:
    """The process id and address of the broker that `up` left running, if it still runs."""
    try:
        pid_text, bootstrap = (data / "running").read_text().split()
        pid = int(pid_text)
    except (OSError, ValueError):
        return None
    # The number may have gone to another process since; ours has our settings on its command line.
    return (pid, bootstrap) if str(data / "server.properties") in _command_line(pid) else None


def _command_line(pid: int) -> str:
    if Path("/proc/self").exists():  # Linux, where ps may not be installed
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except FileNotFoundError:
            return ""
    shown = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout


@contextlib.contextmanager
def _one_at_a_time(data: Path) -> Iterator[None]:
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def require_free_ports(port: int) -> None:
    """Both ports of a broker are free on this machine, its own and the next one.

    Raises:
        KafkaLocalError: one is taken, or no port at all; the message names it and the setting.
    """
    for number, whose in ((port, "the broker's"), (port + 1, "the controller's, always the one after the broker's")):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a broker left in TIME_WAIT is free
            try:
                probe.bind(("127.0.0.1", number))
            except (OSError, OverflowError) as error:
                raise KafkaLocalError(
                    f"port {number} ({whose}) cannot be had: {error}. Choose another with KAFKA_LOCAL_PORT; "
                    "it and the next one must be free"
                ) from error


def up(data: Path, port: int) -> None:
    """Start a broker that outlives this process, or say that it runs already."""
    with _one_at_a_time(data):
        if running := _recorded(data):
            print(f"Kafka runs already (process {running[0]}): {running[1]}")
            return
        require_free_ports(port)
        jars = fetch_jars(print)
        # The ports stand in the settings that `format` wrote the first time.
        broker = Broker(data, find_java(), jars, port=port, controller_port=port + 1)
        with contextlib.suppress(FileNotFoundError):
            written = (data / "server.properties").read_text()
            if f"PLAINTEXT://127.0.0.1:{port}\n" not in written:
                raise KafkaLocalError(f"{data} was made for another port; use that one, or remove the folder")
        broker.start()
        assert broker.process is not None
        (data / "running").write_text(f"{broker.process.pid} {broker.bootstrap}")
        print(f"Kafka {KAFKA_VERSION} runs (process {broker.process.pid}): {broker.bootstrap}")
        print(f"data and log: {data}")


def down(data: Path, timeout: float = 30) -> None:
    """Stop the broker that `up` started; its data stays."""
    with _one_at_a_time(data):
        running = _recorded(data)
        if running is None:
            print("Kafka does not run")
            return
        os.kill(running[0], signal.SIGTERM)
        give_up = time.monotonic() + timeout
        while _recorded(data) is not None:
            if time.monotonic() > give_up:
                os.kill(running[0], signal.SIGKILL)
                break
            time.sleep(0.1)
        (data / "running").unlink()
        print("Kafka stopped; its data stays")


def main(arguments: list[str]) -> int:
    """Run one of: up, down, fetch, java. Returns the exit code."""
    data = Path(os.environ.get("KAFKA_LOCAL_DATA") or HERE.parent.parent / "var" / "kafka").resolve()
    try:
        match arguments:
            case ["up"]:
                up(data, int(os.environ.get("KAFKA_LOCAL_PORT") or 9092))
            case ["down"]:
                down(data)
            case ["fetch"]:
                print(fetch_jars(print))
            case ["java"]:
                print(find_java())
            case _:
                print("usage: kafka_local.py up|down|fetch|java", file=sys.stderr)
                return 2
    except (KafkaLocalError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
