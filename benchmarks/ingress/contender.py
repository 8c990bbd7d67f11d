"""A server under load, measured from outside: requests counted by the load, processor time by the system."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from benchmarks.ingress.open_run import OpenRun, read_open_run
from benchmarks.machine import CoreMeter, Cores
from benchmarks.model import Measurement
from benchmarks.processes import MeasurementError, Process

_WARM_UP_S = 1.0
_MARGIN_S = 30.0


@dataclass(slots=True)
class ServerUnderLoad:
    """One running server. Idle between its turns."""

    name: str
    process: Process
    port: int
    secret: str
    cores: Cores
    accepted: int = 0
    """Requests that it has answered 202 in all rounds, warming up included."""

    async def saturate(self, seconds: float) -> Measurement:
        """One run of the closed loop. Raises MeasurementError when anything but 202 was answered."""
        before, meter = self.process.cpu_seconds(), CoreMeter(self.cores.others)
        options = [f"--seconds={seconds}", f"--warm-up={_WARM_UP_S}"]
        printed = await self._load("benchmarks.ingress.load", *options, timeout=seconds + _WARM_UP_S + _MARGIN_S)
        found = orjson.loads(printed)
        if found["refused"] or found["lost"] or not found["accepted"]:
            raise MeasurementError(f"{self.name} under load: {printed.strip()}\n{self.process.last_words()}")
        self.accepted += found["accepted_in_all"]
        cpu_s = self.process.cpu_seconds() - before
        rate = found["accepted"] / found["seconds"]
        cpu_us = cpu_s / found["accepted_in_all"] * 1e6
        return Measurement(rate=rate, cpu_us=cpu_us, busy=rate * cpu_us / 1e6, others_busy=meter.busy())

    async def keep_rate(self, rate: float, seconds: float, *, most_late_ms: float) -> OpenRun:
        """One run of the open loop. Raises MeasurementError when a request was dropped or not answered 202."""
        options = [f"--rate={rate}", f"--seconds={seconds}"]
        printed = await self._load("benchmarks.ingress.open_load", *options, timeout=seconds + _MARGIN_S)
        run = read_open_run(f"{self.name} at {rate:,.0f}/s", orjson.loads(printed), most_late_ms=most_late_ms)
        self.accepted += run.accepted
        return run

    async def _load(self, module: str, *options: str, timeout: float) -> str:
        load = Process(
            module,
            f"--port={self.port}",
            *options,
            environment={},
            cores=self.cores.others,
            stdin=self.secret + "\n",
        )
        with load:
            printed = await load.result(timeout)
        self.process.check_alive()
        return printed


@dataclass(frozen=True, slots=True)
class Saturated:
    """The contender of the rate figure: a server, and for how long it is saturated."""

    server: ServerUnderLoad
    seconds: float

    @property
    def name(self) -> str:
        """The server's."""
        return self.server.name

    async def measure(self) -> Measurement:
        """Once."""
        return await self.server.saturate(self.seconds)
