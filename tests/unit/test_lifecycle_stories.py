"""Orders' lives as they happen: the usual way, and rows 3 and 4 of the verdict table.

Every tale is also read by the oracle (`Tale.applied`). In the words of the trail, `(…)` is an inferred step and `? …` a
row outside the order's own history.
"""

from __future__ import annotations

from datetime import datetime

import pytest

from schemas.events import OrderAmended
from schemas.times import TimeMark, micros
from tests.support.tale import (
    COURIER,
    KITCHEN,
    MARKETPLACE,
    MINUTE,
    OPERATOR,
    OTHER_COURIER,
    PLATFORM,
    Tale,
    placed,
)

# --- the way of an order ----------------------------------------------------------------------------------------------


def test_an_order_from_announcement_to_delivery() -> None:
    """Everyone reports their own steps, one after the other."""
    tale = Tale().announced(MARKETPLACE)
    for by, step in (
        (KITCHEN, "ACCEPTED_BY_RESTAURANT"),
        (KITCHEN, "COOKING"),
        (KITCHEN, "READY"),
        (COURIER, "TAKEN_BY_COURIER"),
        (COURIER, "DELIVERED"),
    ):
        tale.wait(MINUTE).reports(by, step)
    assert tale.trail() == [
        "applied >NEW",
        "applied NEW>ACCEPTED_BY_RESTAURANT",
        "applied ACCEPTED_BY_RESTAURANT>COOKING",
        "applied COOKING>READY",
        "applied READY>TAKEN_BY_COURIER",
        "applied TAKEN_BY_COURIER>DELIVERED",
    ]
    assert [row.seq for row in tale.rows()] == [1, 2, 3, 4, 5, 6]


def test_steps_passed_over_are_inferred_and_their_own_webhooks_confirm_them() -> None:
    """A courier who takes the food tells us that it was ready; the kitchen's own reports are late, not illegal."""
    tale = Tale().announced().reports(COURIER, "TAKEN_BY_COURIER")
    assert tale.trail()[1:] == [
        "(applied NEW>ACCEPTED_BY_RESTAURANT)",
        "(applied ACCEPTED_BY_RESTAURANT>COOKING)",
        "(applied COOKING>READY)",
        "applied READY>TAKEN_BY_COURIER",
    ]
    assert tale.reports(KITCHEN, "READY").last() == "late"


@pytest.mark.parametrize("fulfilment", ["pickup", "dine_in"])
def test_a_collected_order_leaves_the_courier_out(fulfilment: str) -> None:
    """The restaurant delivers it itself; nobody is inferred to have taken it away, and being told so is noted."""
    tale = Tale().announced(fulfilment=fulfilment).reports(KITCHEN, "COOKING").reports(KITCHEN, "DELIVERED")
    assert tale.trail()[-2:] == ["(applied COOKING>READY)", "applied READY>DELIVERED"]
    assert tale.reports(COURIER, "TAKEN_BY_COURIER").last() == "noted"
    assert tale.reports(OPERATOR, "TAKEN_BY_COURIER").last() == "noted"


def test_the_specifications_own_example_cancels_an_order() -> None:
    """Dated 1937 with an offset of twenty minutes: its time is implausible, its cancellation counts."""
    when = datetime.fromisoformat("1937-01-01T12:00:27.870000+00:20")
    tale = Tale().announced().reports(MARKETPLACE, "READY").reports(MARKETPLACE, "CANCELLED", at_us=micros(when))
    row = tale.rows()[-1]
    assert tale.last() == "applied READY>CANCELLED"
    assert (row.occurred_mark, row.occurred_us) == (TimeMark.IMPLAUSIBLE, micros(when))


# --- rows 3 and 4: facts, amendments, permissions ---------------------------------------------------------------------


def test_facts_are_noted_and_move_nothing() -> None:
    """An ETA, an unknown code, and a courier who gave up: the order lives on."""
    tale = Tale().announced().fact(COURIER, "eta").fact(KITCHEN, "X-77").reports(COURIER, "CANCELLED")
    assert tale.trail()[1:] == ["noted", "noted", "noted"]
    assert tale.reports(KITCHEN, "READY").last() == "applied COOKING>READY"
    assert [row.fact for row in tale.rows()][1:3] == ["eta", "X-77"]


