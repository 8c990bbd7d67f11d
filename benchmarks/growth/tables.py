"""What growth looks like: latencies by rows, and what the stores weigh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from benchmarks.growth.fill import Filled
from benchmarks.growth.queries import PLOTTED
from benchmarks.growth.reading import StoreRead
from benchmarks.model import Cell, Chart, Listing, Point, Series
from benchmarks.summary import ratios, summarise


class Grown(Protocol):
    """A filled database."""

    @property
    def filled(self) -> Filled:
        """What lies in it."""

    @property
    def bytes(self) -> int:
        """What it weighs after filling."""


def latency_listings(stores: Sequence[Grown], reads: Sequence[StoreRead]) -> list[Listing]:
    """p50 and p99 of every kind of read, a column a size, and the largest store's over the smallest's."""
    sizes = tuple(f"{store.filled.rows:,} rows" for store in stores)
    return [
        Listing(
            "",
            (f"reads, {label}, ms", *sizes, "last / first"),
            tuple(_latencies(kind, share, reads) for kind in reads[0].kinds()),
        )
        for label, share in (("p50", 0.5), ("p99", 0.99))
    ]


def _latencies(kind: str, share: float, reads: Sequence[StoreRead]) -> tuple[Cell, ...]:
    measured = [read.percentiles(kind, share) for read in reads]
    return (kind, *(summarise(of_store).median for of_store in measured), summarise(ratios(measured[-1], measured[0])))


def latency_chart(stores: Sequence[Grown], reads: Sequence[StoreRead]) -> Chart:
    """p99 of the reads that most is hung on, to be drawn."""
    return Chart(
        title="reads, p99, by rows",
        x_label="rows of the trail",
        y_label="ms",
        series=tuple(
            Series(
                kind,
                tuple(
                    Point(store.filled.rows, summarise(read.percentiles(kind, 0.99)))
                    for store, read in zip(stores, reads, strict=True)
                ),
            )
            for kind in PLOTTED
        ),
    )


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
