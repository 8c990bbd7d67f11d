"""The machine: what it is called, and which cores are whose.

Whoever is measured gets a core of its own; the servers and the load generator share the others. Processes inherit the
cores of the one that starts them, so everything is pinned by pinning ourselves first.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where. Both are empty where nothing can be pinned: one core, or a system that does not pin."""

    measured: frozenset[int]
    others: frozenset[int]

    def describe(self) -> str:
        """In words, for the report."""
        if not self.measured:
            return "not pinned: this machine has one core or does not pin processes"
        return f"measured process on core {_listed(self.measured)}, servers and load on {_listed(self.others)}"


def _listed(cores: Collection[int]) -> str:
    return ", ".join(map(str, sorted(cores)))


def share_cores() -> Cores:
    """The first core we may use for what is measured, the rest for everything else."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(frozenset(), frozenset())
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return Cores(frozenset(), frozenset())
    return Cores(frozenset(allowed[:1]), frozenset(allowed[1:]))


@contextmanager
def on_cores(cores: Collection[int]) -> Iterator[None]:
    """Processes started in this block run on these cores; with none given, wherever they like."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def describe_machine() -> dict[str, str | int]:
    """Name, processor, cores and software, for results files."""
    return {
        "name": platform.node(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


class CoreMeter:
    """How busy some cores are between two looks."""

    def __init__(self, cores: Collection[int]) -> None:
        self._cores = sorted(cores)
        self._before = self._look()

    def _look(self) -> tuple[float, float]:
        per_core = psutil.cpu_times(percpu=True)
        chosen = [per_core[core] for core in self._cores] if self._cores else per_core
        total = sum(sum(times[:8]) for times in chosen)  # guest times are part of user time already
        idle = sum(times.idle + getattr(times, "iowait", 0.0) for times in chosen)
        return total, idle

    def busy(self) -> float:
        """The share of these cores' time that was used since this meter was made, by anybody."""
        total, idle = self._look()
        spent = total - self._before[0]
        return 1 - (idle - self._before[1]) / spent if spent > 0 else 0.0
