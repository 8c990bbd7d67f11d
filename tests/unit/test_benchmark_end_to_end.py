"""What the end-to-end figures are made of: stories, verdicts seen, receipts asked for, and batches left open."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any, cast

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError
from aiokafka.producer.message_accumulator import BatchBuilder
from standardwebhooks.webhooks import Webhook

from backbone.eventlog.port import LogRecord
from benchmarks.end_to_end import watch as watch_module
from benchmarks.end_to_end.receipts import ReceiptSampler
from benchmarks.end_to_end.watch import Verdicts, Watch
from benchmarks.ingress.connection import Connection
from benchmarks.ingress.open_batches import OpenBatches
from benchmarks.ingress.servers import check_stored, make_secret
from benchmarks.ingress.webhooks import STEPS, UNDER_WAY, event_id, number_of, story, story_requests
from benchmarks.processes import MeasurementError
from tests.support.waiting import wait_until


def test_a_story_takes_every_order_through_its_whole_life() -> None:
    """Each in its order, from the announcement on, with the others between two steps."""
    lives: dict[int, list[str]] = defaultdict(list)
    for order, status in story(UNDER_WAY * len(STEPS) * 2):
        lives[order].append(status)
    assert len(lives) == UNDER_WAY * 2
    assert set(map(tuple, lives.values())) == {STEPS}


def test_the_requests_of_a_story_are_signed_and_numbered() -> None:
    """A partner's own library takes them, and the id tells which event it is, of which run."""
    secret = make_secret()
    first, second = story_requests(secret, port=8080, run="r1", count=2)
    head, _, body = second.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert Webhook(secret).verify(body, headers)["status"] == "NEW"
    assert number_of("r1", headers["webhook-id"]) == 1
    assert number_of("r2", headers["webhook-id"]) is None
    assert event_id("r1", 0).encode() in first


def _outcome(name: str, *, inferred: bool = False) -> LogRecord:
    value = orjson.dumps({"event_id": name, "inferred": inferred})
    return LogRecord(partition=0, offset=0, log_ms=0, key=None, value=value, headers=())


def test_a_verdict_is_seen_once() -> None:
    """A topic may repeat a record; inferred steps and other runs' events do not count."""
    now = [10.0]
    verdicts = Verdicts("r", clock=lambda: now[0])
    verdicts.take([_outcome(event_id("r", 3)), _outcome(event_id("r", 4), inferred=True), _outcome("evt_other_1")])
    now[0] = 20.0
    verdicts.take([_outcome(event_id("r", 3)), _outcome(event_id("r", 4))])
    assert verdicts.seen == {3: 10.0, 4: 20.0}


class _Tail:
    """Gives its records when the test says so."""

    def __init__(self) -> None:
        self.ready: asyncio.Queue[list[LogRecord]] = asyncio.Queue()

    async def read(self, *, max_records: int, timeout: float) -> list[LogRecord]:
        assert max_records > 0
        assert timeout > 0
        return await self.ready.get()

    async def stop(self) -> None: ...


async def test_a_verdict_counts_for_the_run_that_is_expected_when_it_is_read() -> None:
    """Also when the reading began before the run did; and the watch ends with what it could not read."""
    tail = _Tail()
    watch = Watch(tail, embedded=False)
    following = asyncio.create_task(watch.follow())
    await asyncio.sleep(0)  # it is reading now
    verdicts = watch.expect("r")
    tail.ready.put_nowait([_outcome(event_id("r", 0))])
    await watch.all_seen(1, following)
    assert set(verdicts.seen) == {0}
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch.all_seen(2, following)


async def test_a_run_whose_verdicts_do_not_all_come_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some time without any; where events were lost, that is no error but the end of it."""
    monkeypatch.setattr(watch_module, "_STALLED_S", 0.05)
    monkeypatch.setattr(watch_module, "_SETTLED_S", 0.05)
    watch = Watch(_Tail(), embedded=False)
    following = asyncio.create_task(watch.follow())
    watch.expect("r").take([_outcome(event_id("r", 0))])
    await watch.settled(following)
    with pytest.raises(MeasurementError, match="1 of 2 verdicts came"):
        await watch.all_seen(2, following)
    following.cancel()


class _Wire:
    """A connection that notes what it sends."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.number = -1

    def send(self, request: bytes, number: int = -1) -> None:
        self.sent.append(request)
        self.number = number


def _sampler(wires: list[_Wire], now: list[float]) -> ReceiptSampler:
    sampler = ReceiptSampler(port=80, token="mta_x", every=2, clock=lambda: now[0])
    sampler.add(cast("list[Connection]", wires))
    return sampler


async def test_a_receipt_is_asked_for_until_it_is_final() -> None:
    """Of every second event; held and pending ones again, over the same connection."""
    now, wire = [1.0], _Wire()
    sampler = _sampler([wire], now)
    sampler.accepted(1, b"not asked for")
    sampler.accepted(2, b'{"receipt_id":"abc"}')
    await wait_until(lambda: len(wire.sent) == 1)
    assert wire.sent[0].startswith(b"GET /v1/receipts/abc HTTP/1.1\r\n")
    sampler.answered(cast("Connection", wire), b"200", b'{"state":"pending"}')
    await wait_until(lambda: len(wire.sent) == 2)
    now[0] = 5.0
    sampler.answered(cast("Connection", wire), b"200", b'{"state":"final"}')
    await sampler.finish(timeout=1)
    assert (sampler.seen, sampler.failures) == ({2: 5.0}, [])


