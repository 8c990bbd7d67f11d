"""The pages of the documented APIs are held against the code: the table of statuses, prefixes, tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.statuses import OrderStatus
from service.facades.storeharmony import CREATE_PATH, TRACK_PATH
from service.facades.storeharmony_location import NewStoreLocation, StoreFinancialInfo
from service.facades.vendor import ORDER_PATH
from service.facades.vendor_status import VENDOR_STATUSES
from tests.support.documents import ROOT
from tests.unit.test_docs import first_cells, table_cells

VENDOR = ROOT / "docs/vendor-api.md"
STOREHARMONY = ROOT / "docs/storeharmony-api.md"


def test_the_table_of_vendor_statuses_is_the_codes() -> None:
    """All seven statuses, each with exactly what the code answers."""
    expected = [
        [
            status.value,
            f"`{words.key}`",
            words.title,
            ", ".join(f"`{alias}`" for alias in words.aliases),
            words.role,
            str(words.is_active).lower(),
            str(words.can_mark_as_ready).lower(),
        ]
        for status, words in VENDOR_STATUSES.items()
    ]
    assert table_cells(VENDOR, "## What follows from the status") == expected
    assert [row[0] for row in expected] == [status.value for status in OrderStatus]


def test_every_member_of_a_creation_is_documented() -> None:
    """The page names all that the body may hold, and nothing else."""
    assert set(first_cells(STOREHARMONY, "## createNewLocation")) == set(NewStoreLocation.model_fields)
    rules = table_cells(STOREHARMONY, "## createNewLocation")[0][1]
    assert all(f"`{name}`" in rules for name in StoreFinancialInfo.model_fields)


@pytest.mark.parametrize(
    ("page", "path"), [(VENDOR, ORDER_PATH), (STOREHARMONY, CREATE_PATH), (STOREHARMONY, TRACK_PATH)]
)
def test_paths_are_documented(page: Path, path: str) -> None:
    """The page shows the path that the code serves."""
    text = page.read_text("utf-8")
    assert path.replace(":[^/]*", "") in text
