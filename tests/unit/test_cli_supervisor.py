"""The supervisor of several workers, with small programs instead of servers."""

import asyncio
import os
import socket
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import AddressInUse
from service.cli.exits import ExitCode
from service.cli.supervisor import Supervisor, reserve_port
from tests.support.waiting import wait_until

_PROGRAM = """
    import os, pathlib, signal, sys
    folder = pathlib.Path(sys.argv[1])
    def note(what):
        (folder / f"{os.environ['WHO']}-{os.getpid()}-{what}").touch()
    def stop(*_):
        note("stopped")
        sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    note("started")
    sys.stdin.buffer.read()
    note("orphaned")
"""


@asynccontextmanager
async def supervising(
    folder: Path, program: str, *, stop_limit_s: float = 5.0
) -> AsyncIterator[asyncio.Task[ExitCode]]:
    """Two workers of the program, stopped at the end."""
    stopping = asyncio.Event()
    command = (sys.executable, "-c", textwrap.dedent(program), str(folder))
    supervisor = Supervisor(command, [{"WHO": "a"}, {"WHO": "b"}], stop_limit_s=stop_limit_s)
    task = asyncio.create_task(supervisor.run(stopping))
    try:
        yield task
    finally:
        stopping.set()
        await asyncio.wait_for(task, 20)


def pids(folder: Path, who: str, what: str) -> list[int]:
    """Who has noted that."""
    return [int(path.name.split("-")[1]) for path in folder.glob(f"{who}-*-{what}")]


async def test_workers_start_and_stop_together(tmp_path: Path) -> None:
    """SIGTERM is passed on, and waited for."""
    async with supervising(tmp_path, _PROGRAM) as task:
        await wait_until(lambda: pids(tmp_path, "a", "started") and pids(tmp_path, "b", "started"))
    assert task.result() is ExitCode.OK
    assert len(pids(tmp_path, "*", "stopped")) == 2


async def test_a_dead_worker_is_started_again_and_the_other_left_alone(tmp_path: Path) -> None:
    """Killed, not stopped."""
    async with supervising(tmp_path, _PROGRAM):
        await wait_until(lambda: pids(tmp_path, "a", "started") and pids(tmp_path, "b", "started"))
        os.kill(pids(tmp_path, "a", "started")[0], 9)
        await wait_until(lambda: len(pids(tmp_path, "a", "started")) == 2)
        assert len(pids(tmp_path, "b", "started")) == 1


async def test_a_worker_that_dies_young_is_started_ever_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0, then the first back-off, then twice as much, up to the longest."""
    pauses: list[float | None] = []
    real_wait = asyncio.wait

    async def spy(tasks: Any, *, timeout: float | None = None, return_when: str = "ALL_COMPLETED") -> Any:
        if timeout is not None and timeout < 5:
            pauses.append(timeout)
            timeout = min(timeout, 0.01)
        return await real_wait(tasks, timeout=timeout, return_when=return_when)

    monkeypatch.setattr("service.cli.supervisor.asyncio.wait", spy)
    monkeypatch.setattr("service.cli.supervisor.LONGEST_BACKOFF_S", 1.5)
    async with supervising(tmp_path, "import sys; sys.exit(9)"):
        await wait_until(lambda: len(pauses) >= 10, timeout=20)
    assert sorted({pause for pause in pauses if pause is not None}) == [0.0, 0.5, 1.0, 1.5]


async def test_a_configuration_error_ends_the_whole(tmp_path: Path) -> None:
    """Starting it again would say the same."""
    async with supervising(tmp_path, "import sys; sys.exit(3)") as task:
        assert await asyncio.wait_for(asyncio.shield(task), 20) is ExitCode.CONFIGURATION


async def test_a_worker_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop is bounded."""
    monkeypatch.setattr("service.cli.supervisor._KILL_GRACE_S", 0.1)
    stubborn = _PROGRAM.replace("signal.signal(signal.SIGTERM, stop)", "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    async with supervising(tmp_path, stubborn, stop_limit_s=0.1):
        await wait_until(lambda: pids(tmp_path, "a", "started") and pids(tmp_path, "b", "started"))
    for pid in pids(tmp_path, "*", "started"):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_reserved_port_is_kept_for_the_workers() -> None:
    """They can listen on it, others cannot, and a second supervisor is told so."""
    with reserve_port("127.0.0.1", 0) as held:
        port = held.getsockname()[1]
        with socket.socket() as worker:
            worker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            worker.bind(("127.0.0.1", port))
            worker.listen()
        with pytest.raises(AddressInUse, match="MEALTRAIL_PORT"):
            reserve_port("127.0.0.1", port)
