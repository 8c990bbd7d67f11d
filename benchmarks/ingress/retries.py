"""Patience with a load generator that was late: such a run tells of the machine, not of the contender."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.ingress.open_run import GeneratorLateError

ATTEMPTS = 3
T = TypeVar("T")


@dataclass(slots=True)
class Retries:
    """Counts the measurements of a figure that were made again."""

    count: int = 0

    async def patiently(self, measure: Callable[[], Awaitable[T]]) -> T:
        """A run in which the generator was on time. Raises what the run raises; GeneratorLateError only after three
        late ones.
        """
        for _ in range(ATTEMPTS - 1):
            try:
                return await measure()
            except GeneratorLateError:
                self.count += 1
        return await measure()

    def note(self) -> list[str]:
        """A line for the notes, if there is something to tell."""
        return [f"made again since the load generator was late: {self.count} measurements"] if self.count else []
