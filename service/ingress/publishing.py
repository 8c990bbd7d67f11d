"""Into the log and back with receipts: the step between an accepted request and its 202."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiohttp import web
from prometheus_client import Counter

from backbone.eventlog.port import EventLog
from backbone.metrics import Metrics
from backbone.store.sources import Source
from schemas.errors import LogUnavailable
from schemas.identifiers import ReceiptId
from service.dialects.port import ParsedEvent, Taken
from service.ingress.stamping import stamp
from service.request_notes import notes_of

APPEND_FAILURE_COUNTS_S = 10.0
"""How long a failed append speaks for the log; after that it takes another one to know."""


class AppendOutcome:
    """How the latest append of this process ended. For readiness: a log may answer every question and store nothing,
    such as one whose disk is full.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._failed_at = float("-inf")

    def stored(self) -> None:
        """An append was acknowledged."""
        self._failed_at = float("-inf")

    def failed(self) -> None:
        """An append ended without acknowledgement."""
        self._failed_at = self._monotonic()

    def check(self) -> None:
        """Raises LogUnavailable when the latest append failed within the last 10 s."""
        if self._monotonic() - self._failed_at < APPEND_FAILURE_COUNTS_S:
            raise LogUnavailable("the latest append failed, and none succeeded since")


class Publisher:
    """Appends the events of a request and gives back what the partner may keep of them."""

    def __init__(
        self,
        log: EventLog,
        *,
        topic: str,
        partitions: int,
        public_url: str | None,
        metrics: Metrics,
        outcome: AppendOutcome,
        monotonic: Callable[[], float],
    ) -> None:
        self._log = log
        self._topic = topic
        self._partitions = partitions
        self._prefix = (public_url or "").rstrip("/")
        self._metrics = metrics
        self._outcome = outcome
        self._monotonic = monotonic
        self._accepted: dict[str, Counter] = {}

    async def publish(
        self, request: web.Request, source: Source, events: Sequence[ParsedEvent], raw: bytes
    ) -> list[Taken]:
        """Returns when all events lie in the log for good. Raises LogUnavailable: the outcome is then unknown, and a
        repeat is absorbed by the event ids.
        """
        stamped = stamp(
            events, source, raw, partitions=self._partitions, traceparent=request.headers.get("traceparent")
        )
        notes = notes_of(request)
        notes.event_id, notes.order_id, notes.events = events[0].event_id, events[0].order_id, len(events)
        notes.partition = stamped[0].record.partition
        begun = self._monotonic()
        try:
            positions = await self._log.append(self._topic, [item.record for item in stamped])
        except LogUnavailable:
            self._metrics.publish_unknown.inc()
            self._outcome.failed()
            raise
        self._outcome.stored()
        self._metrics.publish_seconds.observe(self._monotonic() - begun)
        self._accepted_of(source).inc(len(events))
        notes.offset = positions[0].offset
        return [
            Taken(parsed.order_id, parsed.event_id, str(ReceiptId(at.partition, at.offset, item.digest)))
            for parsed, item, at in zip(events, stamped, positions, strict=True)
        ]

    def _accepted_of(self, source: Source) -> Counter:
        counter = self._accepted.get(source.name)
        if counter is None:
            counter = self._accepted[source.name] = self._metrics.accepted.labels(source.name)
        return counter

    def location(self, taken: Taken) -> str:
        """The receipt's address, absolute where the public URL is known."""
        return f"{self._prefix}/v1/receipts/{taken.receipt_id}"
