"""The open loop by a clock that the tests turn, and both loops against a real server on this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from aiohttp import web

from benchmarks.ingress.connection import Connection, connect
from benchmarks.ingress.load import ClosedLoop
from benchmarks.ingress.open_loop import OpenLoop, Schedule, drive
from tests.support.waiting import wait_until


class _Clock:
    """Stands until it is turned."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class _Wire:
    """A connection that notes what it sends."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.number = -1

    def send(self, request: bytes, number: int = -1) -> None:
        self.sent.append(request)
        self.number = number


def _loop(clock: _Clock, *, count: int, wires: int, rate: float = 10.0) -> tuple[OpenLoop, list[_Wire]]:
    made = [_Wire() for _ in range(wires)]
    loop = OpenLoop(Schedule(100.0, rate, count), [b"a", b"b"], clock=clock)
    loop.add(cast("list[Connection]", made))
    return loop, made


def _answer(loop: OpenLoop, wire: _Wire, status: bytes = b"202") -> None:
    loop.answered(cast("Connection", wire), status, b"")


def test_due_times_do_not_drift() -> None:
    """The millionth is due exactly when the rate says, not after a million small errors."""
    schedule = Schedule(5.0, 1000.0, 1_000_001)
    assert schedule.due(0) == 5.0
    assert schedule.due(1_000_000) == 1005.0


def test_nothing_leaves_before_it_is_due() -> None:
    """The first at once; then it says when the next is due, and sends it then."""
    clock = _Clock()
    loop, wires = _loop(clock, count=3, wires=3)
    assert loop.send_due() == pytest.approx(100.1)
    assert sum(len(wire.sent) for wire in wires) == 1
    clock.now = 100.15
    assert loop.send_due() == pytest.approx(100.2)
    assert sum(len(wire.sent) for wire in wires) == 2
    assert loop.lag_s[1] == pytest.approx(0.05)


def test_what_fell_due_together_leaves_together() -> None:
    """After a pause everything due is sent, each charged with its own lateness, and requests repeat in order."""
    clock = _Clock()
    loop, wires = _loop(clock, count=3, wires=3)
    clock.now = 100.25
    assert loop.send_due() is None
    assert [wire.sent for wire in reversed(wires)] == [[b"a"], [b"b"], [b"a"]]
    assert list(loop.lag_s) == pytest.approx([0.25, 0.15, 0.05])


def test_a_stalled_server_is_charged_from_when_requests_were_due() -> None:
    """One connection, an answer after half a second: the request that waited for it has waited 0.4 s already."""
    clock = _Clock()
    loop, (wire,) = _loop(clock, count=2, wires=1)
    loop.send_due()
    clock.now = 100.1
    assert loop.send_due() is None  # it waits for the connection
    clock.now = 100.5
    _answer(loop, wire)
    assert wire.sent == [b"a", b"b"]
    clock.now = 100.6
    _answer(loop, wire)
    assert list(loop.latency_s) == pytest.approx([0.5, 0.5])
    assert list(loop.lag_s) == pytest.approx([0.0, 0.0])  # the generator itself was never late
    assert loop.done.is_set()


def test_a_late_generator_makes_the_latency_worse() -> None:
    """Its lateness is told apart as lag, and is part of the latency all the same."""
    clock = _Clock()
    loop, (wire,) = _loop(clock, count=1, wires=1)
    clock.now = 100.25
    loop.send_due()
    clock.now = 100.3
    _answer(loop, wire)
    assert loop.latency_s[0] == pytest.approx(0.3)
    assert loop.lag_s[0] == pytest.approx(0.25)


def test_what_cannot_be_sent_for_a_second_is_dropped() -> None:
    """And counted; what is younger is still sent."""
    clock = _Clock()
    loop, (wire,) = _loop(clock, count=12, wires=1)
    loop.send_due()
    clock.now = 101.15
    _answer(loop, wire)
    assert loop.dropped == 1
    assert wire.number == 2
    assert loop.latency_s[1] < 0
    assert loop.lag_s[1] < 0


def test_other_answers_have_no_latency() -> None:
    """They are counted by status, and the run goes on."""
    loop, (wire,) = _loop(_Clock(), count=1, wires=1)
    loop.send_due()
    _answer(loop, wire, b"503")
    assert loop.statuses == {b"503": 1}
    assert loop.latency_s[0] < 0
    assert loop.done.is_set()


def test_a_schedule_begins_when_everything_is_ready() -> None:
    """What was prepared before is nobody's lateness."""
    clock = _Clock()
    loop, _ = _loop(clock, count=1, wires=1)
    clock.now = 107.0
    loop.begin_at(107.5)
    assert loop.send_due() == pytest.approx(107.5)
    clock.now = 107.5
    loop.send_due()
    assert loop.lag_s[0] == pytest.approx(0.0)


