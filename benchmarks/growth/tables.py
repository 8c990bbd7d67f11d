"""What growth looks like: latencies by rows, and what the stores weigh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from benchmarks.growth.fill import Filled
from benchmarks.growth.reading import StoreRead
from benchmarks.model import Chart, Listing, Point, Series
from benchmarks.summary import summarise


class Grown(Protocol):
    """A filled database."""

    @property
    def filled(self) -> Filled:
        """What lies in it."""

    @property
    def bytes(self) -> int:
        """What it weighs after filling."""


def latency_charts(stores: Sequence[Grown], reads: Sequence[StoreRead]) -> list[Chart]:
    """p50 and p99 of every kind of read."""
    return [
        Chart(
            title=f"reads, {label}, by rows",
            x_label="rows of the trail",
            y_label="ms",
            series=tuple(
                Series(
                    kind,
                    tuple(
                        Point(store.filled.rows, summarise(read.percentiles(kind, share)))
                        for store, read in zip(stores, reads, strict=True)
                    ),
                )
                for kind in reads[0].kinds()
            ),
        )
        for label, share in (("p50", 0.5), ("p99", 0.99))
    ]


def size_listing(stores: Sequence[Grown]) -> Listing:
    """What was filled, how long that took, and what it weighs."""
    columns = ("filled", "rows of the trail", "seconds", "GiB", "bytes a row, all tables")
    rows = tuple(
        (
            f"{store.filled.copies:,} copies",
            float(store.filled.rows),
            store.filled.seconds,
            store.bytes / 2**30,
            store.bytes / store.filled.rows,
        )
        for store in stores
    )
    return Listing("", columns, rows)
