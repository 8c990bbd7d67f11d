"""Why attempts were turned away: for the operator, counted in memory and written every second.

The answer to a caller never says why authentication failed; this does (`mealtrail source refusals`). Bounded by what
exists: a known source's name or `?`, times a closed set of reasons. A flood costs one row, not one row an attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from backbone.store.refusals import UNKNOWN_SOURCE, Refusal
from schemas.errors import MealtrailError
from schemas.refusals import Why

MOST_ROWS = 5000
__all__ = ["UNKNOWN_SOURCE", "RefusalRecorder", "RefusalSink", "Why"]
_log = structlog.get_logger("mealtrail.refusals")


class RefusalSink(Protocol):
    """Where refusals are kept: `backbone.store.sources.SourceRepository`."""

    async def record_refusals(self, refusals: Sequence[Refusal]) -> None:
        """Adds counts to what is kept."""


class RefusalRecorder:
    """Counts refusals and flushes them. A store that is away costs nothing but freshness."""

    def __init__(self, sink: RefusalSink, now_ms: Callable[[], int]) -> None:
        self._sink = sink
        self._now_ms = now_ms
        self._counts: dict[tuple[str, str], Refusal] = {}
        self._failing = False

    def record(self, source: str, why: Why, remote: str | None) -> None:
        """Counts one refusal; constant cost. `source` must be a known source's name or UNKNOWN_SOURCE."""
        now = self._now_ms()
        key = (source, why.value)
        known = self._counts.get(key)
        if known is None:
            if len(self._counts) >= MOST_ROWS:
                return
            self._counts[key] = Refusal(
                source=source, reason=why.value, count=1, first_at=now, last_at=now, last_remote=remote
            )
        else:
            self._counts[key] = replace(known, count=known.count + 1, last_at=now, last_remote=remote)

    async def flush(self) -> None:
        """Writes the counts. When the store is away they are kept and added to; never raises for that."""
        if not self._counts:
            return
        taken, self._counts = self._counts, {}
        try:
            await self._sink.record_refusals(list(taken.values()))
        except BaseException as error:
            self._put_back(taken)
            if not isinstance(error, MealtrailError):
                raise
            if not self._failing:
                _log.warning("refusals_not_written", exc_info=error)
            self._failing = True
        else:
            self._failing = False

    def _put_back(self, taken: dict[tuple[str, str], Refusal]) -> None:
        for key, earlier in taken.items():
            later = self._counts.get(key)
            if later is None:
                if len(self._counts) < MOST_ROWS:
                    self._counts[key] = earlier
            else:
                self._counts[key] = replace(later, count=later.count + earlier.count, first_at=earlier.first_at)
