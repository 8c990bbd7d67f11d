"""Rows 5 to 9 of the verdict table: corrections, cancellations, and what lies ahead or behind.

Every tale is also read by the oracle (`Tale.applied`). In the words of the trail, `(…)` is an inferred step and `? …` a
row outside the order's own history.
"""

from __future__ import annotations

from schemas.times import TimeMark
from tests.support.received import START_MS, source, status
from tests.support.tale import (
    COURIER,
    HOUR,
    KITCHEN,
    MARKETPLACE,
    MINUTE,
    OPERATOR,
    PLATFORM,
    Tale,
)

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


def test_the_event_that_passed_a_status_is_not_the_one_that_passed_the_next() -> None:
    """READY passed COOKING an hour before DELIVERED passed READY."""
    tale = Tale().announced().reports(PLATFORM, "READY").wait(HOUR).reports(COURIER, "DELIVERED").wait(HOUR)
    assert tale.reports(KITCHEN, "COOKING", at=HOUR).last() == "rejected illegal_transition"
    assert tale.reports(KITCHEN, "READY", at=HOUR).last() == "late"


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
