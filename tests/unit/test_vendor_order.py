"""The vendor API's body: every documented field, whatever an order has or lacks."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.store.views import OrderView
from schemas.details import OrderDetails
from schemas.statuses import Fulfilment, OrderStatus
from service.facades.vendor_order import vendor_document
from service.facades.vendor_status import VENDOR_STATUSES
from tests.support.documented import paths_of, problems, with_extra, without
from tests.support.documented_vendor import VENDOR_EXAMPLE, VENDOR_SCHEMA
from tests.support.orders import DETAILS, order_view


def rendered(view: OrderView) -> Any:
    """The body as a client reads it."""
    return orjson.loads(orjson.dumps(vendor_document(view)))


def test_the_documents_own_example_passes_and_every_change_of_its_members_fails() -> None:
    """The schema is as strict as the document: any member gone or added is noticed, but for the two optional codes."""
    assert problems(VENDOR_SCHEMA, VENDOR_EXAMPLE) == []
    for path in paths_of(VENDOR_EXAMPLE):
        assert problems(VENDOR_SCHEMA, with_extra(VENDOR_EXAMPLE, path)), path
        is_optional = path[-1] in {"pickup_otp", "return_otp"}
        assert bool(problems(VENDOR_SCHEMA, without(VENDOR_EXAMPLE, path))) is not is_optional, path


def test_the_example_itself_comes_out_as_printed() -> None:
    """An order with the example's details is answered with the example, member by member, in its order."""
    data = VENDOR_EXAMPLE["data"]
    copied = (
        "service", "cash_amount", "subtotal", "total", "currency", "delivery_charge", "service_charge", "customer",
        "items", "payment_method", "delivery_method", "pickup_otp", "return_otp", "vendor",
    )  # fmt: skip
    details = OrderDetails.model_validate({name: data[name] for name in copied}).model_dump(mode="json")
    answer = rendered(
        order_view(order_id="ORDER_123", placed_us=1_735_689_600_000_000, restaurant="VENDOR_1", details=details)
    )
    assert answer == VENDOR_EXAMPLE
    assert list(answer["data"]) == list(data)


def test_an_order_without_details_has_every_field() -> None:
    """Defaults come from the order itself, else they are empty; nothing is null that the document has as a string."""
    answer = rendered(order_view(details={}))
    assert problems(VENDOR_SCHEMA, answer) == []
    data = answer["data"]
    assert data["vendor"] == {"id": "R1", "name": "R1", "featured_image": ""}
    assert data["customer"] == {"id": "", "name": ""}
    assert (data["print_order_number"], data["currency"], data["items"], data["total"]) == ("A-1", "XXX", [], 0)
    assert data["payment_method"]["key"] == "unknown"
    assert not {"pickup_otp", "return_otp"} & set(data)


def test_sums_are_derived_where_they_were_not_given() -> None:
    """Subtotal from the lines, total with the charges, quantity as text; given sums stay as given."""
    data = rendered(order_view(details=DETAILS))["data"]
    assert (data["subtotal"], data["total"], data["total_quantity"]) == (31.75, 36.75, "3.5")
    assert [item["quantity"] for item in data["items"]] == [2, 2]
    given = rendered(order_view(details={**DETAILS, "subtotal": "30", "total": "1.10"}))["data"]
    assert (given["subtotal"], given["total"]) == (30, 1.1)


def test_numbers_keep_all_their_digits() -> None:
    """21 digits of money arrive as they were sent, not as the nearest float."""
    raw = orjson.dumps(vendor_document(order_view(details={"total": "999999999999999.123456"})))
    assert b'"total":999999999999999.123456,' in raw


def test_an_empty_code_is_none() -> None:
    """A pick-up code without a character is left out."""
    data = rendered(order_view(details={"pickup_otp": "", "return_otp": "7"}))["data"]
    assert "pickup_otp" not in data
    assert data["return_otp"] == "7"


@pytest.mark.parametrize("status", OrderStatus)
def test_every_status_has_its_words(status: OrderStatus) -> None:
    """All seven are valid; what follows from them is derived."""
    data = rendered(order_view(status=status.value))["data"]
    assert problems(VENDOR_SCHEMA, {"data": data}) == []
    assert data["is_active"] is (status not in {OrderStatus.DELIVERED, OrderStatus.CANCELLED})
    assert data["can_mark_as_ready"] is (status in {OrderStatus.ACCEPTED_BY_RESTAURANT, OrderStatus.COOKING})


def test_pending_and_cancelled_are_as_documented() -> None:
    """The one is the example's object, the other has the key and the role that the document names."""
    pending = rendered(order_view(status="NEW"))["data"]["status"]
    assert pending == VENDOR_EXAMPLE["data"]["status"]
    cancelled = rendered(order_view(status="CANCELLED"))["data"]["status"]
    assert cancelled["key"] == "cancelled"
    assert cancelled["decoration"]["foreground_color"]["role"] == "error"
    assert cancelled["created_at"] == "2025-01-01T00:10:00+00:00"


def test_keys_and_aliases_name_one_status_each() -> None:
    """No word means two statuses."""
    words = [word for status in VENDOR_STATUSES.values() for word in (status.key, *status.aliases)]
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("fulfilment", "is_pickup", "method"),
    [
        (None, False, "delivery"),
        (Fulfilment.DELIVERY, False, "delivery"),
        (Fulfilment.OWN_DELIVERY, False, "own_delivery"),
        (Fulfilment.PICKUP, True, "pickup"),
        (Fulfilment.DINE_IN, False, "dine_in"),
    ],
)
def test_delivery_method_follows_the_fulfilment(fulfilment: Fulfilment | None, is_pickup: bool, method: str) -> None:
    """Unset counts as delivery; only a pickup is one."""
    data = rendered(order_view(fulfilment=fulfilment and fulfilment.value))["data"]
    assert (data["is_pickup"], data["delivery_method"]["id"]) == (is_pickup, method)


TEXTS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
AMOUNTS = st.none() | st.decimals(-(10**14), 10**14, places=6).map(str)
DETAILS_OF_ANY_KIND = st.fixed_dictionaries(
    {},
    optional={
        "service": TEXTS,
        "receipt_number": TEXTS,
        "currency": st.sampled_from([None, "LYD", "EUR"]),
        "total": AMOUNTS,
        "cash_amount": AMOUNTS,
        "customer": st.none() | st.fixed_dictionaries({}, optional={"name": TEXTS}),
        "items": st.none()
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "price": AMOUNTS,
                    "quantity": AMOUNTS,
                    "total_price": AMOUNTS,
                    "product": st.none() | st.fixed_dictionaries({}, optional={"name": TEXTS, "price": AMOUNTS}),
                },
            ),
            max_size=4,
        ),
        "payment_method": st.none() | st.fixed_dictionaries({}, optional={"key": TEXTS, "form": st.just({"a": [1]})}),
        "vendor": st.none() | st.fixed_dictionaries({}, optional={"name": TEXTS}),
        "pickup_otp": TEXTS,
    },
)


@settings(deadline=None)
@given(DETAILS_OF_ANY_KIND, st.sampled_from(OrderStatus), st.none() | st.sampled_from(Fulfilment))
def test_whatever_an_order_has_the_body_is_as_documented(
    details: dict[str, Any], status: OrderStatus, fulfilment: Fulfilment | None
) -> None:
    """Nulls and gaps anywhere in the details never show as a missing field or a wrong type."""
    view = order_view(details=details, status=status.value, fulfilment=fulfilment and fulfilment.value)
    assert problems(VENDOR_SCHEMA, rendered(view)) == []
