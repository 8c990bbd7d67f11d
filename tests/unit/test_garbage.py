"""The collector's settings of a worker process."""

import gc
import subprocess
import sys

_CYCLES = """
import gc, weakref
from backbone.garbage import YOUNG, relax_garbage_collection
relax_garbage_collection()
class Node: pass
made = Node(); made.itself = made; seen = weakref.ref(made); del made
print(gc.isenabled(), gc.get_freeze_count() > 1000, seen() is not None)
kept = [[] for _ in range(YOUNG + 10)]
print(seen() is None)
"""


def test_a_relaxed_collector_leaves_modules_alone_and_still_finds_cycles() -> None:
    """In a process of its own, as it holds for the whole process."""
    told = subprocess.run([sys.executable, "-c", _CYCLES], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.split() == ["True", "True", "True", "True"]
    assert gc.get_threshold()[0] < 200_000
