"""What a rebuild came to, and how far the store had come that it is held against."""

from __future__ import annotations

from dataclasses import dataclass, field

from consumers.rebuild_comparison import Comparison


@dataclass(frozen=True, slots=True)
class Reached:
    """How far another store of the same log came: a partition's `next`, the number of its last dead letter, the head of
    its chain.
    """

    next: int
    dead_seq: int
    seq: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltPartition:
    """One partition at the end."""

    partition: int
    next: int
    seq: int
    dead_letters: int
    unlike_list: int
    """Pairs that were listed and never met, or set aside without being listed: only where rules decide otherwise."""
    left: int | None
    """The offset whose decision fails and which is left to the consumers, or None."""
    comparison: Comparison
    is_other_chain: bool = False
    """Whether the store that it was held against ends with another row or another hash at the same `next`."""

    @property
    def same(self) -> bool:
        """Whether it is what was published, and what the store has that it was held against."""
        return self.comparison.same and not self.unlike_list and not self.is_other_chain


@dataclass(slots=True, kw_only=True)
class Rebuilt:
    """What a run did."""

    resumed: bool
    records: int
    let_go: bool
    """Whether consumers may work on the store now."""
    partitions: list[RebuiltPartition] = field(default_factory=list)
    beside: bool = False
    """Whether it was held against another store, which is at work."""

    @property
    def same(self) -> bool:
        """Whether every partition is what was published."""
        return all(partition.same for partition in self.partitions)
