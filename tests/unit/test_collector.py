"""The garbage collector of a process that serves for long."""

import gc
from collections.abc import Iterator

import pytest

from backbone.collector import YOUNG_OBJECTS, settle


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Gives the test's process its collector back."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_start_up_made_is_walked_over_no_more() -> None:
    """It is permanent; what comes later is collected as ever, after more objects than Python's own few."""
    settle()
    settled = gc.get_freeze_count()
    assert settled > 1000
    assert gc.get_threshold()[0] == YOUNG_OBJECTS
    cycle: list[object] = []
    cycle.append(cycle)
    assert any(found is cycle for found in gc.get_objects())
    assert gc.get_freeze_count() == settled
    del cycle
    assert gc.collect() >= 1
