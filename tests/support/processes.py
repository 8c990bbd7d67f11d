"""No server outlives the tests, however they end.

Fixtures stop their servers, but a test run can also be killed. So each test process has a *guard*: a small child
that is told which server processes and folders belong to us and otherwise only waits for its standard input to end.
The kernel closes that pipe when we end, in whatever way, and then the guard ends the servers and removes the
folders. (The usual parent-death signal is tied to the thread that started the server, and would end a server that
was started from a worker thread while the tests still run.)
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_GUARD = """
import os, shutil, signal, sys
processes, folders = {}, []
for line in sys.stdin:
    word, value = line.rstrip("\\n").split(" ", 1)
    if word == "end":
        pid, number = value.split()
        processes[int(pid)] = int(number)
    elif word == "forget":
        processes.pop(int(value), None)
    elif word == "remove":
        folders.append(value)
for pid, number in processes.items():
    try:
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, number)
    except OSError:
        pass
for folder in folders:
    shutil.rmtree(folder, ignore_errors=True)
"""

_guard: subprocess.Popen[str] | None = None
_guard_owner = 0


def _tell(line: str) -> None:
    global _guard, _guard_owner
    if _guard is None or _guard_owner != os.getpid():
        _guard = subprocess.Popen(
            [sys.executable, "-S", "-c", _GUARD], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        _guard_owner = os.getpid()
    assert _guard.stdin is not None
    _guard.stdin.write(line + "\n")
    _guard.stdin.flush()


def guard_process(pid: int, ending: signal.Signals = signal.SIGKILL) -> None:
    """See to it that process `pid` gets the signal `ending` if we end before `forget_process`."""
    _tell(f"end {pid} {int(ending)}")


def forget_process(pid: int) -> None:
    """The process has ended and was waited for; its number may go to someone else."""
    _tell(f"forget {pid}")


def guard_folder(folder: Path) -> None:
    """See to it that `folder` is removed when we end."""
    _tell(f"remove {folder}")


def remove_folder(folder: Path) -> None:
    """Remove a folder tree now; a server's last files may vanish while we look at them."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
