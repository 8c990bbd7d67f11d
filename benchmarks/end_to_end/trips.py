"""One run through a whole deployment: the load in its own process, the watch in ours, and what both say together."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from benchmarks.end_to_end.deployments import Deployment
from benchmarks.end_to_end.watch import Watch
from benchmarks.ingress.open_run import OpenRun, read_open_run
from benchmarks.ingress.webhooks import STEPS, UNDER_WAY
from benchmarks.processes import MeasurementError, Process

_WARM_UP_S = 0.5
_MARGIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Trips:
    """Milliseconds from due to visible, one an event: by the outcomes topic for all, by receipts for some."""

    outcomes_ms: list[float]
    receipts_ms: list[float]
    answers: OpenRun


@dataclass(slots=True)
class Traveller:
    """Sends runs through one deployment and watches them come out."""

    deployment: Deployment
    watch: Watch
    following: asyncio.Task[None]

    async def warm_up(self) -> None:
        """Some whole lives of orders; returns when the last verdict is there, so every part is up and has worked.

        Raises MeasurementError.
        """
        await self.flood(UNDER_WAY * len(STEPS), connections=16)

    async def keep_rate(self, rate: float, seconds: float, *, most_late_ms: float) -> Trips:
        """One run of the open loop. Raises MeasurementError, GeneratorLateError."""
        warm_up = round(rate * _WARM_UP_S)
        count = warm_up + max(1, round(rate * seconds))
        found = await self._load(count, f"--rate={rate}", timeout=seconds + _MARGIN_S)
        name = f"{self.deployment.name} at {rate:,.0f}/s"
        try:
            answers = read_open_run(name, found, most_late_ms=most_late_ms)
            check_receipts(name, found)
        except MeasurementError:
            await self.watch.settled(self.following)  # what is left of this run must not be in the way of the next
            raise
        await self.watch.all_seen(count, self.following)
        start = found["start"]
        receipts = {int(number): seen for number, seen in found["receipts"].items()}
        seen = self.watch.verdicts.seen
        return Trips(
            outcomes_ms=since_due(seen, start=start, rate=rate, skip=warm_up),
            receipts_ms=since_due(receipts, start=start, rate=rate, skip=warm_up),
            answers=answers,
        )

    async def flood(self, count: int, connections: int) -> float:
        """Events a second, from the first request to the last verdict visible, when all come as fast as they are taken.

        Raises MeasurementError.
        """
        found = await self._load(count, f"--connections={connections}", timeout=300)
        if found["refused"] or found["lost"] or found["accepted"] != count:
            raise MeasurementError(f"{self.deployment.name} flooded: {found}\n{self.deployment.last_words()}")
        await self.watch.all_seen(count, self.following)
        return count / (max(self.watch.verdicts.seen.values()) - float(found["start"]))

    async def _load(self, count: int, *options: str, timeout: float) -> Mapping[str, Any]:
        run = secrets.token_hex(4)
        self.watch.expect(run)
        load = Process(
            "benchmarks.end_to_end.load",
            f"--port={self.deployment.port}",
            f"--run={run}",
            f"--count={count}",
            *options,
            environment={},
            cores=self.deployment.cores.others,
            stdin=f"{self.deployment.secret}\n{self.deployment.token}\n",
        )
        with load:
            found: Mapping[str, Any] = orjson.loads(await load.result(timeout))
        self.deployment.check_alive()
        return found


def check_receipts(name: str, found: Mapping[str, Any]) -> None:
    """Raises MeasurementError when one of those that were asked for could not be had."""
    if found["receipt_failures"]:
        raise MeasurementError(f"{name}: {found['receipt_failures'][0]}")


def since_due(seen: Mapping[int, float], *, start: float, rate: float, skip: int) -> list[float]:
    """Milliseconds from when each event was due, in order of events, without the first `skip` of them."""
    return [(moment - (start + number / rate)) * 1000 for number, moment in sorted(seen.items()) if number >= skip]
