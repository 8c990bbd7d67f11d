"""Stopping a server in order."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from backbone.shutdown import stop_on_signal, stop_within

_PROGRAM = """
import asyncio
from backbone.shutdown import stop_on_signal

async def main():
    with stop_on_signal() as stopping:
        print("ready", flush=True)
        await stopping.wait()
        print("asked", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_the_first_signal_asks(signum: signal.Signals) -> None:
    """Nothing is interrupted; the event says it."""
    with stop_on_signal() as stopping:
        os.kill(os.getpid(), signum)
        await asyncio.wait_for(stopping.wait(), 5)


def test_the_second_signal_ends_at_once() -> None:
    """With the usual exit code, whatever the program is doing."""
    with subprocess.Popen([sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert "asked\n" in iter(process.stdout.readline, "")
        for _ in range(100):  # within a tenth of a second it counts as the same wish
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(0.05) == 128 + signal.SIGTERM
            except subprocess.TimeoutExpired:
                continue
            break
        else:
            pytest.fail("it did not end")


async def test_a_stop_that_hangs_is_cut_off() -> None:
    """And cancelled, so that it does not linger."""
    cancelled = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    assert not await stop_within(0.01, "part", hang())
    assert cancelled.is_set()


async def test_a_stop_that_fails_keeps_nobody_from_stopping() -> None:
    """It is logged and told."""

    async def fail() -> None:
        raise RuntimeError

    async def succeed() -> None:
        return

    assert not await stop_within(1, "part", fail())
    assert await stop_within(1, "part", succeed())
