"""The garbage collector of a process that works for long."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from backbone.collector import BATCHES, REQUESTS, Patience, settle


class _Node:
    """One that holds itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Gives the test's process its collector back."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.parametrize("patience", [REQUESTS, BATCHES])
def test_what_start_up_made_is_walked_over_no_more(patience: Patience) -> None:
    """It is permanent; what comes later waits for more objects than Python's own few, and is collected then."""
    settle(patience)
    settled = gc.get_freeze_count()
    assert settled > 1000
    assert gc.isenabled()
    assert gc.get_threshold()[0] == patience.young
    seen = weakref.ref(_Node())
    assert seen() is not None
    assert gc.get_freeze_count() == settled
    kept: list[list[object]] = [[] for _ in range(patience.young + 10)]
    assert seen() is None, "the walk came by itself"
    assert len(kept) > patience.young
