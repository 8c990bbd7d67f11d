"""The policy `strict`: an event that would pass statuses over waits for them, and is refused at its deadline.

Every tale is also read by the oracle (`Tale.applied`).
"""

from __future__ import annotations

import pytest

from consumers.ledger_entries import HoldKind
from schemas.verdicts import ReceiptState
from tests.support.oracle import Limits
from tests.support.received import START_MS, source
from tests.support.tale import COURIER, KITCHEN, MARKETPLACE, MINUTE, OPERATOR, PLATFORM, SECOND, Tale

STRICT = source("marketplace", "M1", uid="strict", policy="strict")
STRICT_KITCHEN = source("restaurant", "R1", uid="strict-kitchen", policy="strict")
STRICT_COURIER = source("courier", "C1", uid="strict-courier", policy="strict", ahead_hold_ms=10 * SECOND)
HOLD = 30 * SECOND


def test_the_next_status_is_applied_at_once_and_one_further_on_waits() -> None:
    """Nothing is inferred for a strict source."""
    tale = Tale().announced().reports(STRICT, "ACCEPTED_BY_RESTAURANT").reports(STRICT, "READY", event_id="e")
    assert tale.last() == "applied NEW>ACCEPTED_BY_RESTAURANT"
    assert tale.waiting() == {2: "ahead"}
    receipt = tale.receipt("e")
    assert (receipt.state, receipt.verdict, receipt.foreign) == (ReceiptState.HELD, None, False)
    assert tale.applied().held[2].deadline_ms == START_MS + HOLD


def test_shuffled_steps_are_applied_in_the_chains_order() -> None:
    """Each step lets the next one go, whatever their order in the log."""
    tale = Tale().announced()
    for step in ("DELIVERED", "READY", "TAKEN_BY_COURIER", "COOKING"):
        tale.wait(SECOND).reports(STRICT, step)
    assert tale.waiting() == dict.fromkeys(range(1, 5), "ahead")
    tale.wait(SECOND).reports(STRICT, "ACCEPTED_BY_RESTAURANT")
    assert tale.trail()[1:] == [
        "applied NEW>ACCEPTED_BY_RESTAURANT",
        "applied ACCEPTED_BY_RESTAURANT>COOKING",
        "applied COOKING>READY",
        "applied READY>TAKEN_BY_COURIER",
        "applied TAKEN_BY_COURIER>DELIVERED",
    ]
    assert tale.waiting() == {}


def test_of_two_that_report_the_same_status_the_first_in_the_log_is_applied() -> None:
    """The other one repeats it."""
    tale = Tale().announced().reports(STRICT, "COOKING").reports(STRICT_KITCHEN, "COOKING")
    tale.reports(KITCHEN, "ACCEPTED_BY_RESTAURANT")
    assert tale.trail()[1:] == [
        "applied NEW>ACCEPTED_BY_RESTAURANT",
        "applied ACCEPTED_BY_RESTAURANT>COOKING",
        "repeated",
    ]
    assert [row.offset for row in tale.rows()][2:] == [1, 2]


def test_somebody_elses_step_counts_as_well() -> None:
    """A forward source's leap leaves what waited behind; it was logged before, so it is late and not illegal."""
    tale = Tale().announced().reports(STRICT, "READY").reports(COURIER, "TAKEN_BY_COURIER")
    assert tale.last() == "late"
    assert tale.waiting() == {}


def test_at_its_deadline_it_is_refused_as_skipped_and_may_be_tried_again() -> None:
    """A millisecond before, nothing; the same event id is a new attempt afterwards."""
    tale = Tale().announced().reports(STRICT, "READY", event_id="e").wait(HOLD - 1).tick()
    assert tale.waiting() == {1: "ahead"}
    tale.wait(1).tick()
    assert tale.last() == "rejected skipped_status"
    tale.reports(STRICT, "ACCEPTED_BY_RESTAURANT").reports(STRICT, "COOKING").reports(STRICT, "READY", event_id="e")
    assert tale.last() == "applied COOKING>READY"


def test_a_hold_length_of_nothing_refuses_at_once() -> None:
    """For a strict source that wants its answer now."""
    impatient = source("marketplace", "M1", uid="impatient", policy="strict", ahead_hold_ms=0)
    tale = Tale().announced().reports(impatient, "READY")
    assert tale.last() == "rejected skipped_status"
    assert tale.reports(impatient, "ACCEPTED_BY_RESTAURANT").last() == "applied NEW>ACCEPTED_BY_RESTAURANT"


def test_a_repeat_of_one_that_waits_is_absorbed_and_extends_nothing() -> None:
    """Row 1 comes first; the deadline stays."""
    tale = Tale().announced().reports(STRICT, "READY", event_id="e")
    tale.wait(20 * SECOND).reports(STRICT, "READY", event_id="e").wait(10 * SECOND).tick()
    assert tale.last() == "rejected skipped_status"
    assert tale.receipt("e").repeats == 1


def test_the_orders_own_chain_says_what_is_skipped() -> None:
    """A collected order goes from READY to DELIVERED; an amendment can make the chain shorter while one waits."""
    tale = Tale().announced(fulfilment="pickup").reports(KITCHEN, "READY").reports(STRICT, "DELIVERED")
    assert tale.last() == "applied READY>DELIVERED"
    tale = Tale().announced().reports(KITCHEN, "READY").reports(STRICT, "DELIVERED")
    assert tale.waiting() == {2: "ahead"}
    tale.amends(MARKETPLACE, fulfilment="dine_in")
    assert tale.trail()[-2:] == ["noted", "applied READY>DELIVERED"]


