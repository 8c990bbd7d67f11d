"""Log time that may be believed, for what cannot be taken back: erasing by age, and pruning.

A log's clock that is wrong for a moment stamps one record far in the future, and a partition's watermark never goes
back. So time counts only once it was seen twice, at least CONFIRM_S apart by the monotonic clock, each time no further
from the wall clock than APART_MS; and what counts is the earlier one. While the log is ahead of the wall clock nothing
counts at all. Two clocks that are wrong together for as long as that cannot be told from two that are right.
"""

from __future__ import annotations

from dataclasses import dataclass

from backbone.clocks import Clock

CONFIRM_S = 60.0
APART_MS = 3_600_000


@dataclass(slots=True)
class SteadyTime:
    """What one log, or one partition of it, says of the time. Keeps no more than two of the times it was shown."""

    clock: Clock
    ahead: bool = False
    """Whether the time last shown was ahead of the wall clock by more than APART_MS."""
    _seen: tuple[float, int] | None = None
    _confirmed: int | None = None

    def take(self, log_ms: int, *, may_lag: bool = False) -> int | None:
        """The latest time that counts, in milliseconds, now that the log shows `log_ms`; None while none does. With
        `may_lag` it may be behind the wall clock by any time, as that of a log is to which nothing comes.
        """
        apart = log_ms - self.clock.now_ms()
        self.ahead = apart > APART_MS
        if self.ahead or (apart < -APART_MS and not may_lag):
            self._seen = self._confirmed = None
            return None
        now = self.clock.monotonic()
        if self._seen is None:
            self._seen = (now, log_ms)
        elif now - self._seen[0] >= CONFIRM_S:
            self._confirmed = min(self._seen[1], log_ms)
            self._seen = (now, log_ms)
        return self._confirmed
