"""What an audit found: the words that all its parts share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypedDict

Check = Literal["chain", "anchor", "payload", "topic", "order", "receipt", "acts"]
"""What a finding came from: the chain in itself, an anchor, the bytes as received, the outcomes topic, what hangs on
the trail (orders, receipts), the acts of administration."""


class BadRow(TypedDict):
    """A place where something is not what was written, and how. Both numbers are None where it is no row's place."""

    partition: int | None
    seq: int | None
    problem: str
    check: Check


@dataclass(slots=True, kw_only=True)
class PayloadCounts:
    """Events of the trail by what is left of their bytes: compared with the digest, without a body of their own, or
    erased.
    """

    checked: int = 0
    without_body: int = 0
    erased: int = 0

    def add(self, other: PayloadCounts) -> None:
        """Count the other's too."""
        self.checked += other.checked
        self.without_body += other.without_body
        self.erased += other.erased


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainsReport:
    """What the chains showed. `rows` counts those found good; a partition is read no further than its first bad row.

    `heads` has the last seq and hash (hex) of each partition whose chain is good and not empty. `good` has these, the
    empty ones, and those of the log's that were never used. `bad` has the first finding of each partition and check.
    """

    rows: int
    partitions: int
    good: frozenset[int] = frozenset()
    heads: dict[int, tuple[int, str]] = field(default_factory=dict)
    payloads: PayloadCounts = field(default_factory=PayloadCounts)
    bad: tuple[BadRow, ...] = ()


def sort_findings(findings: Iterable[BadRow]) -> tuple[BadRow, ...]:
    """Findings by partition and row, those of no row last; of one place the chain's own comes first, as it was told."""
    far = 2**63
    return tuple(
        sorted(
            findings,
            key=lambda bad: (
                far if bad["partition"] is None else bad["partition"],
                far if bad["seq"] is None else bad["seq"],
            ),
        )
    )
