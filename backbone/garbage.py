"""The garbage collector of a process that works by the thousand.

Nearly all of what a batch makes dies by its reference count, with the batch. The collector only looks for cycles, which
here are few: errors with their tracebacks, tasks. Left as it is, it goes over every live record each 700 allocations,
and now and then over all modules: that took a worker as much time as deciding (docs/performance.md).
"""

from __future__ import annotations

import gc

YOUNG = 200_000
"""Containers that may live unlooked at: several batches in hand, some 100 containers a record."""
_OLDER, _OLDEST = 20, 100


def relax_garbage_collection() -> None:
    """From now on the collector looks rarely, and never at what is there already. For a process of its own, once its
    modules are loaded; may be repeated.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, _OLDER, _OLDEST)
