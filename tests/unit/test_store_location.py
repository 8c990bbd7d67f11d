"""createNewStoreLocation's body and answer, without a server."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from backbone.store.accounts import StoreLocation
from schemas.errors import MalformedEvent
from service.bodies.validation import read_model
from service.facades.storeharmony_location import NewStoreLocation, location_document
from tests.support.documented import paths_of, problems, with_extra
from tests.support.documented_storeharmony import LOCATION_SCHEMA, NEVER_SENT, NEW_LOCATION_EXAMPLE

FULL: dict[str, Any] = {
    **NEW_LOCATION_EXAMPLE,
    "storeinfo": {"taxRate": 7.5, "vatType": "inclusive", "currency": "NGN"},
    "storeLocLat": "6.5095",
    "storeLocLng": "-3.3711",
}


def profile_of(body: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a body."""
    return read_model(NewStoreLocation, body).profile()


def answer_to(body: dict[str, Any]) -> Any:
    """The answer as a client reads it."""
    location = StoreLocation(store_id="st1", account_id="ac1", profile=profile_of(body), created_at=0)
    return orjson.loads(orjson.dumps(location_document(location, "mtl_1")))


def test_a_full_body_is_answered_in_documented_members_alone() -> None:
    """Types as documented, what was said comes back, and neither bank, password nor identity numbers."""
    answer = answer_to(FULL)
    assert problems(LOCATION_SCHEMA, answer) == []
    assert (answer["taxRate"], answer["taxType"], answer["currency"]) == (7.5, "inclusive", "NGN")
    assert (answer["storeGpsLatitude"], answer["storeGpsLongitude"]) == (6.5095, -3.3711)
    assert answer["id"] == answer["originalStoreId"] == "st1"
    assert answer["sessionId"] == answer["accessToken"] == "mtl_1"
    assert not set(NEVER_SENT) & {step for path in paths_of(answer) for step in path}
    for path in paths_of(answer):
        assert problems(LOCATION_SCHEMA, with_extra(answer, path)), path


def test_an_empty_body_is_a_store() -> None:
    """Every member is optional; what was not said is not in the answer."""
    assert set(answer_to({})) == {"accessToken", "sessionId", "originalStoreId", "success", "id"}


@pytest.mark.parametrize(
    ("storeinfo", "field"),
    [
        ({"vatType": "inclusive", "currency": "NGN"}, "storeinfo.taxRate"),
        ({"taxRate": 1, "currency": "NGN"}, "storeinfo.vatType"),
        ({"taxRate": 1, "vatType": "inclusive"}, "storeinfo.currency"),
        ({"taxRate": None, "vatType": "inclusive", "currency": "NGN"}, "storeinfo.taxRate"),
        ({"taxRate": -0.01, "vatType": "inclusive", "currency": "NGN"}, "storeinfo.taxRate"),
        ({"taxRate": 100.01, "vatType": "inclusive", "currency": "NGN"}, "storeinfo.taxRate"),
        ({"taxRate": "7", "vatType": "inclusive", "currency": "NGN"}, "storeinfo.taxRate"),
        ({"taxRate": True, "vatType": "inclusive", "currency": "NGN"}, "storeinfo.taxRate"),
        ({"taxRate": 1, "vatType": "Inclusive", "currency": "NGN"}, "storeinfo.vatType"),
        ({"taxRate": 1, "vatType": "inclusive|exclusive", "currency": "NGN"}, "storeinfo.vatType"),
        ({"taxRate": 1, "vatType": "not-exclusive", "currency": "NGN"}, "storeinfo.vatType"),
        ({"taxRate": 1, "vatType": "exclusive", "currency": "ngn"}, "storeinfo.currency"),
        ({"taxRate": 1, "vatType": "exclusive", "currency": "NGNX"}, "storeinfo.currency"),
        ({"taxRate": 1, "vatType": "exclusive", "currency": "NGN\n"}, "storeinfo.currency"),
        ("text", "storeinfo"),
        ([], "storeinfo"),
    ],
)
def test_storeinfo_is_refused_by_its_own_rules(storeinfo: object, field: str) -> None:
    """All three members, each within its bounds, or none of it."""
    with pytest.raises(MalformedEvent) as refused:
        profile_of({"storeinfo": storeinfo})
    assert [name for name, _ in refused.value.errors] == [field]


@pytest.mark.parametrize("name", [name for name in NEW_LOCATION_EXAMPLE if name != "storeinfo"])
def test_other_members_are_refused_by_type(name: str) -> None:
    """A text is a text and the number of users an integer of 32 bits."""
    wrong: list[object] = [True, {}, [], 1.5, *(["1", 2**31] if name == "storeUsers" else [1, "x" * 2001])]
    for value in wrong:
        with pytest.raises(MalformedEvent):
            profile_of({name: value})


@pytest.mark.parametrize("rate", [0, 100, 0.15, 7])
def test_bounds_of_the_rate_are_within(rate: float) -> None:
    """0 and 100 are taken, and come back as they were sent."""
    storeinfo = {"taxRate": rate, "vatType": "exclusive", "currency": "EUR"}
    assert answer_to({"storeinfo": storeinfo})["taxRate"] == rate


def test_the_same_creation_in_another_spelling_is_the_same() -> None:
    """Order, nulls, unknown members and the spelling of numbers make no other store; a value does."""
    storeinfo = {"taxRate": 7, "vatType": "inclusive", "currency": "NGN"}
    one = profile_of({"storeinfo": storeinfo, "storeName": "A"})
    same = {"storeName": "A", "email": None, "coupon": 1, "storeinfo": {**storeinfo, "taxRate": 7.0, "more": 1}}
    assert profile_of(same) == one
    assert profile_of({"storeinfo": storeinfo, "storeName": "B"}) != one


@pytest.mark.parametrize("text", ["north", "", "nan", "inf", "91", "1e400", "\u0661", "1_0"])
def test_a_coordinate_that_is_none_is_not_sent_as_a_number(text: str) -> None:
    """Kept as text, as the document has it, and left out of the answer."""
    answer = answer_to({"storeLocLat": text})
    assert "storeGpsLatitude" not in answer
    assert "features" not in answer
