"""Contenders and load generators as processes: started on their cores, watched, and ended whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Self

import psutil

from benchmarks import ROOT
from benchmarks.machine import on_cores
from tests.support.processes import forget_process, guard_process


class MeasurementError(Exception):
    """A measurement that means nothing: something failed that should have worked. The message says what."""


class Process:
    """A Python module run as a process of its own. Use it in a `with` block, which ends it.

    What it writes (our logs among it) goes to a file, as under a service manager; the end of it is shown if it fails.
    """

    def __init__(
        self, module: str, *arguments: str, environment: Mapping[str, str], cores: Collection[int], stdin: str = ""
    ) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._name = " ".join([module, *arguments[:1]])
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("MEALTRAIL_")}
        self._environment |= dict(environment)
        self._cores = cores
        self._stdin = stdin.encode()

    def __enter__(self) -> Self:
        self._output = tempfile.TemporaryFile()
        with on_cores(self._cores):
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._output,
                start_new_session=True,
            )
        guard_process(self._process.pid)
        self._statistics = psutil.Process(self._process.pid)
        assert self._process.stdin is not None
        if self._stdin:
            self._process.stdin.write(self._stdin)
            self._process.stdin.close()
            self._process.stdin = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        children = self._children()
        self._process.kill()
        self._process.wait()
        for child in children:  # a supervisor's workers would take their time to notice that it is gone
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(children, timeout=10)
        forget_process(self._process.pid)
        for pipe in (self._process.stdin, self._process.stdout, self._output):
            if pipe is not None:
                pipe.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Processor time that it and the processes it started have used so far, in user and system mode."""
        used = 0.0
        for one in (self._statistics, *self._children()):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                used += times.user + times.system
        return used

    def _children(self) -> list[psutil.Process]:
        try:
            return list(self._statistics.children(recursive=True))
        except psutil.NoSuchProcess:
            return []

    def check_alive(self) -> None:
        """Raises MeasurementError with its last words if it has ended."""
        if self._process.poll() is not None:
            raise MeasurementError(f"{self._name} ended with {self._process.returncode}:\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, self._output.tell() - 3000))
        return self._output.read().decode(errors="replace")

    async def result(self, timeout: float) -> str:
        """What it printed, once it has ended well. Raises MeasurementError."""
        try:
            printed, _ = await asyncio.to_thread(self._process.communicate, None, timeout)
        except subprocess.TimeoutExpired as error:
            raise MeasurementError(f"{self._name} did not end within {timeout:g} s:\n{self.last_words()}") from error
        if self._process.returncode != 0:
            self.check_alive()
        return printed.decode()


async def listening(process: Process, port: int, *, timeout: float = 30) -> None:
    """Returns when the process accepts connections on the loopback port. Raises MeasurementError."""
    give_up = asyncio.get_running_loop().time() + timeout
    while True:
        process.check_alive()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            if asyncio.get_running_loop().time() > give_up:
                raise MeasurementError(
                    f"nobody listens on {port} after {timeout:g} s:\n{process.last_words()}"
                ) from error
            await asyncio.sleep(0.05)
        else:
            writer.close()
            await writer.wait_closed()
            return
