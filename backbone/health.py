"""Readiness: named checks of the parts a process stands on, asked together, each within a bound.

An answer names a part's state by error code only: addresses and messages stay in the log. What is raised as NotReady
was written for this answer and is shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from backbone.logs import describe
from schemas.errors import MealtrailError, NotReady

Probe = Callable[[], Awaitable[str | None]]
_KEEP_BAD_S = 1.0
_log = structlog.get_logger("mealtrail.health")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One part. `probe` returns None or a remark when it is well, and raises when it is not."""

    part: str
    probe: Probe
    required: bool = True
    """Whether the process is not ready without it; otherwise the part is reported as degraded."""
    keep_s: float = 1.0
    """How long a good answer is kept, so that frequent asking costs the part nothing; a bad one for a second."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What all checks said."""

    ready: bool
    parts: dict[str, str]


class Health:
    """Asks checks. Any number of callers may ask at once; a part is asked by one of them."""

    def __init__(self, checks: Sequence[Check], *, monotonic: Callable[[], float], timeout_s: float = 2.0) -> None:
        self._checks = tuple(checks)
        self._monotonic = monotonic
        self._timeout_s = timeout_s
        self._kept: dict[str, tuple[float, str, bool]] = {}
        self._locks = {check.part: asyncio.Lock() for check in self._checks}

    async def readiness(self) -> Readiness:
        """The state of every part; takes at most the time-out. Never raises."""
        answers = await asyncio.gather(*(self._ask(check) for check in self._checks))
        parts = {check.part: text for check, (text, _) in zip(self._checks, answers, strict=True)}
        return Readiness(all(fine for _, fine in answers), parts)

    async def _ask(self, check: Check) -> tuple[str, bool]:
        async with self._locks[check.part]:
            kept = self._kept.get(check.part)
            if kept is not None and self._monotonic() - kept[0] < (check.keep_s if kept[2] else _KEEP_BAD_S):
                return kept[1], kept[2]
            text, fine = await self._probe(check)
            if kept is None or kept[1] != text:
                _log.info("readiness_changed", part=check.part, state=text)
            self._kept[check.part] = (self._monotonic(), text, fine)
            return text, fine

    async def _probe(self, check: Check) -> tuple[str, bool]:
        failing = "down" if check.required else "degraded"
        try:
            async with asyncio.timeout(self._timeout_s):
                remark = await check.probe()
        except TimeoutError:
            return f"{failing}: no answer within {self._timeout_s:g} s", not check.required
        except NotReady as error:
            return f"{failing}: {error}", not check.required
        except MealtrailError as error:
            _log.debug("part_not_ready", part=check.part, problem=describe(error))
            return f"{failing}: {error.code}", not check.required
        except Exception as error:  # noqa: BLE001 - whatever fails in a probe is that part's state
            _log.warning("probe_failed", part=check.part, exc_info=error)
            return f"{failing}: {type(error).__name__}", not check.required
        return remark or "ok", True
