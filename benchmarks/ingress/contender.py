"""A server under load, measured from outside: requests counted by the load, processor time by the system."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from benchmarks.machine import CoreMeter, Cores
from benchmarks.model import Measurement
from benchmarks.processes import MeasurementError, Process


@dataclass(slots=True)
class ServerUnderLoad:
    """One running server. Idle between its turns."""

    name: str
    process: Process
    port: int
    secret: str
    cores: Cores
    seconds: float
    warm_up_s: float
    accepted: int = 0
    """Requests that it has answered 202 in all rounds, warming up included."""

    async def measure(self) -> Measurement:
        """One run of the load. Raises MeasurementError when anything but 202 was answered."""
        options = [f"--port={self.port}", f"--seconds={self.seconds}", f"--warm-up={self.warm_up_s}"]
        before, meter = self.process.cpu_seconds(), CoreMeter(self.cores.others)
        load = Process(
            "benchmarks.ingress.load", *options, environment={}, cores=self.cores.others, stdin=self.secret + "\n"
        )
        with load:
            printed = await load.result(self.seconds + self.warm_up_s + 30)
        self.process.check_alive()
        found = orjson.loads(printed)
        if found["refused"] or found["lost"] or not found["accepted"]:
            raise MeasurementError(f"{self.name} under load: {printed.strip()}\n{self.process.last_words()}")
        self.accepted += found["accepted_in_all"]
        cpu_s = self.process.cpu_seconds() - before
        rate = found["accepted"] / found["seconds"]
        cpu_us = cpu_s / found["accepted_in_all"] * 1e6
        return Measurement(rate=rate, cpu_us=cpu_us, busy=rate * cpu_us / 1e6, others_busy=meter.busy())
