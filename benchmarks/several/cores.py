"""Which cores several measured processes get: the same for one process and for two, or it would be a ratio of cores."""

from __future__ import annotations

from benchmarks.machine import Cores


def cores_for(processes: int, cores: Cores) -> Cores:
    """A core for each process and the rest for load and servers; where there are too few, all cores for everybody."""
    every = sorted(cores.measured | cores.others)
    if len(every) > processes:
        return Cores(frozenset(every[:processes]), frozenset(every[processes:]))
    return Cores(frozenset(every), frozenset(every))


def cores_note(cores: Cores) -> str:
    """How to read the figure, for its notes."""
    if cores.measured == cores.others:
        return (
            "too few cores for a core each: measured processes, servers and load share all of them, whatever the ratio"
        )
    return f"{cores.describe()}; the servers, started before, may run on measured cores too"
