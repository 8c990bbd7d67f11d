"""What `make bench` fills stores with: the rows, the names and the questions about them."""

from __future__ import annotations

import pytest

from backbone.eventlog.port import LogRecord
from benchmarks.apply.bound import upsert_sql
from benchmarks.apply.hot_orders import HotOrders, order_name
from benchmarks.apply.prepared import PreparedBatch, prepare
from benchmarks.apply.records import Story
from benchmarks.audit.chains import ChainCopies
from benchmarks.growth.figure import sizes_up_to
from benchmarks.growth.fill import Filled, copy_sql, make_base
from benchmarks.growth.queries import make_paths
from schemas.canonical import GENESIS
from schemas.outcomes import STORED_NAMES, hash_values

_NOW_MS = 1_790_000_000_000
_COLUMNS = 30


@pytest.fixture(scope="module")
def base() -> list[PreparedBatch]:
    """A short story in three partitions, prepared as one batch each."""
    return make_base(partitions=3, now_ms=_NOW_MS, events=300)


def _log(count: int, partitions: int) -> list[LogRecord]:
    offsets, records = [0] * partitions, []
    for number, new in enumerate(HotOrders(5, partitions=partitions).records(count)):
        at, offsets[new.partition] = offsets[new.partition], offsets[new.partition] + 1
        records.append(LogRecord(new.partition, at, _NOW_MS + number, new.key, new.value, new.headers))
    return records


def test_batches_of_a_partition_follow_each_other() -> None:
    """Contiguous offsets and numbers, the partitions taking turns, the last batch shorter."""
    story = [
        LogRecord(0, offset, _NOW_MS + offset, new.key, new.value, new.headers)
        for offset, new in enumerate(Story(partitions=1).records(25))
    ]
    batches = prepare(story, batch_size=10)
    assert [(batch.start, batch.end) for batch in batches] == [(0, 10), (10, 20), (20, 25)]
    numbers = [row[1] for batch in batches for row in batch.copied["trail"]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [batch.head[2] for batch in batches][-1] == len(numbers)


def test_what_is_more_than_moves_cannot_be_prepared() -> None:
    """Events that wait for their order would be held: the bound has no counterpart."""
    with pytest.raises(ValueError, match="does more than to move orders"):
        prepare([record for record in _log(20, 1) if record.offset > 0], batch_size=10)


def test_hot_events_fall_on_so_many_orders() -> None:
    """One order is one key; five are at most five."""
    assert {new.key for new in HotOrders(1, partitions=12).records(50)} == {f"default:{order_name(0)}".encode()}
    assert len({new.key for new in HotOrders(5, partitions=12).records(200)}) == 5


def test_an_upsert_names_no_key_among_its_updates() -> None:
    """Its keys are matched, its other columns replaced, by the types of the tables."""
    sql = upsert_sql("order_details")
    assert sql.startswith('INSERT INTO order_details ("workspace", "order_id", "details", "erased")')
    assert "unnest($1::text[], $2::text[], $3::text[], $4::boolean[])" in sql
    assert sql.endswith('DO UPDATE SET "details" = excluded."details", "erased" = excluded."erased"')


def test_copies_continue_one_chain(base: list[PreparedBatch]) -> None:
    """Two copies of a partition are one trail without gaps, every hash over the one before it."""
    chain, previous, seq = ChainCopies(base[0]), GENESIS, 0
    columns = [name.strip('"') for name in copy_sql("trail").partition("(")[2].partition(")")[0].split(", ")]
    order = [columns.index(name) for name in STORED_NAMES]
    for _ in range(2):
        for row in chain.rows()["trail"]:
            seq += 1
            previous = hash_values(previous, [row[place] for place in order])
            assert (row[columns.index("seq")], row[-1]) == (seq, previous)
    assert chain.head[3:] == (seq, seq, previous)
    assert len(columns) == _COLUMNS


def test_copies_share_no_key(base: list[PreparedBatch]) -> None:
    """Orders, receipts and payloads of two copies are different rows."""
    chain = ChainCopies(base[0])
    first, second = chain.rows(), chain.rows()
    for table, width in (("receipts", 2), ("orders", 2), ("order_parties", 4), ("event_payloads", 3)):
        assert not {row[:width] for row in first[table]} & {row[:width] for row in second[table]}


def test_only_a_whole_log_can_be_copied() -> None:
    """A batch from the middle of a partition has offsets that copies would tear apart."""
    story = [
        LogRecord(0, offset, _NOW_MS, new.key, new.value, new.headers)
        for offset, new in enumerate(Story(partitions=1).records(20))
    ]
    with pytest.raises(ValueError, match="whole log"):
        ChainCopies(prepare(story, batch_size=10)[1])


@pytest.mark.parametrize(
    ("most", "sizes"), [(1, [10_000]), (99_999, [10_000]), (1_000_000, [10_000, 100_000, 1_000_000])]
)
def test_growth_goes_by_powers_of_ten(most: int, sizes: list[int]) -> None:
    """From one copy of the fill to the most that was asked for."""
    assert sizes_up_to(most) == sizes


@pytest.mark.parametrize("copies", [1, 2, 106, 1060])
def test_questions_are_about_orders_that_are_there(copies: int) -> None:
    """Orders of the fill's copies, and restaurants that some copy made."""
    filled = Filled(rows=10, copies=copies, order_ids=("A", "B"), seconds=1.0)
    paths = make_paths(filled, count=50)
    orders = {f"/v1/orders/{name}.{copy}" for name in filled.order_ids for copy in range(1, copies + 1)}
    assert set(paths["order"]) <= orders
    small = {path.rpartition("-")[2] for path in paths["restaurant"] if path.count("-") == 2}
    assert all(int(copy) <= copies and int(copy) % 3 for copy in small)
