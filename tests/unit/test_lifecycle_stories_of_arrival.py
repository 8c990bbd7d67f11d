"""Rows 1 and 2 of the verdict table: events that come again, too early, or to the wrong order.

Every tale is also read by the oracle (`Tale.applied`). In the words of the trail, `(…)` is an inferred step and `? …` a
row outside the order's own history.
"""

from __future__ import annotations

import pytest

from schemas.verdicts import ReceiptState
from tests.support.oracle import Limits
from tests.support.received import START_MS, source
from tests.support.tale import (
    COURIER,
    HOUR,
    KITCHEN,
    MARKETPLACE,
    MINUTE,
    OPERATOR,
    OTHER_COURIER,
    PLATFORM,
    SECOND,
    Tale,
    placed,
)

# --- row 1: the same event again --------------------------------------------------------------------------------------


def test_a_repeat_is_absorbed_and_counted() -> None:
    """No row of its own; the receipt still tells of the first."""
    tale = (
        Tale()
        .announced()
        .reports(KITCHEN, "COOKING", event_id="e")
        .wait(HOUR)
        .reports(KITCHEN, "COOKING", event_id="e")
    )
    assert len(tale.trail()) == 3
    receipt = tale.receipt("e")
    assert (receipt.repeats, receipt.verdict, receipt.last_offset) == (1, "applied", 1)


def test_an_event_id_used_for_something_else_is_rejected_once() -> None:
    """Nothing is overwritten; the other content's repeats are absorbed, and so are the first one's."""
    tale = Tale().announced().reports(KITCHEN, "COOKING", event_id="e").reports(KITCHEN, "READY", event_id="e")
    assert tale.last() == "rejected event_id_reused"
    tale.reports(KITCHEN, "READY", event_id="e").reports(KITCHEN, "COOKING", event_id="e")
    assert tale.last() == "rejected event_id_reused"
    assert len(tale.trail()) == 4
    receipt = tale.receipt("e")
    assert (receipt.verdict, receipt.repeats, len(receipt.reused)) == ("applied", 1, 1)


def test_the_same_event_id_of_another_source_or_order_is_another_event() -> None:
    """Row 1 goes by source, order and event id."""
    tale = Tale().announced().announced(order="B")
    tale.reports(KITCHEN, "COOKING", event_id="e").reports(COURIER, "DELIVERED", event_id="e")
    tale.reports(KITCHEN, "COOKING", event_id="e", order="B")
    assert [words for words in tale.trail() if not words.startswith("(")][2:] == [
        "applied ACCEPTED_BY_RESTAURANT>COOKING",
        "applied TAKEN_BY_COURIER>DELIVERED",
        "applied ACCEPTED_BY_RESTAURANT>COOKING",
    ]


def test_order_not_found_can_be_tried_again() -> None:
    """A source that does not wait posts before the announcement, then again after it, under the same id."""
    kitchen = source("restaurant", "R1", hold_ms=0)
    tale = Tale().reports(kitchen, "COOKING", event_id="e")
    assert tale.trail() == ["? rejected order_not_found"]
    tale.announced().reports(kitchen, "COOKING", event_id="e")
    assert tale.last() == "applied ACCEPTED_BY_RESTAURANT>COOKING"
    assert (tale.receipt("e").first_offset, tale.receipt("e").last_offset) == (0, 2)


def test_an_illegal_move_can_be_tried_again_once_an_operator_changed_the_order() -> None:
    """Until then its repeats are duplicates."""
    tale = Tale().announced().reports(KITCHEN, "READY", at=0).wait(HOUR)
    tale.reports(KITCHEN, "COOKING", at=HOUR, event_id="e").reports(KITCHEN, "COOKING", at=HOUR, event_id="e")
    assert tale.last() == "rejected illegal_transition"
    assert tale.receipt("e").repeats == 1
    tale.reports(OPERATOR, "NEW").reports(KITCHEN, "COOKING", at=HOUR, event_id="e")
    assert tale.last() == "applied ACCEPTED_BY_RESTAURANT>COOKING"


def test_a_forbidden_move_can_be_tried_again_once_an_amendment_allowed_it() -> None:
    """The kitchen delivers itself, as it turns out."""
    tale = Tale().announced().reports(KITCHEN, "DELIVERED", event_id="e").reports(KITCHEN, "DELIVERED", event_id="e")
    assert tale.trail()[1:] == ["rejected role_not_permitted"]
    tale.amends(MARKETPLACE, fulfilment="own_delivery").reports(KITCHEN, "DELIVERED", event_id="e")
    assert tale.last() == "applied TAKEN_BY_COURIER>DELIVERED"


def test_an_announcement_that_fills_in_something_is_no_amendment() -> None:
    """A rejection stays what it is; a new event id is a new question."""
    tale = Tale().announced().reports(KITCHEN, "DELIVERED", event_id="e")
    tale.announced(fulfilment="own_delivery").reports(KITCHEN, "DELIVERED", event_id="e")
    assert tale.trail()[1:] == ["rejected role_not_permitted", "noted"]
    assert tale.reports(KITCHEN, "DELIVERED").last() == "applied TAKEN_BY_COURIER>DELIVERED"


