"""The clocks a process reads, as one thing that tests replace. Decisions about orders read none of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Clock:
    """`now_ms`: wall clock in milliseconds since the epoch. `monotonic`: seconds, never goes back."""

    now_ms: Callable[[], int] = _wall_ms
    monotonic: Callable[[], float] = time.monotonic


SYSTEM_CLOCK = Clock()
