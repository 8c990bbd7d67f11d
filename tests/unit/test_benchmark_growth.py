"""What the growth figure of `make bench` makes of its measurements."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from benchmarks.growth.fill import Filled
from benchmarks.growth.queries import PLOTTED, make_paths
from benchmarks.growth.reading import StoreRead
from benchmarks.growth.tables import latency_chart, latency_listings, size_listing
from benchmarks.model import Listing
from benchmarks.summary import Summary

_SIZES = (10_000, 100_000)


def _stores() -> list[Any]:
    return [
        SimpleNamespace(filled=Filled(rows, rows // 10_000, ("A",), 2.0), bytes=rows * 2000, name=f"{rows:,} rows")
        for rows in _SIZES
    ]


def _reads(factor: float) -> list[StoreRead]:
    """Two rounds of reads; in the larger store each takes so much longer."""
    reads = []
    for store, times in zip(_stores(), (1.0, factor), strict=True):
        kinds = make_paths(store.filled, count=1) if store.filled.copies > 0 else {}
        rounds = [{kind: [times * ms for ms in (1.0, 2.0, 4.0)] for kind in kinds} for _ in range(2)]
        reads.append(StoreRead(cast("Any", None), cast("Any", None), store.filled, name=store.name, rounds=rounds))
    return reads


def test_reads_are_listed_by_size_with_their_growth() -> None:
    """A row a kind, a column a size, and the largest over the smallest, round by round."""
    p50, p99 = latency_listings(_stores(), _reads(1.5))
    assert p50.columns == ("reads, p50, ms", "10,000 rows", "100,000 rows", "last / first")
    assert p50.rows[0] == ("order", 2.0, 3.0, Summary(1.5, 1.5, 1.5))
    assert p99.rows[0] == ("order", 4.0, 6.0, Summary(1.5, 1.5, 1.5))
    assert _reads(1.5)[1].order_p99s() == [6.0, 6.0]


def test_the_plot_shows_what_a_missing_index_would_slow_down() -> None:
    """Every plotted kind is one that is asked for, at every size."""
    chart = latency_chart(_stores(), _reads(1.0))
    assert [series.name for series in chart.series] == list(PLOTTED)
    assert all([point.x for point in series.points] == list(_SIZES) for series in chart.series)


def test_a_fill_is_told_with_its_weight() -> None:
    """Rows, seconds and bytes a row."""
    listing: Listing = size_listing(_stores())
    assert listing.rows[1] == ("10 copies", 100_000.0, 2.0, 100_000 * 2000 / 2**30, 2000.0)
