"""One run of the open loop as read back from its program, and whether it may be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.processes import MeasurementError


class OverloadedError(MeasurementError):
    """The server could not keep up: an open loop would only tell how long it ran."""


class GeneratorLateError(MeasurementError):
    """The generator itself did not keep its schedule: nobody's fault but the machine's, so it may be tried again."""


@dataclass(frozen=True, slots=True)
class OpenRun:
    """Milliseconds, one a request."""

    latencies_ms: list[float]
    lags_ms: list[float]
    accepted: int
    """Requests answered 202, warming up included."""


def read_open_run(name: str, found: Mapping[str, Any], *, most_late_ms: float) -> OpenRun:
    """The run. Raises OverloadedError for a dropped request, MeasurementError for another answer than 202,
    GeneratorLateError when the generator sent one more than `most_late_ms` after it was due and could have left.
    """
    if found["dropped"]:
        raise OverloadedError(f"{name}: overloaded, {found['dropped']:,} requests could not be sent for a second")
    if found["refused"] or found["lost"] or not found["latency_us"]:
        raise MeasurementError(f"{name}: refused {found['refused']}, lost connections {found['lost']}")
    latest_ms = max(found["lag_us"]) / 1000
    if latest_ms > most_late_ms:
        raise GeneratorLateError(f"{name}: the generator was {latest_ms:.0f} ms late, {most_late_ms:g} are allowed")
    return OpenRun(
        latencies_ms=[us / 1000 for us in found["latency_us"]],
        lags_ms=[us / 1000 for us in found["lag_us"]],
        accepted=found["accepted_in_all"],
    )
