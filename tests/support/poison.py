"""Decisions that fail on purpose: a fault of the release, put in and taken out while tests look on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from consumers import deciding
from consumers.lifecycle import Decision, Situation, decide

Fails = Callable[[Situation], bool]


class FaultyRelease:
    """While `fails` says so, deciding raises; `tries` counts how often it did. `repair` ends it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: Fails) -> None:
        self._fails: Fails | None = fails
        self.tries = 0
        monkeypatch.setattr(deciding, "decide", self._decide_or_fail)

    def repair(self) -> None:
        """The next release is out."""
        self._fails = None

    def _decide_or_fail(self, situation: Situation) -> Decision:
        if self._fails is not None and self._fails(situation):
            self.tries += 1
            raise ZeroDivisionError("somebody's telephone number")
        return decide(situation)
