"""Python's garbage collector in a process that serves for long.

The collector looks for cycles by walking over objects. A full walk goes over everything that imports and start-up made
(some hundred thousand objects, which nobody ever throws away) and took 66 ms on the machine that we measured, again
and again while requests were waiting: an eighth of ingress's processor time. Frozen, they are never walked over again.

Objects of requests in hand are young, and a young walk comes after so many more objects made than freed. Python's 700
are what a few dozen requests in hand hold anyway, so the same objects were walked over several times in their short
lives.
"""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 10_000
"""Container objects made and not freed until the next young walk: at most a few MiB of cycles wait for it."""


def settle() -> None:
    """Takes all that is there now for permanent, and lets young objects live longer before they are walked over.

    Call it once a process has started and before it takes work; it blocks for one full walk. May be repeated: what is
    there then becomes permanent too. Objects without cycles are freed as ever, permanent ones too.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
