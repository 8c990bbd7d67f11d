"""A transaction that the store does not finish, though it answers everything else: too much for its time limits.

Waiting does not help there as it does in an outage. A batch is halved, since its size has no meaning. A single record
cannot be: it is tried on, and that is told in the log once a minute, as a metric and at /readyz.
"""

from __future__ import annotations

import structlog

from backbone.clocks import Clock
from backbone.metrics import Metrics
from schemas.errors import TransactionTooHeavy

_log = structlog.get_logger("mealtrail.consumers")
TRIES = 2
"""Failures with a store that answered right after each, before the transaction is taken to be the reason."""
TOLD_EVERY_S = 60.0


class HeavyTransaction:
    """One partition's failures at one offset."""

    def __init__(self, *, metrics: Metrics, clock: Clock, partition: int) -> None:
        self._metrics = metrics
        self._clock = clock
        self._partition = partition
        self._failures = 0
        self._told_at: float | None = None
        self.offset: int | None = None
        """The record whose transaction is too heavy by itself; None while there is none."""

    def note(self, offset: int, records: int, *, answers: bool, problem: str) -> None:
        """The transaction of so many records from `offset` on failed; `answers`: the store does, right afterwards.

        Raises TransactionTooHeavy for more than one record, once they failed often enough.
        """
        self._failures = self._failures + 1 if answers else 0
        if self._failures < TRIES:
            return
        if records > 1:
            raise TransactionTooHeavy(
                f"partition {self._partition}, offset {offset}: the store answers, but does not finish a transaction "
                f"of {records} records"
            )
        self.offset = offset
        self._metrics.transaction_too_heavy.labels(str(self._partition)).set(1)
        now = self._clock.monotonic()
        if self._told_at is None or now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            _log.error(
                TransactionTooHeavy.code,
                partition=self._partition,
                offset=offset,
                tries=self._failures,
                problem=problem,
            )

    def end(self) -> None:
        """The transaction is over, or not ours any more. May be repeated."""
        if self.offset is not None:
            self._metrics.transaction_too_heavy.labels(str(self._partition)).set(0)
        self._failures, self._told_at, self.offset = 0, None, None
