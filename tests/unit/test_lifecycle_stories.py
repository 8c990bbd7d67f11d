"""Orders' lives as they happen, one for each row of the verdict table and each promise around it.

Every tale is also read by the oracle (`Tale.applied`). In the words of the trail, `(…)` is an inferred step and `? …` a
row outside the order's own history.
"""

from __future__ import annotations

from datetime import datetime

import pytest

from schemas.events import OrderAmended
from schemas.times import TimeMark, micros
from schemas.verdicts import ReceiptState
from tests.support.received import START_MS, source, status
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
    assert (receipt.verdict, receipt.repeats, [*receipt.reused.values()]) == ("applied", 1, [(2, 3, 1)])


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
    monkeypatch.setattr("consumers.fold.HOLDS_PER_SOURCE", 2)
    tale = Tale(holds_per_source=2)
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


# --- rows 5 and 8: operators ------------------------------------------------------------------------------------------


def test_an_operator_moves_an_order_anywhere_without_inferred_steps() -> None:
    """Ahead, backward, into CANCELLED and out of it; the same status again is a repeat."""
    tale = Tale().announced()
    for step in ("READY", "COOKING", "CANCELLED", "NEW", "DELIVERED", "DELIVERED"):
        tale.reports(OPERATOR, step)
    assert tale.trail()[1:] == [
        "applied NEW>READY",
        "applied READY>COOKING",
        "applied COOKING>CANCELLED",
        "applied CANCELLED>NEW",
        "applied NEW>DELIVERED",
        "repeated",
    ]


def test_a_stale_retry_does_not_undo_a_correction() -> None:
    """What was claimed or logged before the operator took the status back is late; what comes after it counts."""
    tale = Tale().announced().reports(KITCHEN, "READY").wait(HOUR).reports(OPERATOR, "COOKING")
    assert tale.reports(MARKETPLACE, "READY", at=HOUR - 1).last() == "late undone_by_operator"
    assert tale.reports(MARKETPLACE, "READY", at=HOUR).last() == "applied COOKING>READY"


def test_an_event_that_waited_since_before_a_correction_is_stale() -> None:
    """Without a time of its own, its place in our log tells."""
    tale = Tale().announced(restaurant="R1").reports(COURIER, "TAKEN_BY_COURIER").reports(PLATFORM, "TAKEN_BY_COURIER")
    tale.reports(OPERATOR, "READY").amends(OPERATOR, courier="C1")
    assert tale.last() == "late undone_by_operator"
    assert tale.reports(COURIER, "TAKEN_BY_COURIER").last() == "applied READY>TAKEN_BY_COURIER"


def test_a_stale_cancellation_does_not_cancel_again() -> None:
    """The operator took CANCELLED back; its late copy from another sender changes nothing."""
    tale = Tale().announced().reports(MARKETPLACE, "CANCELLED").wait(HOUR).reports(OPERATOR, "NEW")
    assert tale.reports(KITCHEN, "CANCELLED", at=MINUTE).last() == "late undone_by_operator"
    assert tale.reports(KITCHEN, "CANCELLED").last() == "applied NEW>CANCELLED"


def test_reopening_further_back_undoes_what_was_reached_before_the_cancellation() -> None:
    """CANCELLED stands beside the chain: the order keeps how far it had come."""
    tale = Tale().announced().reports(KITCHEN, "READY").reports(MARKETPLACE, "CANCELLED").wait(HOUR)
    tale.reports(OPERATOR, "ACCEPTED_BY_RESTAURANT")
    assert tale.reports(KITCHEN, "READY", at=MINUTE).last() == "late undone_by_operator"
    assert tale.reports(COURIER, "TAKEN_BY_COURIER", at=MINUTE).last() == "applied READY>TAKEN_BY_COURIER"


def test_an_operator_cannot_wait_for_an_order() -> None:
    """A person is told at once."""
    assert Tale().reports(OPERATOR, "READY").trail() == ["? rejected order_not_found"]


# --- row 6: cancelled orders ------------------------------------------------------------------------------------------


def test_after_a_cancellation() -> None:
    """Again: repeated. Before it: late, with nothing moved. After it, or nobody knows when: closed."""
    tale = Tale().announced().reports(KITCHEN, "READY").wait(HOUR).reports(MARKETPLACE, "CANCELLED")
    assert tale.reports(KITCHEN, "CANCELLED").last() == "repeated"
    assert tale.reports(COURIER, "TAKEN_BY_COURIER", at=HOUR).last() == "late moved_before_cancellation"
    assert tale.reports(COURIER, "TAKEN_BY_COURIER", at=HOUR + 1).last() == "rejected order_closed"
    assert tale.reports(KITCHEN, "COOKING").last() == "rejected order_closed"
    assert tale.applied().changes.ahead_of_cancelled == 1