# --- row 2: unknown and foreign orders --------------------------------------------------------------------------------


def test_only_marketplaces_and_platforms_announce() -> None:
    """NEW of an unknown order from anybody else is refused at once, an operator's too."""
    for by in (KITCHEN, COURIER, OPERATOR):
        assert Tale().reports(by, "NEW").trail() == ["? rejected role_not_permitted"]
    assert Tale().announced(KITCHEN).trail() == ["? rejected role_not_permitted"]
    for by in (MARKETPLACE, PLATFORM):
        assert Tale().reports(by, "NEW").trail() == ["applied >NEW"]


def test_a_marketplace_that_announces_an_order_is_that_orders_marketplace() -> None:
    """Whether it names itself, another or nobody."""
    for named in ({}, {"marketplace": "M2"}, {"marketplace": "M1"}):
        assert Tale().send(MARKETPLACE, placed(named)).rows()[0].marketplace == "M1"
    two = source("marketplace", "M1", "M2")
    assert Tale().send(two, placed({"marketplace": "M2"})).rows()[0].marketplace == "M2"
    assert Tale().reports(MARKETPLACE, "NEW").rows()[0].marketplace == "M1"


def test_early_events_wait_for_the_announcement_and_are_decided_in_log_order() -> None:
    """No verdict while they wait; then each gets its own, as if they had come after."""
    tale = Tale().reports(KITCHEN, "COOKING", event_id="e").wait(SECOND).reports(COURIER, "TAKEN_BY_COURIER")
    assert tale.trail() == []
    assert tale.receipt("e").state is ReceiptState.HELD
    tale.wait(SECOND).announced()
    assert tale.trail() == [
        "applied >NEW",
        "(applied NEW>ACCEPTED_BY_RESTAURANT)",
        "applied ACCEPTED_BY_RESTAURANT>COOKING",
        "(applied COOKING>READY)",
        "applied READY>TAKEN_BY_COURIER",
    ]
    assert {row.decided_ms for row in tale.rows()} == {START_MS + 2 * SECOND}
    assert [row.received_ms - START_MS for row in tale.rows()] == [2 * SECOND, 0, 0, SECOND, SECOND]


def test_a_hold_ends_at_exactly_its_deadline() -> None:
    """A tick a millisecond before does nothing; at the deadline the event is rejected, before the record in hand."""
    kitchen = source("restaurant", "R1", hold_ms=MINUTE)
    tale = Tale().reports(kitchen, "COOKING").wait(MINUTE - 1).tick().tick()
    assert tale.trail() == []
    tale.wait(1).announced()
    assert tale.trail() == ["? rejected order_not_found", "applied >NEW"]


def test_holds_end_in_the_order_of_their_deadlines() -> None:
    """Then by offset; a long wait that began first ends last."""
    patient, hasty = (source("restaurant", party, hold_ms=ms) for party, ms in (("R1", HOUR), ("R2", MINUTE)))
    tale = Tale().reports(patient, "COOKING").reports(hasty, "COOKING").reports(hasty, "READY").wait(2 * HOUR).tick()
    assert [row.offset for row in tale.rows()] == [1, 2, 0]


def test_log_time_that_goes_back_moves_no_deadline() -> None:
    """The watermark never goes back: a hold begins at it, whatever the record's own log time says."""
    kitchen = source("restaurant", "R1", hold_ms=MINUTE)
    tale = Tale().wait(HOUR).tick().wait(-HOUR).reports(kitchen, "COOKING").wait(HOUR + MINUTE - 1).tick()
    assert tale.trail() == []
    assert tale.wait(1).tick().trail() == ["? rejected order_not_found"]


def test_a_retry_does_not_extend_a_hold() -> None:
    """A held event that comes again is a duplicate."""
    kitchen = source("restaurant", "R1", hold_ms=MINUTE)
    tale = Tale().reports(kitchen, "COOKING", event_id="e").wait(MINUTE - 1).reports(kitchen, "COOKING", event_id="e")
    assert tale.trail() == []
    tale.wait(1).tick()
    assert tale.trail() == ["? rejected order_not_found"]
    assert tale.receipt("e").repeats == 1


def test_other_content_under_a_held_events_id_leaves_it_waiting() -> None:
    """The reuse is rejected outside any history; what waits gets its own verdict later."""
    tale = Tale().reports(KITCHEN, "COOKING", event_id="e").reports(KITCHEN, "READY", event_id="e")
    assert tale.trail() == ["? rejected event_id_reused"]
    assert tale.receipt("e").state is ReceiptState.HELD
    assert tale.announced().last() == "applied ACCEPTED_BY_RESTAURANT>COOKING"


