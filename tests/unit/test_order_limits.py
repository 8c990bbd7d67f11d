"""What one sender can make an order hold, and what its waiting events cost."""

from __future__ import annotations

import orjson
import pytest

from consumers import details as details_module
from consumers.ledger import Ledger
from schemas.events import OrderAmended
from schemas.times import TimeMark
from tests.support.model import apply_all
from tests.support.received import event_record, logged, placed, source

PLATFORM = source("platform")
KITCHEN = source("restaurant", "r1")


def amended(**fields: object) -> OrderAmended:
    """An amendment without a time."""
    return OrderAmended.model_validate({"occurred_mark": TimeMark.MISSING, **fields})


def verdicts(ledger: Ledger) -> list[tuple[str, str | None]]:
    """Verdict and reason of every row."""
    return [(row.verdict, row.reason) for row, _ in ledger.changes.rows]


def test_details_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An amendment that would make the details too large is rejected and changes nothing; a smaller one counts."""
    monkeypatch.setattr(details_module, "MAX_DETAILS_BYTES", 200)
    ledger = apply_all(
        logged(
            [
                (event_record("o", placed(restaurant="r1"), PLATFORM), 1),
                (event_record("o", amended(details={"remarks": "x" * 100}), KITCHEN), 2),
                (event_record("o", amended(details={"table_title": "y" * 100}), KITCHEN), 3),
                (event_record("o", amended(details={"table_title": "y"}), KITCHEN), 4),
            ]
        )
    )
    assert verdicts(ledger) == [("applied", None), ("noted", None), ("rejected", "too_large"), ("noted", None)]
    assert ledger.details[("default", "o")].content == {"remarks": "x" * 100, "table_title": "y"}


def test_external_ids_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order takes so many external ids and no more, in announcements and amendments alike."""
    monkeypatch.setattr(details_module, "MAX_EXTERNAL_IDS", 2)
    announcement = placed(restaurant="r1").model_copy(update={"external_ids": ("a", "b", "c")})
    ledger = apply_all(
        logged(
            [
                (event_record("n", announcement, PLATFORM), 1),
                (event_record("o", placed(restaurant="r1"), PLATFORM), 2),
                (event_record("o", amended(external_ids=("a", "b")), KITCHEN), 3),
                (event_record("o", amended(external_ids=("c",)), KITCHEN), 4),
                (event_record("o", announcement, PLATFORM), 5),
                (event_record("o", amended(external_ids=("b",)), KITCHEN), 6),
            ]
        )
    )
    assert verdicts(ledger) == [
        ("rejected", "too_large"),
        ("applied", None),
        ("noted", None),
        ("rejected", "too_large"),
        ("rejected", "too_large"),
        ("noted", None),
    ]
    assert ("default", "n") not in ledger.orders
    assert ledger.details[("default", "o")].external_ids == {"a", "b"}
    assert orjson.dumps(ledger.details[("default", "o")].content) == b"{}"
