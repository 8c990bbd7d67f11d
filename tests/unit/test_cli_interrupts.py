"""Ctrl-C at every moment of a command: before it, at its start, in its middle, at its end, twice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from service.cli.interrupts import run_command
from tests.support.deployments import ROOT, base_environment

INTERRUPTED = 130


def press() -> None:
    """One Ctrl-C for this process."""
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def _python_s_own_handler() -> Iterator[None]:
    """As an interactive shell starts a process, whoever started the tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_what_the_work_returns_is_returned() -> None:
    """Undisturbed it is `asyncio.run`."""

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert run_command(work) == 7


def test_a_waiting_command_is_cancelled_and_closes_what_it_opened() -> None:
    """Then KeyboardInterrupt, out of the closed loop."""
    told: list[str] = []

    async def work() -> None:
        try:
            asyncio.get_running_loop().call_soon(press)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            told.append("closed")

    with pytest.raises(KeyboardInterrupt):
        run_command(work)
    assert told == ["closed"]


def test_nothing_is_begun_when_it_comes_while_the_loop_is_made() -> None:
    """Nor is half a loop left behind, whose finaliser would complain."""
    begun: list[str] = []

    def make() -> asyncio.AbstractEventLoop:
        press()
        return asyncio.new_event_loop()

    async def work() -> None:
        begun.append("work")

    with pytest.raises(KeyboardInterrupt):
        run_command(work, loop_factory=make)
    assert begun == []


def test_what_was_done_is_told_when_it_comes_too_late() -> None:
    """While the loop closes there is nothing left to cancel."""

    async def last() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            press()

    async def work() -> tuple[str, asyncio.Task[None]]:
        ending = asyncio.create_task(last())
        await asyncio.sleep(0)
        return "done", ending

    said, ending = run_command(work)
    assert said == "done"
    assert ending.cancelled()


def test_a_cancellation_of_its_own_is_no_interrupt() -> None:
    """Only Ctrl-C is turned into KeyboardInterrupt."""

    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_command(work)


def test_where_it_is_ignored_it_stays_ignored() -> None:
    """A background job of a script is not for the terminal to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def work() -> str:
        press()
        await asyncio.sleep(0)
        return "done"

    try:
        assert run_command(work) == "done"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """A process of its own that runs the code with `press` in it."""
    start = """
        import os, signal, sys
        press = lambda: os.kill(os.getpid(), signal.SIGINT)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(start) + textwrap.dedent(code)],
        cwd=ROOT,
        env=base_environment({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_second_one_ends_work_that_does_not_end() -> None:
    """130 at once, even where the first was swallowed; the same key pressed once is one wish."""
    done = run_python(
        """
        import asyncio, time
        from service.cli import interrupts

        async def work():
            while True:
                try:
                    press()
                    press()  # as timeout(1) passes it on
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    print("swallowed", flush=True)
                    time.sleep(interrupts._SAME_KEY_S * 1.5)

        interrupts.run_command(work)
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "swallowed\n", "")


@pytest.mark.parametrize("module", ["service.cli.entry", "sqlalchemy", "pydantic"])
def test_it_is_quiet_while_the_program_is_imported(module: str) -> None:
    """Ended by the signal itself, which shells show as 130, without a traceback."""
    done = run_python(
        f"""
        import service.cli

        class Press:
            def find_spec(self, name, path=None, target=None):
                if name == {module!r}:
                    press()

        sys.meta_path.insert(0, Press())
        sys.argv = ["mealtrail", "--version"]
        service.cli.main()
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_it_is_quiet_while_the_interpreter_ends() -> None:
    """The command has told what it had to tell."""
    done = run_python(
        """
        import atexit
        import service.cli

        atexit.register(press)
        sys.argv = ["mealtrail", "--version"]
        service.cli.main()
        """
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    assert done.stdout.startswith("mealtrail ")
