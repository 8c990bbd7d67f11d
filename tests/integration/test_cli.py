"""The command line as people use it: real processes, a real shell, curl."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from service.cli.demo import read_env
from tests.support.deployments import ROOT, base_environment
from tests.support.processes import forget_process, guard_process
from tests.support.warm_commands import run_command, start_command

LIMIT_S = 30.0


def wait_for(predicate: Callable[[], Any], what: str, timeout: float = LIMIT_S) -> Any:
    """What the predicate gives as soon as it is true; these tests have no event loop."""
    give_up = time.monotonic() + timeout
    while not (found := predicate()):
        assert time.monotonic() < give_up, f"waited {timeout:g} s for {what}"
        time.sleep(0.05)
    return found


class CommandLine:
    """One data directory, and the programs that are run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "var"
        self.env = base_environment(
            {
                "MEALTRAIL_DATA_DIR": str(self.data_dir),
                "MEALTRAIL_PORT": "0",
                "MEALTRAIL_ADMIN_PORT": "0",
                "MEALTRAIL_PARTITIONS": "3",
                "COLUMNS": "80",
            }
        )
        self.server: subprocess.Popen[bytes] | None = None
        self.url = ""

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """One command to its end."""
        is_credential = arguments[1:2] == ("add",)  # see Deployment.cli
        return (start_command if is_credential else run_command)(arguments, {**self.env, **more})

    def json(self, *arguments: str, expect: int = 0) -> Any:
        """The one JSON document of a command."""
        done = self.run(*arguments, "--json")
        assert done.returncode == expect, done
        return json.loads(done.stdout)

    def up(self, *arguments: str, **more: str) -> str:
        """Starts the server; what it printed when it was ready."""
        out, err = self.folder / "up.out", self.folder / "up.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            self.server = self._start(stdout, stderr, "up", *arguments, **more)
        server = self.server

        def is_ready() -> bool:
            assert server.poll() is None, err.read_text()
            return '"event":"ready"' in err.read_text()

        wait_for(is_ready, "the server")
        text = out.read_text()
        self.url = re.findall(r"  http +(\S+)", text)[0]
        return text

    def _start(self, stdout: IO[bytes], stderr: IO[bytes], *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", *arguments],
            cwd=ROOT,
            env={**self.env, **more},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
        guard_process(process.pid)
        return process

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends the server; its exit code."""
        assert self.server is not None
        self.server.send_signal(how)
        code = self.server.wait(LIMIT_S)
        forget_process(self.server.pid)
        self.server = None
        return code

    def errors(self) -> str:
        """What the server wrote to standard error."""
        return (self.folder / "up.err").read_text()


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    """A command line on an empty data directory; its server is ended with the test."""
    made = CommandLine(tmp_path)
    yield made
    if made.server is not None:
        made.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def shared_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """One running demonstration for the tests that leave it running; each names its own orders and sources."""
    made = CommandLine(tmp_path_factory.mktemp("demo"))
    made.up("--demo")
    yield made
    assert made.end() == 0


@pytest.fixture
def demo(line: CommandLine) -> CommandLine:
    """The same with `up --demo` running."""
    line.up("--demo")
    return line


def test_the_printed_commands_do_what_they_say(line: CommandLine) -> None:
    """Pasted as they are: announced, delivered, an illegal move rejected, history read, chain verified."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    printed = line.up("--demo")
    script = printed[printed.index("echo '--- The demo tokens") :]
    tokens = {value for name, value in read_env(line.data_dir / "demo.env").items() if name.endswith("_TOKEN")}
    assert len(tokens) == 4
    assert not any(token in printed + line.errors() for token in tokens)

    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=ROOT, env=line.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done
    answers = [json.loads(text) for text in done.stdout.splitlines() if text.startswith("{")]
    assert [sorted(answer) for answer in answers[:7]] == [["event_id", "receipt_id"]] * 7
    statuses = [text for text in done.stdout.splitlines() if text.startswith("HTTP ")]
    assert statuses == ["HTTP 202"] * 7 + ["HTTP 200"] * 3
    receipt, order, history = answers[7:]
    assert (receipt["state"], receipt["verdict"], receipt["reason"]) == ("final", "rejected", "illegal_transition")
    assert order["status"] == "DELIVERED"
    steps = [(item["verdict"], item["reported_status"]) for item in history["items"]]
    assert steps == [
        ("applied", "NEW"),
        ("applied", "ACCEPTED_BY_RESTAURANT"),
        ("applied", "COOKING"),
        ("applied", "READY"),
        ("applied", "TAKEN_BY_COURIER"),
        ("applied", "DELIVERED"),
        ("rejected", "COOKING"),
    ]
    assert history["items"][5]["comment"] == "handed over at the door"
    assert not any(item["inferred"] for item in history["items"])
    assert "READY → TAKEN_BY_COURIER" in done.stdout
    assert "\nok: 7 rows in 3 partitions, every hash fits\n" in done.stdout


def test_a_second_server_on_the_same_directory_is_refused(shared_demo: CommandLine) -> None:
    """Exit 3, the holder's process id, and the first goes on."""
    assert shared_demo.server is not None
    done = shared_demo.run("up")
    assert done.returncode == 3
    assert f"process {shared_demo.server.pid}" in done.stderr
    assert "Traceback" not in done.stderr
    assert shared_demo.server.poll() is None


def test_a_source_added_while_the_server_runs_is_known_within_seconds(shared_demo: CommandLine, tmp_path: Path) -> None:
    """Added, sent as, rotated, disabled: without a restart."""
    added = shared_demo.json("source", "add", "kitchen", "--role", "restaurant", "--party", "demo-restaurant")
    reader = read_env(shared_demo.data_dir / "demo.env")
    announce(shared_demo, "S-1")
    secret = tmp_path / "secret"
    secret.write_text(added["secret"])
    send = ("send", "S-1", "ACCEPTED_BY_RESTAURANT", "--source", "kitchen", "--secret-file", str(secret))
    options = ("--url", shared_demo.url, "--event-id", "e1", "--wait", "10", "--read-token", reader["DEMO_READ_TOKEN"])
    sent = shared_demo.json(*send, *options)
    assert sent["event_id"] == "e1"
    assert sent["receipt"]["verdict"] == "applied"

    shared_demo.json("source", "rotate", "kitchen", "--grace", "0")
    wait_for(lambda: shared_demo.run(*send, *options).returncode == 7, "the old secret to be refused", timeout=10)
    shared_demo.json("source", "disable", "kitchen")
    reasons = {
        row["reason"] for row in wait_for(lambda: shared_demo.json("source", "refusals")["refusals"], "refusals")
    }
    assert reasons


def announce(demo: CommandLine, order_id: str) -> None:
    """The demonstration platform announces an order of the demonstration's parties; returns when it is applied."""
    env = read_env(demo.data_dir / "demo.env")
    body = {"order_id": order_id, "restaurant": "demo-restaurant", "courier": "demo-courier"}
    receipt = call(f"{demo.url}/v1/orders", env["DEMO_PLATFORM_TOKEN"], body)["receipt_id"]
    address = f"{demo.url}/v1/receipts/{receipt}"
    wait_for(lambda: call(address, env["DEMO_READ_TOKEN"])["state"] == "final", "the announcement")


def call(url: str, token: str, body: Any = None) -> Any:
    """The JSON answer to a GET, or to a POST when there is a body."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        return json.load(answer)


def test_repeats_and_rejections_by_send(shared_demo: CommandLine) -> None:
    """A repeated event is absorbed; exit 1 when the verdict waited for is a rejection."""
    announce(shared_demo, "R-1")
    token = read_env(shared_demo.data_dir / "demo.env")["DEMO_PLATFORM_TOKEN"]
    options = ("--source", "demo-platform", "--token", token, "--url", shared_demo.url, "--wait", "10")
    sent = shared_demo.json("send", "R-1", "DELIVERED", *options, "--repeat", "3", "--comment", "thrice")
    assert [answer["status"] for answer in sent["answers"]] == [202, 202, 200]  # the last one waits for the verdict
    assert sent["receipt"]["verdict"] == "applied"
    items = shared_demo.json("order", "show", "R-1")["items"]
    assert [item["to_status"] for item in items if not item["inferred"]] == ["NEW", "DELIVERED"]
    rejected = shared_demo.json("send", "R-1", "READY", *options, "--occurred-at", "2999-01-01T00:00:00Z", expect=0)
    assert rejected["receipt"]["verdict"] in {"late", "rejected"}
    assert shared_demo.json("send", "R-1", "CANCELLED", *options)["receipt"]["verdict"] == "applied"
    refused = shared_demo.json("send", "R-1", "COOKING", *options, expect=1)
    assert refused["receipt"]["reason"] == "order_closed"
    assert shared_demo.run("send", "R-1", "READY", *options, "--occurred-at", "yesterday").returncode == 7


def test_what_waits_for_an_order_is_shown(shared_demo: CommandLine) -> None:
    """Before its announcement, and while it names no party of the source; `send` says the same."""
    token = read_env(shared_demo.data_dir / "demo.env")["DEMO_COURIER_TOKEN"]
    send = ("send", "H-1", "TAKEN_BY_COURIER", "--source", "demo-courier", "--url", shared_demo.url)
    sent = shared_demo.run(*send, "--token", token, "--wait", "1")
    assert sent.returncode == 0
    assert "held: H-1 is not announced, or names no party of demo-courier" in sent.stdout
    shown = shared_demo.json("order", "show", "H-1", expect=1)
    assert (shown["status"], shown["items"]) == (None, [])
    [held] = shown["held"]
    assert (held["source"], held["reported_status"]) == ("demo-courier", "TAKEN_BY_COURIER")
    assert held["held_until"] > held["received_at"]
    assert "not announced yet; 1 event waits for it" in shared_demo.run("order", "show", "H-1").stdout

    platform = read_env(shared_demo.data_dir / "demo.env")["DEMO_PLATFORM_TOKEN"]
    call(f"{shared_demo.url}/v1/orders", platform, {"order_id": "H-1", "restaurant": "demo-restaurant"})
    wait_for(lambda: shared_demo.run("order", "show", "H-1").returncode == 0, "the announcement")
    assert len(shared_demo.json("order", "show", "H-1")["held"]) == 1
    refused = shared_demo.run(*send, "--token", "not-the-token-of-it")
    assert refused.returncode == 7
    assert "mealtrail source refusals demo-courier" in refused.stdout


def test_an_operator_moves_an_order(shared_demo: CommandLine) -> None:
    """Through the log, with the reason on record, while the server runs in another process."""
    announce(shared_demo, "M-1")
    moved = shared_demo.json("order", "move", "M-1", "READY", "--reason", "the kitchen called")
    assert moved["receipt"]["verdict"] == "applied"
    assert moved["receipt"]["to_status"] == "READY"
    assert (
        shared_demo.json("order", "move", "M-1", "NEW", "--reason", "it was another")["receipt"]["to_status"] == "NEW"
    )
    again = shared_demo.run("order", "move", "M-1", "NEW", "--reason", "twice")
    assert (again.returncode, again.stdout) == (0, "M-1  repeated  NEW\n")
    items = shared_demo.json("order", "show", "M-1")["items"]
    assert [(item["role"], item["to_status"]) for item in items] == [
        ("platform", "NEW"),
        ("operator", "READY"),
        ("operator", "NEW"),
        ("operator", "NEW"),
    ]
    with sqlite3.connect(shared_demo.data_dir / "store.db") as store:
        acts = store.execute("SELECT actor, subject, detail FROM admin_acts WHERE act = 'order.move'").fetchall()
    store.close()
    assert [json.loads(detail)["why"] for _, _, detail in acts] == ["the kitchen called", "it was another", "twice"]
    assert {subject for _, subject, _ in acts} == {"M-1"}


def test_a_move_without_a_consumer_says_so_and_is_applied_later(demo: CommandLine) -> None:
    """Exit 4, and the record waits in the log."""
    announce(demo, "A-1")
    assert demo.end() == 0
    done = demo.run("order", "move", "A-1", "READY", "--reason", "x", "--wait", "200ms")
    assert done.returncode == 4
    assert "no need to repeat" in done.stderr
    demo.up()
    wait_for(lambda: demo.json("order", "show", "A-1")["status"] == "READY", "the move")


def test_audit_verify_finds_what_was_changed(demo: CommandLine) -> None:
    """Exit 0 before, 1 after, and the row is named."""
    announce(demo, "A-1")
    demo.json("order", "move", "A-1", "DELIVERED", "--reason", "x")
    verified = demo.json("audit", "verify")
    [head] = verified.pop("heads").values()
    assert (head["seq"], len(head["hash"])) == (2, 64)
    promised = {"rows": 2, "partitions": 3, "ok": True, "first_bad": None}
    assert verified | promised == verified
    assert demo.end() == 0
    with sqlite3.connect(demo.data_dir / "store.db") as store:
        for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            store.execute(f'DROP TRIGGER "{name}"')
        store.execute("UPDATE trail SET to_status = 'CANCELLED' WHERE seq = 2")
    store.close()
    report = demo.json("audit", "verify", expect=1)
    assert report["ok"] is False
    assert report["first_bad"]["seq"] == 2
    told = demo.run("audit", "verify")
    assert told.returncode == 1
    assert "NOT ok: partition" in told.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_server_may_be_stopped_in_any_way_and_started_again(demo: CommandLine, how: signal.Signals) -> None:
    """In order it exits 0; killed it leaves no stale lock; tokens stay the same."""
    before = read_env(demo.data_dir / "demo.env")
    assert demo.end(how) == (-signal.SIGKILL if how == signal.SIGKILL else 0)
    printed = demo.up("--demo")
    assert "curl" in printed
    assert read_env(demo.data_dir / "demo.env") == before
    assert demo.run("order", "show", "none").returncode == 5


def test_a_reader_that_waits_is_answered_before_the_end(demo: CommandLine) -> None:
    """SIGTERM during a long poll: it gets its 200, new connections are refused, the exit is 0 and in order."""
    token = read_env(demo.data_dir / "demo.env")["DEMO_READ_TOKEN"]
    host, port = demo.url.removeprefix("http://").split(":")
    head = f"GET /v1/changes?wait=25 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    assert demo.server is not None
    with socket.create_connection((host, int(port)), timeout=LIMIT_S) as connection:
        connection.sendall(head.encode())
        wait_until_seen(host, int(port))
        begun = time.monotonic()
        demo.server.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert time.monotonic() - begun < 10
    assert demo.end() == 0
    assert '"in_order":true' in demo.errors()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=1)


def wait_until_seen(host: str, port: int) -> None:
    """Another request's answer: the server's loop has gone round, so it has seen what was sent before."""
    with socket.create_connection((host, port), timeout=LIMIT_S) as other:
        other.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"200" in other.recv(100)


def test_a_busy_port_is_a_clear_error(line: CommandLine) -> None:
    """Exit 3, the setting's name, no traceback."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        for setting in ("MEALTRAIL_PORT", "MEALTRAIL_ADMIN_PORT"):
            done = line.run("up", **{setting: str(busy.getsockname()[1])})
            assert done.returncode == 3
            assert setting in done.stderr
            assert "Traceback" not in done.stderr
            assert not line.data_dir.exists()


def test_the_data_directory_and_its_files_are_private(shared_demo: CommandLine) -> None:
    """Nobody else reads keys, tokens or orders."""
    assert shared_demo.data_dir.stat().st_mode & 0o777 == 0o700
    assert {
        path.name: path.stat().st_mode & 0o077 for path in shared_demo.data_dir.iterdir() if path.stat().st_mode & 0o077
    } == {}


def test_ctrl_c_ends_a_waiting_command_quietly(demo: CommandLine) -> None:
    """130, no traceback."""
    announce(demo, "A-1")
    assert demo.end() == 0
    with subprocess.Popen(
        [sys.executable, "-m", "service.cli", "order", "move", "A-1", "READY", "--reason", "x", "--wait", "60"],
        cwd=ROOT,
        env=demo.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        guard_process(process.pid)
        log = f"file:{demo.data_dir / 'log.db'}?mode=ro"

        def appended() -> bool:
            connection = sqlite3.connect(log, uri=True)
            try:
                query = "SELECT count(*) FROM records WHERE CAST(value AS TEXT) LIKE '%operator%'"
                return bool(connection.execute(query).fetchone()[0])
            finally:
                connection.close()

        try:
            wait_for(appended, "the move to be in the log")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
            forget_process(process.pid)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err


def test_a_closed_pipe_is_no_fault(demo: CommandLine) -> None:
    """`mealtrail … | head` ends without a traceback."""
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m service.cli schemas export {demo.folder / 's'} | true"],
        cwd=ROOT,
        env=os.environ | demo.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
