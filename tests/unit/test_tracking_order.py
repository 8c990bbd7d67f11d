"""The tracking API's body: what is known, in the documented types, and nothing null."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.store.views import OrderView
from schemas.statuses import OrderStatus
from service.facades.storeharmony_tracking import tracking_document
from tests.support.documented import paths_of, problems, with_extra
from tests.support.documented_storeharmony import TRACKING_EXAMPLE, TRACKING_SCHEMA
from tests.support.orders import DETAILS, order_view


def rendered(view: OrderView) -> Any:
    """The body as a client reads it."""
    return orjson.loads(orjson.dumps(tracking_document(view)))


def test_the_documents_own_example_passes_and_an_extra_member_fails() -> None:
    """Every member is optional there; one that is not documented is noticed wherever it stands."""
    assert problems(TRACKING_SCHEMA, TRACKING_EXAMPLE) == []
    for path in paths_of(TRACKING_EXAMPLE):
        assert problems(TRACKING_SCHEMA, with_extra(TRACKING_EXAMPLE, path)), path


def test_an_order_with_all_details_has_every_documented_member() -> None:
    """Nothing that the document names is missing when we know it."""
    items = [{**item, "product": {**item["product"], "featured_image": "b.png"}} for item in DETAILS["items"]]
    answer = rendered(order_view(details={**DETAILS, "items": items}, status="COOKING"))
    assert problems(TRACKING_SCHEMA, answer) == []
    assert set(answer) == set(TRACKING_EXAMPLE)
    assert set(answer["orderedItems"][0]) == set(TRACKING_EXAMPLE["orderedItems"][0])
    assert answer["orderDate"] == "2025-01-01T00:00:00Z"
    assert answer["orderedItems"][0] == {
        "itemId": "ITEM_1",
        "image": "b.png",
        "name": "Bazin",
        "description": "with lamb",
        "price": 12,
        "quantity": 2,
        "totalPrice": 25,
        "additionalOptions": ["no onions"],
    }
    assert (answer["orderedItems"][1]["quantity"], answer["orderedItems"][1]["totalPrice"]) == (1.5, 7)


def test_what_is_unknown_is_left_out() -> None:
    """An order without details has three members; the document allows no null."""
    assert set(rendered(order_view(details={}))) == {"orderConfirmed", "orderStatus", "orderDate"}
    assert rendered(order_view(details={"items": [{}]}))["orderedItems"] == [{}]


def test_amounts_beyond_the_documented_width_are_left_out() -> None:
    """A total over 32 bits is not cut; its price of 64 bits stays."""
    [item] = rendered(order_view(details={"items": [{"price": "3000000000", "quantity": "1"}]}))["orderedItems"]
    assert item == {"price": 3_000_000_000, "quantity": 1}


@pytest.mark.parametrize("status", OrderStatus)
def test_confirmed_follows_the_status(status: OrderStatus) -> None:
    """From the restaurant's acceptance on, and not once it is cancelled."""
    answer = rendered(order_view(status=status.value))
    assert answer["orderStatus"] == status.value
    assert answer["orderConfirmed"] is (status not in {OrderStatus.NEW, OrderStatus.CANCELLED})


AMOUNTS = st.none() | st.decimals(-(10**14), 10**14, places=6).map(str)
TEXTS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@settings(deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "price": AMOUNTS,
                "quantity": AMOUNTS,
                "total_price": AMOUNTS,
                "options": st.none() | st.lists(st.text(st.characters(codec="utf-8"), max_size=3), max_size=2),
                "product": st.none() | st.fixed_dictionaries({}, optional={"name": TEXTS, "price": AMOUNTS}),
            },
        ),
        max_size=4,
    ),
    TEXTS,
    st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999),
)
def test_whatever_an_order_has_the_body_is_as_documented(
    items: list[dict[str, Any]], remarks: str | None, placed_us: int
) -> None:
    """Gaps, nulls, large amounts, and times from year 1 to 9999 never show as a wrong type."""
    view = order_view(details={"items": items, "remarks": remarks}, placed_us=placed_us)
    assert problems(TRACKING_SCHEMA, rendered(view)) == []
