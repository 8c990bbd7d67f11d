"""mealtrail's commands as processes of their own, forked from one that has imported everything already.

Importing takes a command a second of CPU, and tests run hundreds of commands. Each is a process still, with its own
environment, exit code and output. Only `python -m` with its imports is left out, and the interpreter's taking itself
apart at the end: those come with every server that tests start, and in tests/integration/test_cli.py.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from tests.support.processes import guard_process

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0
_NUMBER = struct.Struct("!i")
_starting = threading.Lock()
_parent: tuple[int, socket.socket, subprocess.Popen[bytes]] | None = None
"""Whose it is (a forked test process has none), how it is asked, and itself."""


def run_command(arguments: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs one command to its end and blocks meanwhile; several threads may. Kills it after a minute: TimeoutError."""
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        tempfile.TemporaryFile() as wish,
    ):
        wish.write(json.dumps({"arguments": list(arguments), "env": dict(env)}).encode())
        wish.flush()
        socket.send_fds(_asked(), [b"x"], [theirs.fileno(), wish.fileno(), out.fileno(), err.fileno()])
        theirs.close()
        ours.settimeout(LIMIT_S)
        pid = _receive(ours)
        try:
            code = _receive(ours)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(arguments), code, out.read().decode(), err.read().decode())


def start_command(arguments: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The same by `python -m service.cli`, as people start it."""
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        cwd=ROOT,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def _receive(connection: socket.socket) -> int:
    data = connection.recv(_NUMBER.size, socket.MSG_WAITALL)
    if len(data) < _NUMBER.size:
        raise RuntimeError("the process that commands are forked from ended")
    return int(_NUMBER.unpack(data)[0])


def _asked() -> socket.socket:
    global _parent
    with _starting:
        if _parent is None or _parent[0] != os.getpid():
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                process = subprocess.Popen(
                    [sys.executable, "-m", __name__, str(theirs.fileno())],
                    cwd=ROOT,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            guard_process(process.pid)
            _parent = os.getpid(), ours, process
        return _parent[1]


# --- The process that commands are forked from --------------------------------------------------------


def _serve(asked: socket.socket) -> None:
    import service.cli.entry  # noqa: F401, PLC0415 - this is what it is for

    assert threading.active_count() == 1, "a fork would lose threads"
    gc.freeze()  # what is here stays, and is not looked through again in each fork
    while True:
        data, fds, _, _ = socket.recv_fds(asked, 1, 4)
        if not data:  # the tests have ended
            return
        if os.fork() == 0:
            asked.close()
            _attend(*fds)
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _attend(told: int, wish: int, out: int, err: int) -> NoReturn:
    """In a fork of its own for each command: forks that and waits for it."""
    pid = os.fork()
    if pid == 0:
        os.close(told)
        try:
            _become(wish, out, err)
        except SystemExit as ended:
            _end(ended)
    os.write(told, _NUMBER.pack(pid))
    _, status = os.waitpid(pid, 0)
    os.write(told, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _end(ended: SystemExit) -> NoReturn:
    """As the interpreter does, but for taking apart what was there before the fork."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1)


def _become(wish: int, out: int, err: int) -> None:
    """Runs the command in this process: always raises SystemExit."""
    import service.cli  # noqa: PLC0415 - imported already

    with os.fdopen(wish, "rb") as file:
        file.seek(0)
        wanted = json.loads(file.read())
    for fd, number in ((out, 1), (err, 2)):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(wanted["env"])
    time.tzset()
    sys.argv = [str(ROOT / "service/cli/__main__.py"), *wanted["arguments"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    service.cli.main()


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