def test_a_step_that_the_order_leaves_out_by_now_is_noted() -> None:
    """It waited for READY, and nobody takes the order away any more."""
    tale = Tale().announced().reports(STRICT, "TAKEN_BY_COURIER").amends(MARKETPLACE, fulfilment="pickup")
    assert tale.trail()[-2:] == ["noted", "noted"]


def test_a_cancellation_ends_the_waiting() -> None:
    """It was logged before the cancellation, so it is late; a strict source's own CANCELLED never waits."""
    tale = Tale().announced().reports(STRICT_KITCHEN, "READY").reports(STRICT, "CANCELLED")
    assert tale.trail()[1:] == ["applied NEW>CANCELLED", "late moved_before_cancellation"]
    assert tale.applied().changes.ahead_of_cancelled == 1


def test_an_operators_moves_let_go_and_keep_waiting() -> None:
    """Forward past the gap: applied. Backward: it waits on, with its deadline."""
    tale = Tale().announced().reports(STRICT, "READY").reports(OPERATOR, "COOKING")
    assert tale.trail()[1:] == ["applied NEW>COOKING", "applied COOKING>READY"]
    tale = Tale().announced().reports(KITCHEN, "COOKING").reports(STRICT, "DELIVERED").wait(MINUTE // 4)
    tale.reports(OPERATOR, "NEW")
    assert tale.applied().held[2].deadline_ms == START_MS + HOLD


def test_a_party_replaced_while_it_waits_is_refused() -> None:
    """A former party's move ahead."""
    tale = Tale().announced().reports(STRICT_COURIER, "DELIVERED").amends(MARKETPLACE, courier="C2")
    assert tale.trail()[-2:] == ["noted", "rejected not_your_order"]


def test_those_who_wait_for_steps_go_before_those_who_waited_for_the_order() -> None:
    """The stranger's event is older, and is decided after the one ahead that the same change lets go."""
    tale = Tale().announced(restaurant="R1", marketplace="M1").reports(COURIER, "TAKEN_BY_COURIER")
    tale.reports(STRICT, "COOKING").reports(KITCHEN, "ACCEPTED_BY_RESTAURANT")
    tale.reports(STRICT, "DELIVERED").amends(PLATFORM, courier="C1")
    assert [row.offset for row in tale.rows() if not row.inferred] == [0, 3, 2, 5, 1, 4]
    assert tale.last() == "applied TAKEN_BY_COURIER>DELIVERED"


def test_one_change_that_lets_both_kinds_go_takes_those_ahead_first() -> None:
    """It names the courier and makes the order one that nobody takes away."""
    tale = Tale().announced(restaurant="R1", marketplace="M1").reports(COURIER, "DELIVERED").reports(KITCHEN, "READY")
    tale.reports(STRICT, "DELIVERED").amends(PLATFORM, courier="C1", fulfilment="pickup")
    assert tale.trail()[-2:] == ["applied READY>DELIVERED", "repeated"]
    assert [row.offset for row in tale.rows()][-2:] == [3, 1]


def test_those_that_a_change_leaves_behind_end_by_the_chain_and_not_by_the_log() -> None:
    """READY came later than DELIVERED, and has its verdict first."""
    tale = Tale().announced().reports(STRICT, "DELIVERED").reports(STRICT, "READY").reports(MARKETPLACE, "CANCELLED")
    assert [row.offset for row in tale.rows()] == [0, 3, 2, 1]


def test_who_waited_for_the_order_may_go_on_waiting_for_its_steps() -> None:
    """Of another kind from then on, with the deadline of that kind."""
    tale = Tale().reports(STRICT_COURIER, "DELIVERED").wait(SECOND).announced()
    held = tale.applied().held[0]
    assert (held.kind, held.deadline_ms) == (HoldKind.AHEAD, START_MS + 11 * SECOND)
    assert tale.wait(10 * SECOND).tick().last() == "rejected skipped_status"


def test_holds_of_both_kinds_end_in_the_order_of_their_deadlines() -> None:
    """Of two at one deadline the first in the log."""
    stranger = source("courier", "C9", hold_ms=30 * SECOND)
    tale = Tale().announced().reports(STRICT, "READY").reports(stranger, "DELIVERED").reports(STRICT, "COOKING")
    tale.reports(STRICT_COURIER, "DELIVERED").wait(MINUTE).tick()
    assert [row.offset for row in tale.rows()] == [0, 4, 1, 2, 3]


def test_both_kinds_count_against_a_sources_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that finds no room is refused at once; one that waits already keeps its place when its kind changes."""
    monkeypatch.setattr("consumers.deciding.HOLDS_PER_SOURCE", 2)
    tale = Tale(limits=Limits(holds_per_source=2)).announced()
    tale.reports(STRICT, "READY").reports(STRICT, "COOKING", order="B").reports(STRICT, "DELIVERED")
    assert tale.last() == "rejected skipped_status"
    tale.announced(order="B")
    assert tale.waiting() == {1: "ahead", 2: "ahead"}