def test_what_waited_since_before_a_cancellation_is_late() -> None:
    """It has no time, but our own log has."""
    tale = Tale().announced(restaurant="R1", marketplace="M1").reports(COURIER, "TAKEN_BY_COURIER")
    tale.reports(MARKETPLACE, "CANCELLED").amends(MARKETPLACE, courier="C1")
    assert tale.last() == "late moved_before_cancellation"


def test_only_operators_leave_cancelled() -> None:
    """Nobody else, whatever they claim, and the former couriers' moves are judged like anybody's."""
    tale = Tale().announced().reports(MARKETPLACE, "CANCELLED")
    for by in (KITCHEN, COURIER, MARKETPLACE, PLATFORM):
        assert tale.reports(by, "DELIVERED" if by is not KITCHEN else "READY").last() == "rejected order_closed"
    tale.amends(MARKETPLACE, courier="C2")
    assert tale.reports(COURIER, "DELIVERED").last() == "rejected order_closed"
    assert tale.reports(OPERATOR, "READY").last() == "applied CANCELLED>READY"


# --- row 9: behind ----------------------------------------------------------------------------------------------------


def test_a_kitchen_that_sends_no_times() -> None:
    """Its reports behind the order are late the first time and illegal the second; refused ones do not count."""
    tale = Tale().announced().reports(COURIER, "TAKEN_BY_COURIER")
    assert tale.reports(KITCHEN, "COOKING").last() == "late"
    assert tale.reports(KITCHEN, "COOKING").last() == "rejected illegal_transition"
    assert tale.reports(KITCHEN, "READY").last() == "late"


def test_one_senders_own_times_decide_about_its_own_events() -> None:
    """No allowance between two times of one clock; without a time on both nothing is proved."""
    tale = Tale().announced().wait(HOUR).reports(KITCHEN, "READY", at=MINUTE)
    assert tale.reports(KITCHEN, "COOKING", at=MINUTE).last() == "late"
    assert tale.reports(KITCHEN, "ACCEPTED_BY_RESTAURANT", at=MINUTE + 1).last() == "rejected illegal_transition"
    tale = Tale().announced().reports(KITCHEN, "READY")
    assert tale.reports(KITCHEN, "COOKING", at=0).last() == "rejected illegal_transition"


def test_anothers_event_is_compared_by_our_log_plus_the_allowance() -> None:
    """Two minutes unless the source has its own."""
    tale = Tale().announced().reports(COURIER, "TAKEN_BY_COURIER", at=0).wait(HOUR)
    assert tale.reports(KITCHEN, "READY", at=2 * MINUTE).last() == "late"
    assert tale.reports(KITCHEN, "COOKING", at=2 * MINUTE + 1).last() == "rejected illegal_transition"
    strict_clock = source("restaurant", "R1", uid="exact", skew_ms=0)
    assert tale.reports(strict_clock, "READY", at=1).last() == "rejected illegal_transition"
    assert tale.reports(strict_clock, "READY", at=0).last() == "late"


def test_what_was_logged_first_is_late_whatever_time_it_claims() -> None:
    """Two records may share a millisecond: the offset tells which was first."""
    tale = (
        Tale().announced(restaurant="R1").reports(COURIER, "TAKEN_BY_COURIER", at=HOUR).reports(PLATFORM, "DELIVERED")
    )
    tale.wait(HOUR).amends(OPERATOR, courier="C1")
    assert tale.last() == "late"


def test_times_that_prove_nothing() -> None:
    """Naive, before 2000, or over a day ahead: as if there were none."""
    day_us = 86_400_000_000
    for claimed, mark, expected in (
        (START_MS * 1000, TimeMark.NAIVE, "naive"),
        (946_684_799_999_999, None, "implausible"),
        (946_684_800_000_000, None, None),
        (START_MS * 1000 + day_us, None, None),
        (START_MS * 1000 + day_us + 1, None, "implausible"),
        (None, TimeMark.MISSING, "missing"),
    ):
        event = status("COOKING", claimed).model_copy(update={"occurred_mark": mark})
        assert Tale().announced().send(KITCHEN, event).rows()[-1].occurred_mark == expected


def test_an_event_behind_after_an_operators_correction_is_judged_by_the_new_passing() -> None:
    """The order passed COOKING twice; the second time is the one that counts."""
    tale = Tale().announced().reports(KITCHEN, "READY", at=0).wait(HOUR).reports(OPERATOR, "NEW")
    tale.wait(HOUR).reports(PLATFORM, "READY").wait(HOUR)
    assert tale.reports(KITCHEN, "COOKING", at=2 * HOUR + 2 * MINUTE).last() == "late"
    assert tale.reports(KITCHEN, "COOKING", at=2 * HOUR + 2 * MINUTE + 1).last() == "rejected illegal_transition"
