"""All metrics, declared in one place, on a registry of their own.

Labels are bounded by what exists: routes, statuses, verdicts, reasons, sources, partitions; never an order or an event.
"""

from __future__ import annotations

from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


class Metrics:
    """One process's metrics. Make one per process (tests: one per test); thread-safe as prometheus-client is."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._declare_http()
        self._declare_log()
        self._declare_applier()
        self._declare_relay()

    def _declare_http(self) -> None:
        # Requests answered: method, route template (never the path), HTTP status.
        self.requests = self._counter("requests", "HTTP requests answered", "method", "route", "status")
        # Time to the answer; long polls have a route of their own.
        self.request_seconds = self._histogram("request_seconds", "Time to answer", _SECONDS, "route")
        # Events that lie in the log and were answered 202.
        self.accepted = self._counter("events_accepted", "Events accepted", "source")
        # Requests not taken, by the true reason (see schemas.refusals), which the answer may not tell; those
        # answered 503 because log or store are away count here too.
        self.refusals = self._counter("refusals", "Requests refused", "reason")
        # Turned away for speed.
        self.rate_limited = self._counter("rate_limited", "Requests over a source's rate", "source")
        # Readers that wait for changes now.
        self.waiting_readers = self._gauge("waiting_readers", "Long polls that wait")
        # Requests that wait for a verdict now, and how such waits ended (verdict, timeout).
        self.waiting_for_verdicts = self._gauge("waiting_for_verdicts", "Requests that wait for a verdict")
        self.verdict_waits = self._counter("verdict_waits", "Waits for a verdict", "result")
        # Age of the newest successful load of sources.
        self.sources_loaded_age = self._gauge("sources_age_seconds", "Time since sources were last loaded")

    def _declare_log(self) -> None:
        # Append to acknowledged.
        self.publish_seconds = self._histogram("publish_seconds", "Time until the log acknowledged", _SECONDS)
        # Publishes that ended unknown: the log did not answer in time, or the window was full.
        self.publish_unknown = self._counter("publish_unknown", "Appends with unknown outcome")
        # Records that await the log's acknowledgement (the bounded window).
        self.unresolved = self._gauge("unresolved_records", "Records awaiting acknowledgement")

    def _declare_applier(self) -> None:
        # Verdicts on events, without the inferred steps of the trail; repeats absorbed count as `duplicate`, though
        # they leave no row there.
        self.verdicts = self._counter("verdicts", "Verdicts", "verdict", "reason")
        # A courier or kitchen moved on what had been cancelled meanwhile: somebody should call the customer.
        self.moved_before_cancellation_ahead = self._counter(
            "moved_before_cancellation_ahead", "Late moves ahead of the status before a cancellation"
        )
        # Records a transaction took, and how long it took.
        self.batch_records = self._histogram("batch_records", "Records in a batch", _ROWS)
        self.batch_seconds = self._histogram("batch_seconds", "Time to apply and commit a batch", _SECONDS)
        # Wall clock less the partition's watermark: how far behind its orders are.
        self.watermark_lag = self._gauge("watermark_lag_seconds", "Wall clock less watermark", "partition")
        # Records between the applied offset and the log's end, asked every few seconds.
        self.log_lag = self._gauge("log_lag_records", "Records not yet applied", "partition")
        # Events that wait for their order to be announced, or to name their party.
        self.held = self._gauge("held_events", "Events held", "partition")
        # What this worker owns, and what stopped until a person looks (alert on this one).
        self.partitions_owned = self._gauge("partitions_owned", "Partitions this worker owns")
        self.partitions_stopped = self._gauge("partitions_stopped", "Partitions stopped", "code")
        # Tries of an event's decision that failed and were counted; most end well at the next try or are set aside.
        self.attempts = self._counter("failed_attempts", "Failed tries of a decision")
        # Events set aside by this process, and those that wait for a person now, dead letters of the partition.
        self.set_aside = self._counter("dead_letters", "Events set aside")
        self.dead_letters_open = self._gauge("dead_letters_open", "Dead letters that wait for a person", "partition")
        # 1 while the store answers but does not finish the transaction of one single record.
        self.transaction_too_heavy = self._gauge(
            "transaction_too_heavy", "A record's transaction that the store does not finish", "partition"
        )
        # 1 while the partition's watermark is ahead of the wall clock: nothing is erased by its age meanwhile.
        self.retention_waits = self._gauge("retention_waits", "Retention waits for the wall clock", "partition")
        # Transactions rolled back because another owner had moved the offset.
        self.fences_lost = self._counter("fences_lost", "Batches that met a moved fence")

    def _declare_relay(self) -> None:
        # Trail rows not yet acknowledged by the outcomes topic.
        self.relay_lag = self._gauge("relay_lag_rows", "Trail rows not yet published", "partition")
        # The same of dead letters and their topic.
        self.dead_letter_lag = self._gauge("dead_letter_lag_rows", "Dead letters not yet published", "partition")

    def forget_partition(self, partition: int) -> None:
        """Takes away the gauges of a partition that another worker owns now."""
        for gauge in (
            self.watermark_lag,
            self.log_lag,
            self.held,
            self.relay_lag,
            self.dead_letter_lag,
            self.dead_letters_open,
            self.transaction_too_heavy,
        ):
            with suppress(KeyError):
                gauge.remove(str(partition))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"mealtrail_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"mealtrail_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"mealtrail_{name}", text, labels, buckets=buckets, registry=self.registry)

    def exposition(self) -> bytes:
        """All metrics in the text format, of type CONTENT_TYPE."""
        return generate_latest(self.registry)
