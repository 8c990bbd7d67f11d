"""Token buckets, one a source: `rate` requests a second, bursts up to twice that.

The `limits` package has windows (fixed, moving, sliding) but no token bucket, and its moving window keeps a time for
every request. A bucket is two numbers. Each process counts for itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from schemas.errors import RateLimited

BURST = 2


class RateLimiter:
    """Buckets by key. Constant cost, no I/O; as many buckets as there are sources."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str, rate: int) -> None:
        """Takes one request's worth. Raises RateLimited with the whole seconds until there is room again.

        `rate` may change between calls; what was saved up is cut to the new burst.
        """
        now = self._monotonic()
        burst = float(rate * BURST)
        left, before = self._buckets.get(key, (burst, now))
        left = min(burst, left + (now - before) * rate)
        if left < 1.0:
            self._buckets[key] = (left, now)
            raise RateLimited(math.ceil((1.0 - left) / rate) if rate > 0 else 60)
        self._buckets[key] = (left - 1.0, now)
