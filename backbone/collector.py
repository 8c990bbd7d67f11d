"""Python's garbage collector in a process that works for long.

The collector looks for cycles by walking over objects. A full walk goes over everything that imports and start-up made
(some hundred thousand objects, which nobody ever throws away) and took 66 ms on the machine that we measured, again
and again while requests were waiting: an eighth of ingress's processor time. Frozen, they are never walked over again.

Objects of work in hand are young, and a young walk comes after so many more objects made than freed. Python's 700 are
what a few dozen requests hold anyway, or a handful of records, so the same objects were walked over several times in
their short lives. Nearly all of them die by their reference count; cycles are few: errors with their tracebacks, tasks.
"""

from __future__ import annotations

import gc
from typing import NamedTuple


class Patience(NamedTuple):
    """How rarely the three generations are walked over, as `gc.set_threshold` takes it."""

    young: int
    """Container objects made and not freed until the next young walk."""
    older: int = 10
    """Young walks until the next one of what survived them."""
    oldest: int = 10


REQUESTS = Patience(10_000)
"""For a process that serves: at most a few MiB of cycles wait for a walk."""
BATCHES = Patience(200_000, 20, 100)
"""For a process that only applies batches: several of them in hand, some 100 containers a record."""


def settle(patience: Patience) -> None:
    """Takes all that is there now for permanent, and lets later objects live longer before they are walked over.

    Call it once a process has started and before it takes work; it blocks for one full walk. May be repeated: what is
    there then becomes permanent too. Objects without cycles are freed as ever, permanent ones too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*patience)
