"""Ctrl-C in a command: it is cancelled once, closes what it opened, and ends with 130 and no traceback.

`asyncio.run` does the same, but in the middle of the work alone. A signal that comes while its event loop is being
made or closed is raised there as KeyboardInterrupt: that leaves half a loop, whose finaliser prints a traceback; and a
second one is raised wherever the clean-up happens to be. Here the signal is only noted, from before the loop is made
until after it is closed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from service.cli.exits import ExitCode

_SAME_KEY_S = 0.1
"""Wrappers such as timeout(1) pass on a signal that the terminal has sent to us too: that is one wish, not two."""

Made = TypeVar("Made")
Work = Callable[[], Coroutine[Any, Any, Made]]
MakeLoop = Callable[[], asyncio.AbstractEventLoop]


def run_command(work: Work[Made], *, loop_factory: MakeLoop | None = None) -> Made:
    """What the work returns, from an event loop of its own; blocks until it has ended.

    The first Ctrl-C cancels the work; when that has ended and the loop is closed, KeyboardInterrupt is raised. Work
    that ended all the same, or just before, has its result returned: what was done is told. A second Ctrl-C ends the
    process at once. Where Ctrl-C is ignored, or is somebody else's, it is left to them.
    """
    attended = _Attended(work)
    with attended.listening(), asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(attended.run())


class _Attended(Generic[Made]):
    """One piece of work, and whether Ctrl-C was pressed."""

    def __init__(self, work: Work[Made]) -> None:
        self._work = work
        self._task: asyncio.Task[Any] | None = None
        self._asked_at: float | None = None

    async def run(self) -> Made:
        """The work, unless Ctrl-C came before it. Raises KeyboardInterrupt in place of the cancellation."""
        self._task = asyncio.current_task()
        try:
            if self._asked_at is not None:
                raise asyncio.CancelledError
            return await self._work()
        finally:
            self._task = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Notes Ctrl-C for as long as the block takes; raises KeyboardInterrupt where the work was cancelled by it."""
        in_main = threading.current_thread() is threading.main_thread()
        if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            yield
            return
        signal.signal(signal.SIGINT, self._receive)
        try:
            yield
        except asyncio.CancelledError:
            if self._asked_at is None:
                raise
            raise KeyboardInterrupt from None
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _receive(self, _signum: int, _frame: object) -> None:
        now = time.monotonic()
        if self._asked_at is not None:
            if now - self._asked_at > _SAME_KEY_S:
                os._exit(ExitCode.INTERRUPTED)
            return
        self._asked_at = now
        if self._task is not None:
            # In the loop's own time: this runs between any two of its instructions.
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)