def test_a_lost_connection_ends_the_run() -> None:
    """It would wait for its answer for good; after the end nobody minds."""
    loop, (wire,) = _loop(_Clock(), count=2, wires=1)
    loop.send_due()
    loop.lost(cast("Connection", wire))
    assert loop.done.is_set()
    loop.lost(cast("Connection", wire))
    assert loop.losses == 1


def test_an_idle_connection_may_end() -> None:
    """A server closes what was not used for a while; what is left goes on."""
    loop, (first, last) = _loop(_Clock(), count=1, wires=2)
    loop.lost(cast("Connection", last))
    loop.send_due()
    assert (first.sent, last.sent, loop.losses) == ([b"a"], [], 0)


class _Notes:
    """Whoever calls: notes what it is told."""

    def __init__(self) -> None:
        self.answers: list[tuple[bytes, bytes]] = []

    def answered(self, _connection: Connection, status: bytes, body: bytes) -> None:
        self.answers.append((status, body))

    def lost(self, _connection: Connection) -> None: ...


def test_an_answer_counts_when_it_is_whole() -> None:
    """However it is cut on the way."""
    notes = _Notes()
    connection = Connection(notes)
    for piece in (b"HTTP/1.1 202 Acc", b"epted\r\nContent-Length: 4\r\n\r\n", b"ab", b"cd"):
        assert notes.answers == []
        connection.data_received(piece)
    connection.data_received(b"HTTP/1.1 503 No\r\ncontent-length:0\r\n\r\n")
    assert notes.answers == [(b"202", b"abcd"), (b"503", b"")]


@asynccontextmanager
async def _server() -> AsyncIterator[tuple[int, list[str]]]:
    """A port that answers 202 to any POST, and the paths it was asked for."""
    asked: list[str] = []

    async def post(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=202, text="{}")

    app = web.Application()
    app.router.add_post("/{any:.*}", post)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    try:
        yield cast("asyncio.Server", site._server).sockets[0].getsockname()[1], asked
    finally:
        await runner.cleanup()


_REQUEST = b"POST /hook HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n"


async def test_the_open_loop_sends_all_that_is_due() -> None:
    """Every request reaches a real server once, and each has its latency."""
    async with _server() as (port, asked):
        loop = OpenLoop(Schedule(time.monotonic(), 500.0, 50), [_REQUEST], clock=time.monotonic)
        connections = await connect(loop, port, 4)
        loop.add(connections)
        loop.begin_at(time.monotonic())
        await drive(loop, timeout=20)
        for connection in connections:
            connection.close()
    assert len(asked) == loop.statuses[b"202"] == 50
    assert min(loop.latency_s) > 0


async def test_the_closed_loop_asks_again_after_each_answer() -> None:
    """Until it is told to stop; then every answer is waited for."""
    async with _server() as (port, asked):
        load = ClosedLoop([_REQUEST])
        connections = await connect(load, port, 3)
        load.begin(connections)
        await wait_until(lambda: len(asked) >= 30)
        load.is_running = False
        async with asyncio.timeout(20):
            await load.all_answered.wait()
        for connection in connections:
            connection.close()
    assert load.statuses[b"202"] == len(asked)
    assert load.losses == 0
