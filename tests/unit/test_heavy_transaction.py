"""Telling a transaction that is too much for the store from a store that is away."""

from __future__ import annotations

import pytest
import structlog

from backbone.clocks import Clock
from backbone.metrics import Metrics
from consumers.heavy_transaction import TOLD_EVERY_S, HeavyTransaction
from schemas.errors import TransactionTooHeavy


def heavy_at(times: list[float]) -> tuple[HeavyTransaction, Metrics]:
    """Nothing failed yet. The time is the last of the list."""
    metrics = Metrics()
    return HeavyTransaction(metrics=metrics, clock=Clock(monotonic=lambda: times[-1]), partition=4), metrics


def told_of(heavy: HeavyTransaction, metrics: Metrics) -> tuple[int | None, float | None]:
    """The record that is too heavy, and the metric."""
    return heavy.offset, metrics.registry.get_sample_value("mealtrail_transaction_too_heavy", {"partition": "4"})


def test_a_batch_is_given_back_at_the_second_failure() -> None:
    """Only where the store answered after both: an outage in between begins the count anew."""
    heavy, _ = heavy_at([0.0])
    for answers in (True, False, True):
        heavy.note(7, 1000, answers=answers, problem="time")
    with pytest.raises(TransactionTooHeavy):
        heavy.note(7, 1000, answers=True, problem="time")
    assert heavy.offset is None


def test_a_single_record_is_told_of_once_a_minute() -> None:
    """In the log, in the metric and to whoever asks for readiness, until it is over."""
    times = [100.0]
    heavy, metrics = heavy_at(times)
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            heavy.note(7, 1, answers=True, problem="time")
        times.append(100.0 + TOLD_EVERY_S)
        heavy.note(7, 1, answers=True, problem="time")
    told = [(entry["event"], entry["partition"], entry["offset"], entry["tries"]) for entry in logs]
    assert told == [("transaction_too_heavy", 4, 7, 2), ("transaction_too_heavy", 4, 7, 6)]
    assert told_of(heavy, metrics) == (7, 1.0)
    heavy.end()
    assert told_of(heavy, metrics) == (None, 0.0)