def test_an_event_tried_again_after_its_hold_waits_anew_and_keeps_its_place() -> None:
    """Its place in the log is where it came first: what passed the status since did so later."""
    courier = source("courier", "C1", hold_ms=MINUTE)
    tale = Tale().announced(restaurant="R1").reports(courier, "TAKEN_BY_COURIER", at=HOUR, event_id="e").wait(MINUTE)
    tale.reports(PLATFORM, "DELIVERED")
    for _ in range(2):
        tale.reports(courier, "TAKEN_BY_COURIER", at=HOUR, event_id="e")
    assert tale.receipt("e").state is ReceiptState.HELD
    assert (tale.receipt("e").first_offset, tale.receipt("e").last_offset, tale.receipt("e").repeats) == (1, 3, 1)
    assert tale.wait(MINUTE - 1).tick().trail()[1] == "? rejected not_your_order"
    assert tale.amends(OPERATOR, courier="C1").trail()[-2:] == ["noted", "late"]


def test_an_event_tried_again_is_as_old_as_its_first_attempt() -> None:
    """Refused before an operator's correction, it does not undo that correction when it comes again."""
    courier = source("courier", "C1", hold_ms=0)
    tale = Tale().announced(restaurant="R1").reports(courier, "TAKEN_BY_COURIER", event_id="e")
    tale.reports(PLATFORM, "TAKEN_BY_COURIER").reports(OPERATOR, "READY").amends(OPERATOR, courier="C1")
    assert tale.reports(courier, "TAKEN_BY_COURIER", event_id="e").last() == "late undone_by_operator"


def test_an_announcement_that_does_not_name_the_source_leaves_its_hold_and_deadline() -> None:
    """The order is known now, yet not the courier's: at the old deadline the reason is another one."""
    courier = source("courier", "C2", hold_ms=MINUTE)
    tale = Tale().reports(courier, "DELIVERED").wait(MINUTE - 1).announced().wait(1).tick()
    assert tale.trail() == ["applied >NEW", "? rejected not_your_order"]


def test_a_courier_named_after_its_first_callback() -> None:
    """It waited as foreign; the amendment that names it lets it count."""
    tale = Tale().announced(restaurant="R1", marketplace="M1").reports(COURIER, "TAKEN_BY_COURIER")
    assert tale.trail() == ["applied >NEW"]
    tale.amends(MARKETPLACE, courier="C1")
    assert tale.trail()[1] == "noted"
    assert tale.last() == "applied READY>TAKEN_BY_COURIER"


def test_a_held_event_that_changes_the_parties_lets_the_others_be_decided_again() -> None:
    """In log order from the beginning, even those before it."""
    second = source("marketplace", "M2")
    tale = Tale().reports(COURIER, "TAKEN_BY_COURIER").amends(second, courier="C1").reports(KITCHEN, "READY")
    tale.announced(restaurant="R1", marketplace="M2")
    assert [row.offset for row in tale.rows() if not row.inferred] == [3, 1, 0, 2]
    assert tale.last() == "late"


def test_an_unknown_and_a_foreign_order_look_the_same_and_leave_no_trace_in_the_history() -> None:
    """No status, no party, no amendment reaches the sender or the order."""
    stranger = source("restaurant", "R9", hold_ms=0)
    tale = Tale().announced().reports(stranger, "CANCELLED", event_id="e").reports(stranger, "CANCELLED", order="Z")
    known, unknown = tale.rows()[1:]
    assert tale.trail()[1:] == ["? rejected not_your_order", "? rejected order_not_found"]
    for row in (known, unknown):
        assert (row.from_status, row.to_status, row.previous_received_ms) == (None, None, None)
        assert (row.restaurant, row.courier, row.marketplace, row.fulfilment) == (None, None, None, None)
    assert (tale.receipt("e").foreign, tale.receipt("e").from_status, tale.receipt("e").to_status) == (True, None, None)
    assert tale.applied().orders[("default", "A")].status == "NEW"


def test_a_source_may_keep_only_so_many_events_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its limit its events are rejected at once; other sources still wait, and room comes back."""
    monkeypatch.setattr("consumers.deciding.HOLDS_PER_SOURCE", 2)
    tale = Tale(limits=Limits(holds_per_source=2))
    for order in ("A", "B", "C"):
        tale.reports(KITCHEN, "COOKING", order=order)
    assert tale.trail() == ["? rejected order_not_found"]
    tale.reports(COURIER, "TAKEN_BY_COURIER", order="C").announced(order="A").reports(KITCHEN, "READY", order="C")
    assert [row.order_id for row in tale.rows() if row.verdict == "rejected"] == ["C"]


def test_platforms_and_sources_that_speak_for_all_are_never_foreign() -> None:
    """Their events need no party on the order."""
    tale = Tale().announced(restaurant="R9")
    for by, step in (
        (source("restaurant"), "COOKING"),
        (source("courier"), "TAKEN_BY_COURIER"),
        (PLATFORM, "DELIVERED"),
    ):
        assert tale.reports(by, step).last().startswith("applied")


def test_a_stranger_does_not_learn_whether_an_order_exists() -> None:
    """Who may not announce gets the same answer for an unknown order and for another restaurant's."""
    unknown = Tale().reports(OTHER_COURIER, "NEW")
    foreign = Tale().announced().reports(OTHER_COURIER, "NEW")
    assert unknown.last() == foreign.last() == "? rejected role_not_permitted"
