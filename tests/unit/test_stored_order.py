"""What the documented APIs read of stored orders: whatever is stored is shown."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.details import OrderDetails, merge_patch
from schemas.times import PLAUSIBLE_AHEAD_US, PLAUSIBLE_FROM_US
from service.facades.stored_order import believed_placed_us, read_details
from service.facades.storeharmony_tracking import tracking_document
from service.facades.vendor_order import vendor_document
from tests.support.documented import problems
from tests.support.documented_storeharmony import TRACKING_SCHEMA
from tests.support.documented_vendor import VENDOR_SCHEMA
from tests.support.orders import DETAILS, order_view

LOGGED_MS = 1_735_689_600_000


def assert_shown(details: Any) -> None:
    """Both documents of an order with these details are as documented."""
    view = order_view(details=details)
    assert problems(VENDOR_SCHEMA, orjson.loads(orjson.dumps(vendor_document(view)))) == []
    assert problems(TRACKING_SCHEMA, orjson.loads(orjson.dumps(tracking_document(view)))) == []


def test_what_amendments_merged_is_shown_whole() -> None:
    """The door measures each request; what they come to together is not measured again."""
    form = {str(number): "x" * 10_000 for number in range(5)}
    view = order_view(details={"payment_method": {"form": form}})
    assert vendor_document(view)["data"]["payment_method"]["form"] == form


def test_what_cannot_be_read_is_left_out_alone() -> None:
    """Its neighbours stay, in lists too."""
    items = [{"id": "1", "price": "free", "quantity": "2"}, 7, {"id": "3", "product": {"images": ["a", 5, "b", None]}}]
    details = read_details(order_view(details={"total": "5", "later": 1, "currency": "lyd", "items": items}))
    assert details.model_dump(exclude_none=True, mode="json") == {
        "total": "5",
        "items": [{"id": "1", "quantity": "2"}, {"id": "3", "product": {"images": ["a", "b"]}}],
    }


@pytest.mark.parametrize("details", [[], None, "text", 5, {"items": {"0": {}}}, {"items": [[]] * 600}])
def test_details_of_another_kind_count_as_none(details: Any) -> None:
    """Not even an object, or no list."""
    assert read_details(order_view(details=details)) == OrderDetails()
    assert_shown(details)


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=5) | st.sampled_from(["12.5", "LYD", "x" * 2001, "x" * 20_000])
LEAVES = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | FLOATS | TEXTS
NAMES = st.sampled_from(
    sorted(
        {*OrderDetails.model_fields, "id", "name", "price", "product", "images", "options", "form", "customizations"}
    )
)
ANY = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=2), inner, max_size=4),
    max_leaves=15,
)
OBJECTS = st.dictionaries(NAMES, ANY, max_size=6)


@settings(deadline=None)
@given(OBJECTS)
def test_any_stored_json_is_shown(details: dict[str, Any]) -> None:
    """From whatever version or hand it comes."""
    assert_shown(orjson.loads(orjson.dumps(details)))


@settings(deadline=None)
@given(st.lists(OBJECTS | st.fixed_dictionaries({"payment_method": OBJECTS, "items": st.lists(OBJECTS, max_size=3)})))
def test_any_merged_amendments_are_shown(patches: list[dict[str, Any]]) -> None:
    """Patches upon patches, whatever they leave."""
    details = DETAILS
    for patch in patches:
        details = merge_patch(details, patch)
    assert_shown(orjson.loads(orjson.dumps(details)))


@pytest.mark.parametrize(
    ("claimed", "is_believed"),
    [
        (None, False),
        (PLAUSIBLE_FROM_US - 1, False),
        (PLAUSIBLE_FROM_US, True),
        (LOGGED_MS * 1000 + PLAUSIBLE_AHEAD_US, True),
        (LOGGED_MS * 1000 + PLAUSIBLE_AHEAD_US + 1, False),
    ],
)
def test_an_implausible_time_gives_way_to_the_logs(claimed: int | None, is_believed: bool) -> None:
    """The same bounds as everywhere, in both documents."""
    view = order_view(placed_us=claimed, announced_ms=LOGGED_MS)
    assert believed_placed_us(view) == (claimed if is_believed else LOGGED_MS * 1000)
    if not is_believed:
        assert vendor_document(view)["data"]["created_at"] == "2025-01-01T00:00:00+00:00"
        assert tracking_document(view)["orderDate"] == "2025-01-01T00:00:00Z"