def test_an_announcement_of_a_known_order_fills_what_is_missing_and_nothing_else() -> None:
    """What the order has stays, and NEW does not take it back."""
    tale = Tale().announced(restaurant="R1").reports(KITCHEN, "READY")
    tale.announced(restaurant="R2", courier="C1", fulfilment="own_delivery").reports(PLATFORM, "NEW")
    row = tale.rows()[-1]
    assert tale.trail()[-2:] == ["noted", "noted"]
    assert (row.restaurant, row.courier, row.fulfilment, row.to_status) == ("R1", "C1", "own_delivery", "READY")
    assert tale.reports(COURIER, "DELIVERED").last() == "applied TAKEN_BY_COURIER>DELIVERED"


def test_details_are_merged_and_filled() -> None:
    """An amendment patches them, a later announcement fills only what is missing; a restaurant may amend them."""
    tale = Tale().send(PLATFORM, placed({"restaurant": "R1"}, details={"remarks": "none", "total": "5"}))
    patch = OrderAmended(details={"remarks": None, "total": "6"}, occurred_mark=TimeMark.MISSING)
    tale.send(KITCHEN, patch).send(PLATFORM, placed({}, details={"total": "7", "currency": "EUR"}))
    assert tale.applied().details[("default", "A")].content == {"total": "6", "currency": "EUR"}


def test_who_may_amend_what() -> None:
    """Couriers nothing, restaurants details only, since fulfilment decides what a restaurant may do."""
    details = OrderAmended(details={"remarks": "ring twice"}, occurred_mark=TimeMark.MISSING)
    assert Tale().announced().send(KITCHEN, details).last() == "noted"
    assert Tale().announced().send(COURIER, details).last() == "rejected role_not_permitted"
    for by, verdict in ((KITCHEN, "rejected role_not_permitted"), (MARKETPLACE, "noted"), (OPERATOR, "noted")):
        assert Tale().announced().amends(by, courier="C2").last() == verdict
        assert Tale().announced().amends(by, fulfilment="own_delivery").last() == verdict


def test_moves_that_a_role_may_not_make() -> None:
    """Whatever the order's status."""
    for by, step in ((COURIER, "READY"), (KITCHEN, "NEW"), (KITCHEN, "TAKEN_BY_COURIER"), (KITCHEN, "DELIVERED")):
        assert Tale().announced().reports(by, step).last() == "rejected role_not_permitted"
    tale = Tale().announced().reports(COURIER, "DELIVERED").reports(KITCHEN, "CANCELLED")
    assert tale.last() == "rejected role_not_permitted"
    assert tale.reports(MARKETPLACE, "CANCELLED").last() == "applied DELIVERED>CANCELLED"


def test_a_courier_replaced() -> None:
    """The former one's facts, repeats and late events count, its moves ahead do not."""
    tale = Tale().announced().reports(COURIER, "TAKEN_BY_COURIER", at=0).wait(MINUTE)
    tale.amends(MARKETPLACE, courier="C2").fact(COURIER, "handed_over").reports(COURIER, "TAKEN_BY_COURIER")
    assert tale.trail()[-2:] == ["noted", "repeated"]
    assert tale.reports(COURIER, "DELIVERED").last() == "rejected not_your_order"
    assert tale.reports(COURIER, "CANCELLED").last() == "noted"
    assert tale.reports(OTHER_COURIER, "DELIVERED").last() == "applied TAKEN_BY_COURIER>DELIVERED"
    assert tale.reports(COURIER, "TAKEN_BY_COURIER", at=1).last() == "late"
    assert tale.applied().orders[("default", "A")].former == {"courier": ("C1",)}


def test_a_former_party_that_comes_back_is_former_no_more() -> None:
    """Its rejected move may be tried again under the same id."""
    tale = Tale().announced().amends(MARKETPLACE, courier="C2").reports(COURIER, "DELIVERED", event_id="e")
    assert tale.last() == "rejected not_your_order"
    tale.amends(MARKETPLACE, courier="C1").reports(COURIER, "DELIVERED", event_id="e")
    assert tale.last() == "applied TAKEN_BY_COURIER>DELIVERED"
    assert tale.reports(OTHER_COURIER, "TAKEN_BY_COURIER").last() == "late"


def test_a_replaced_marketplace_neither_amends_nor_fills() -> None:
    """Its amendment is refused, its announcement noted without effect."""
    tale = Tale().announced(restaurant="R1", marketplace="M1").amends(MARKETPLACE, marketplace="M2")
    assert tale.amends(MARKETPLACE, courier="C1").last() == "rejected not_your_order"
    assert tale.announced(MARKETPLACE, courier="C1", marketplace="M1").last() == "noted"
    assert (tale.rows()[-1].courier, tale.rows()[-1].marketplace) == (None, "M2")
