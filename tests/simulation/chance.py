"""Chance from the seed alone, for the code that asks the interpreter for it."""

from __future__ import annotations

import gc
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from unittest.mock import patch


@contextmanager
def undisturbed(seed: int) -> Iterator[None]:
    """Chance comes from the seed, and nothing is collected at moments that the seed does not choose."""
    state, made, collecting = random.getstate(), Random(f"ids {seed}"), gc.isenabled()
    random.seed(f"jitter {seed}")
    gc.disable()
    try:
        with patch.object(uuid, "uuid4", lambda: uuid.UUID(int=made.getrandbits(128), version=4)):
            yield
    finally:
        random.setstate(state)
        if collecting:
            gc.enable()
