"""An ownership listener that remembers what it was told."""

import asyncio
from collections.abc import Collection


class RecordingListener:
    """Holds the partitions owned now, and every call in order."""

    def __init__(self) -> None:
        self.owned: set[int] = set()
        self.calls: list[tuple[str, tuple[int, ...]]] = []
        self.hold_on: asyncio.Event | None = None
        self.let_go = 0

    def gained(self, partitions: Collection[int]) -> None:
        """Notes the partitions."""
        self.calls.append(("gained", tuple(partitions)))
        self.owned |= set(partitions)

    async def lost(self, partitions: Collection[int]) -> None:
        """Notes the partitions; waits for `hold_on` when one is set."""
        self.calls.append(("lost", tuple(partitions)))
        self.owned -= set(partitions)
        if self.hold_on is not None:
            await self.hold_on.wait()
        self.let_go += 1
