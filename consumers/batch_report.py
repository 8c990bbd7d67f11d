"""What a worker tells of a committed batch: metrics, and one line in its log."""

from __future__ import annotations

import structlog

from backbone.metrics import Metrics
from consumers.applier import Applied
from consumers.offset_rows import Cursor

_log = structlog.get_logger("mealtrail.consumers")


def report_batch(metrics: Metrics, partition: int, applied: Applied, *, start: int, seconds: float) -> None:
    """Counts and logs what the batch from offset `start` on did, and how long it took."""
    by_verdict = sorted(applied.verdicts.items(), key=str)
    for (verdict, reason), count in by_verdict:
        metrics.verdicts.labels(verdict, reason or "").inc(count)
    if applied.repeats:
        metrics.verdicts.labels("duplicate", "").inc(applied.repeats)
    metrics.moved_before_cancellation_ahead.inc(applied.ahead_of_cancelled)
    metrics.set_aside.inc(applied.set_aside)
    metrics.batch_records.observe(applied.next - start)
    metrics.batch_seconds.observe(seconds)
    _log.info(
        "batch_applied",
        partition=partition,
        offset=start,
        records=applied.next - start,
        seq=applied.seq,
        verdicts={f"{verdict}:{reason}" if reason else verdict: n for (verdict, reason), n in by_verdict},
        repeats=applied.repeats,
        held=applied.held,
        released=applied.released,
        set_aside=applied.set_aside,
        ms=round(seconds * 1000, 1),
    )


def report_confirmed(metrics: Metrics, partition: int, before: Cursor, after: Cursor) -> None:
    """Counts and logs a batch whose commit was confirmed by looking, as far as the offset row tells: the verdicts and
    the time it took are not known any more.
    """
    metrics.set_aside.inc(after.dead_seq - before.dead_seq)
    metrics.batch_records.observe(after.next - before.next)
    _log.info(
        "commit_confirmed",
        partition=partition,
        offset=before.next,
        records=after.next - before.next,
        seq=after.seq,
        set_aside=after.dead_seq - before.dead_seq,
    )
