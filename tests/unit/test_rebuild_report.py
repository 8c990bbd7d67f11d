"""What a rebuild tells, in words and as a document."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from consumers.rebuild_comparison import Comparison, Difference
from consumers.rebuilt import Rebuilt, RebuiltPartition
from service.cli.rebuild_report import rebuild_document, rebuild_lines

TOLD: dict[str, Any] = {
    "order_id": "A-1",
    "event_id": "e1",
    "verdict": "rejected",
    "reason": "illegal_transition",
    "reported_status": "NEW",
    "from_status": "COOKING",
    "to_status": "COOKING",
    "inferred": False,
}


def partition(comparison: Comparison, **fields: Any) -> RebuiltPartition:
    """Partition 3 after five records."""
    made = RebuiltPartition(partition=3, next=5, seq=5, dead_letters=1, unlike_list=0, left=None, comparison=comparison)
    return replace(made, **fields)


def rebuilt(*partitions: RebuiltPartition, let_go: bool = False, resumed: bool = False) -> Rebuilt:
    """A run that applied five records."""
    return Rebuilt(resumed=resumed, records=5, let_go=let_go, partitions=list(partitions))


SAME = partition(Comparison(first_seq=1, last_seq=5, compared=5))
DIFFERENT = partition(
    Comparison(
        first_seq=1,
        last_seq=5,
        compared=5,
        differing=2,
        first_hash=4,
        first=Difference(4, "A-1", "e1", TOLD, {**TOLD, "verdict": "late", "reason": None, "from_status": None}),
    )
)


def test_a_rebuild_that_went_well_is_three_lines() -> None:
    """What it did, that it is the same, and what is still missing."""
    lines = rebuild_lines(rebuilt(SAME, let_go=True), "store.db")
    assert lines[:2] == [
        "rebuilt store.db: 5 records applied, 5 rows, 1 dead letters",
        "ok: 5 published outcomes compared, all the same; consumers may start",
    ]
    assert lines[2].startswith("not in the log, restore from a backup: sources, source_credentials")


def test_one_beside_a_store_at_work_says_what_was_compared() -> None:
    """Nobody is going to start on it, and nothing has to be restored."""
    assert rebuild_lines(replace(rebuilt(SAME, let_go=True), beside=True), "second")[1:] == [
        "ok: 5 published outcomes and the heads of the store at work compared, all the same"
    ]


def test_a_resumed_one_says_so() -> None:
    """Its count is of this run alone."""
    assert rebuild_lines(rebuilt(SAME, resumed=True), "x")[0].startswith("went on with x")


def test_a_difference_shows_both_sides() -> None:
    """And what to do; accepted differences are told apart."""
    text = "\n".join(rebuild_lines(rebuilt(DIFFERENT), "x"))
    assert "partition 3: 2 rows differ, the first one is row 4:" in text
    assert "published order 'A-1', event 'e1', rejected: illegal_transition, COOKING -> COOKING" in text
    assert "rebuilt   order 'A-1', event 'e1', late, - -> COOKING" in text
    assert "Nobody starts on this store" in text
    assert "as you accepted that" in "\n".join(rebuild_lines(rebuilt(DIFFERENT, let_go=True), "x"))


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (partition(Comparison(first_seq=9, last_seq=12, compared=4)), "begins at row 9; earlier rows are not compared"),
        (
            partition(Comparison(first_seq=1, last_seq=5, compared=4, missing=1, first_missing=2)),
            "leaves out 1 rows from 2",
        ),
        (
            partition(Comparison(first_seq=7, last_seq=9, compared=3, first_hash=7)),
            "from row 7 on the hashes differ and the rows say the same",
        ),
        (
            partition(Comparison(first_seq=1, last_seq=6, compared=6, differing=1, first_hash=6)),
            "from row 6",
        ),
        (partition(Comparison(), unlike_list=2), "2 events are set aside otherwise than listed"),
        (partition(Comparison(), left=5), "applied up to offset 5, where a decision fails"),
        (
            partition(
                Comparison(first_hash=6, differing=1, first=Difference(6, "A-1", "e1", TOLD, None)),
            ),
            "rebuilt   no such row",
        ),
    ],
)
def test_every_oddity_has_its_words(odd: RebuiltPartition, words: str) -> None:
    """None is passed over."""
    assert words in "\n".join(rebuild_lines(rebuilt(odd), "x"))


def test_the_document_is_json_and_complete() -> None:
    """Scripts find the first difference, and what was not rebuilt."""
    document = orjson.loads(orjson.dumps(rebuild_document(rebuilt(DIFFERENT, SAME), "x")))
    assert (document["ok"], document["rows"], document["dead_letters"]) == (False, 10, 2)
    first = document["partitions"][0]
    assert (first["first_difference"]["seq"], first["differing"], first["first_different_seq"]) == (4, 2, 4)
    assert first["first_difference"]["rebuilt"]["verdict"] == "late"
    assert document["partitions"][1]["first_difference"] is None
    assert "sources" in document["not_rebuilt"]