async def test_the_next_receipt_is_asked_for_when_it_is_about_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """At eight tenths of the time that the latest took: asking from the start would be a load of its own."""
    now, wire = [1.0], _Wire()
    sampler = _sampler([wire], now)
    asked_after: list[float] = []

    def call_later(delay: float, send: Callable[..., None], *arguments: object) -> None:
        asked_after.append(delay)
        send(*arguments)

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
    for number in (2, 4):
        sampler.accepted(number, b'{"receipt_id":"abc"}')
        now[0] += 0.5
        sampler.answered(cast("Connection", wire), b"200", b'{"state":"final"}')
    assert asked_after == pytest.approx([0.0, 0.4])


async def test_receipts_that_cannot_be_asked_for_are_failures() -> None:
    """Leaving out those that take long would make the figure better than it is."""
    wire = _Wire()
    sampler = _sampler([wire], [1.0])
    sampler.accepted(2, b'{"receipt_id":"abc"}')
    sampler.accepted(4, b'{"receipt_id":"def"}')
    await wait_until(lambda: len(wire.sent) == 1)
    sampler.answered(cast("Connection", wire), b"404", b"?")
    await sampler.finish(timeout=1)
    assert [failure[:14] for failure in sampler.failures] == ["more receipts ", "a receipt was "]


async def test_a_connection_that_ends_while_it_asks_is_a_failure() -> None:
    """An idle one is just not used any more."""
    first, last = _Wire(), _Wire()
    sampler = _sampler([first, last], [1.0])
    sampler.lost(cast("Connection", last))
    sampler.accepted(2, b'{"receipt_id":"abc"}')
    await wait_until(lambda: len(first.sent) == 1)
    assert sampler.failures == []
    sampler.lost(cast("Connection", first))
    await sampler.finish(timeout=1)
    assert sampler.failures == ["a connection was lost"]


def test_an_answer_without_its_record_is_an_error() -> None:
    """More records than answers are fine: a load that was cut off does not wait for answers."""
    assert check_stored("x", accepted=2, stored=3) == "x: 2 answered 202, 3 records in Kafka"
    with pytest.raises(MeasurementError, match="3 answered 202, 2 lie in Kafka"):
        check_stored("x", accepted=3, stored=2)


class _Producer:
    """Gives batches and takes them; the test says when they are stored."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, int, asyncio.Future[None]]] = []

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(400, 0)

    async def send_batch(self, batch: BatchBuilder, _topic: str, *, partition: int) -> asyncio.Future[None]:
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent.append((partition, batch.record_count(), stored))
        return stored


def _append(batches: OpenBatches, count: int, size: int = 10) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(batches.append(b"key", b"x" * size, [("h", b"v")])) for _ in range(count)]


async def test_what_comes_while_a_batch_is_on_its_way_gathers_in_the_next() -> None:
    """Nobody is told before the batch is stored, and the last one is sent as well."""
    producer: Any = _Producer()
    batches = OpenBatches(cast("AIOKafkaProducer", producer), "t", 1)
    first = _append(batches, 1)
    await wait_until(lambda: len(producer.sent) == 1)
    more = _append(batches, 3)
    await asyncio.sleep(0)
    assert len(producer.sent) == 1
    producer.sent[0][2].set_result(None)
    await wait_until(lambda: len(producer.sent) == 2)
    assert first[0].done()
    assert not any(task.done() for task in more)
    producer.sent[1][2].set_result(None)
    await asyncio.gather(*first, *more)
    assert [count for _, count, _ in producer.sent] == [1, 3]
    last = _append(batches, 1)
    await wait_until(lambda: len(producer.sent) == 3)
    producer.sent[2][2].set_result(None)
    await asyncio.gather(*last)


async def test_a_full_batch_is_followed_by_another() -> None:
    """They leave one after the other."""
    producer: Any = _Producer()
    batches = OpenBatches(cast("AIOKafkaProducer", producer), "t", 1)
    waiting = _append(batches, 4, size=150)
    await wait_until(lambda: len(producer.sent) == 1)
    producer.sent[0][2].set_result(None)
    await wait_until(lambda: len(producer.sent) == 2)
    producer.sent[1][2].set_result(None)
    await wait_until(lambda: all(task.done() for task in waiting) or len(producer.sent) == 3)
    for _, _, stored in producer.sent[2:]:
        stored.set_result(None)
    await asyncio.gather(*waiting)
    assert sum(count for _, count, _ in producer.sent) == 4


async def test_a_failed_batch_fails_those_who_wait_for_it() -> None:
    """And nobody else: the next one is sent."""
    producer: Any = _Producer()
    batches = OpenBatches(cast("AIOKafkaProducer", producer), "t", 1)
    (first,) = _append(batches, 1)
    await wait_until(lambda: len(producer.sent) == 1)
    (second,) = _append(batches, 1)
    await asyncio.sleep(0)
    producer.sent[0][2].set_exception(KafkaTimeoutError())
    with pytest.raises(KafkaTimeoutError):
        await first
    await wait_until(lambda: len(producer.sent) == 2)
    producer.sent[1][2].set_result(None)
    await second
