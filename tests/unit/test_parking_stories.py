"""What happens when deciding an event fails: who waits, what a replay and a discard do.

Every tale is also read by the oracle (`Tale.applied`). `Tale.fails` says that a decision under the last record failed.
"""

from __future__ import annotations

import pytest

from consumers.logged_event import LoggedEvent
from schemas.dead_letters import DeadLetterState, Parks
from schemas.verdicts import ReceiptState
from tests.support.oracle import Limits
from tests.support.received import START_MS, source
from tests.support.tale import COURIER, HOUR, KITCHEN, MARKETPLACE, MINUTE, OPERATOR, SECOND, Tale

STRANGER = source("courier", "C9")
STRICT = source("marketplace", "M1", uid="strict", policy="strict")

# --- setting aside ----------------------------------------------------------------------------------------------------


def test_an_order_waits_behind_an_event_of_its_own_and_no_other_order_does() -> None:
    """Nothing of it is decided until the event is replayed; then all is, in log order."""
    tale = Tale().announced().announced(order="B").reports(KITCHEN, "COOKING", event_id="bad").fails()
    tale.reports(COURIER, "DELIVERED").reports(KITCHEN, "READY", order="B").wait(SECOND).reports(KITCHEN, "READY")
    assert tale.last() == "applied COOKING>READY"
    assert tale.rows()[-1].order_id == "B"
    assert tale.waiting() == {3: "parked", 5: "parked"}
    assert tale.receipt("bad").state is ReceiptState.SET_ASIDE
    tale.replays(2)
    assert [row.offset for row in tale.rows() if row.order_id == "A" and not row.inferred] == [0, 2, 3, 5]
    assert tale.last() == "late"
    assert (tale.waiting(), tale.still_open()) == ({}, [])


def test_the_dead_letter_tells_all_that_a_person_and_a_rebuild_need() -> None:
    """The pair, whose it is, when it was logged and set aside, why, and its bytes."""
    tale = Tale().announced().wait(SECOND).reports(KITCHEN, "COOKING", event_id="bad").fails()
    [letter] = tale.applied().dead_letters.values()
    assert (letter.pair, letter.seq, letter.order_key, letter.event_id) == ((1, 1), 1, ("default", "A"), "bad")
    assert (letter.state, letter.parks, letter.source_uid) == (DeadLetterState.OPEN, Parks.ORDER, KITCHEN.uid)
    assert (letter.received_ms, letter.set_aside_ms) == (START_MS + SECOND, START_MS + SECOND)
    assert (letter.error, letter.attempts) == ("ValueError", 3)
    original = letter.original()
    assert isinstance(original, LoggedEvent)
    assert original.record == tale.log[1][0]


def test_a_strangers_event_keeps_only_the_strangers_events_waiting() -> None:
    """Or anybody could stop anybody's order. To the stranger it looks like any wait."""
    tale = Tale().announced().reports(STRANGER, "DELIVERED").fails().reports(STRANGER, "DELIVERED", event_id="next")
    tale.reports(KITCHEN, "COOKING")
    assert tale.last() == "applied ACCEPTED_BY_RESTAURANT>COOKING"
    assert tale.waiting() == {2: "parked"}
    other = Tale().announced(order="B").reports(STRANGER, "DELIVERED", event_id="next", order="B")
    one, usual = tale.receipt("next"), other.receipt("next")
    assert (one.state, one.verdict, one.foreign) == (usual.state, usual.verdict, usual.foreign)
    assert tale.replays(1).waiting() == {1: "foreign", 2: "foreign"}


def test_a_stranger_does_not_learn_that_an_order_is_parked() -> None:
    """Its receipt says what it says of an order that does not exist; and it waits on past the usual deadline."""
    tale = Tale().announced().reports(KITCHEN, "COOKING").fails().reports(STRANGER, "DELIVERED", event_id="s")
    unknown = Tale().reports(STRANGER, "DELIVERED", event_id="s")
    one, usual = tale.receipt("s"), unknown.receipt("s")
    assert (one.state, one.verdict, one.reason, one.foreign) == (usual.state, usual.verdict, usual.reason, True)
    tale.wait(48 * HOUR).tick()
    assert tale.waiting() == {2: "parked"}
    tale.replays(1)
    assert tale.applied().held[2].deadline_ms == START_MS + 72 * HOUR


@pytest.mark.parametrize(("by", "parks"), [(MARKETPLACE, "order"), (OPERATOR, "order"), (KITCHEN, "source")])
def test_an_unknown_order_is_parked_whole_by_whoever_may_speak_for_it(by: object, parks: str) -> None:
    """A marketplace's event may be what announces it; a kitchen's is a stranger's until the order names it."""
    tale = Tale().reports(by, "READY").fails()  # type: ignore[arg-type]
    [letter] = tale.applied().dead_letters.values()
    assert str(letter.parks) == parks


def test_an_announcement_set_aside_keeps_its_order_unknown_and_everyone_waiting() -> None:
    """Its own amendment too; all are decided once it is replayed, and the announcement has its own log time."""
    tale = Tale().reports(COURIER, "TAKEN_BY_COURIER").wait(SECOND).announced().fails().wait(MINUTE)
    tale.amends(MARKETPLACE, courier="C2").reports(KITCHEN, "COOKING")
    assert (tale.trail(), tale.waiting()) == ([], {0: "parked", 2: "parked", 3: "parked"})
    tale.wait(HOUR).replays(1)
    announcement = tale.rows()[0]
    assert (announcement.offset, announcement.received_ms) == (1, START_MS + SECOND)
    assert announcement.decided_ms == START_MS + SECOND + MINUTE + HOUR
    assert tale.applied().orders[("default", "A")].announced_ms == START_MS + SECOND
    assert [row.offset for row in tale.rows() if not row.inferred] == [1, 0, 2, 3]


def test_a_healthy_record_lets_a_hold_go_that_fails() -> None:
    """The pair names both. The announcement stands, the event that failed parks its order, and the next hold waits."""
    tale = Tale().reports(KITCHEN, "COOKING", event_id="bad").reports(COURIER, "DELIVERED").announced().fails(0)
    assert tale.trail() == ["applied >NEW"]
    assert (tale.waiting(), tale.still_open()) == ({1: "parked"}, [(2, 0)])
    tale.replays(2, 0)
    assert [row.offset for row in tale.rows() if not row.inferred] == [2, 0, 1]


def test_a_hold_that_fails_at_its_deadline_is_set_aside_under_the_tick() -> None:
    """It was a stranger's, so the order lives on."""
    tale = Tale().announced().reports(STRANGER, "DELIVERED", event_id="s").wait(24 * HOUR).tick().fails(1)
    assert (tale.trail(), tale.still_open()) == (["applied >NEW"], [(2, 1)])
    assert tale.reports(KITCHEN, "COOKING").last() == "applied ACCEPTED_BY_RESTAURANT>COOKING"
    tale.replays(2, 1)
    assert tale.waiting() == {1: "foreign"}
    assert tale.applied().held[1].deadline_ms == START_MS + 48 * HOUR


def test_an_event_ahead_waits_behind_a_dead_letter_without_deadline_and_then_anew() -> None:
    """Once let go it is taken as if it came now: in log order, with a fresh deadline."""
    tale = Tale().announced().reports(STRICT, "DELIVERED").reports(KITCHEN, "ACCEPTED_BY_RESTAURANT").fails()
    assert tale.wait(HOUR).tick().waiting() == {1: "parked"}
    tale.replays(2)
    assert tale.waiting() == {1: "ahead"}
    assert tale.applied().held[1].deadline_ms == START_MS + HOUR + 30 * SECOND


def test_an_operators_act_waits_as_well() -> None:
    """It was meant for the order as it would have been."""
    tale = Tale().announced().reports(KITCHEN, "READY").fails().reports(OPERATOR, "COOKING")
    assert tale.waiting() == {2: "parked"}
    assert tale.replays(1).trail()[-2:] == ["applied COOKING>READY", "applied READY>COOKING"]


# --- row 1 ------------------------------------------------------------------------------------------------------------


def test_copies_wait_too_and_are_duplicates_once_the_event_is_decided() -> None:
    """Row 1 meets them when they are released; until then their receipt tells of the event that is set aside."""
    tale = Tale().announced().reports(KITCHEN, "COOKING", event_id="e").fails()
    tale.reports(KITCHEN, "COOKING", event_id="e")
    assert tale.receipt("e").state is ReceiptState.SET_ASIDE
    tale.replays(1)
    assert (tale.receipt("e").verdict, tale.receipt("e").repeats) == ("applied", 1)


def test_a_waiting_copy_does_not_touch_the_receipt_of_a_decided_event() -> None:
    """Not even when deciding the copy fails."""
    tale = Tale().announced().reports(KITCHEN, "COOKING", event_id="e").reports(COURIER, "DELIVERED").fails()
    tale.reports(KITCHEN, "COOKING", event_id="e")
    assert (tale.waiting(), tale.receipt("e").verdict) == ({3: "parked"}, "applied")
    tale.replays(2).fails(3)
    assert (tale.still_open(), tale.receipt("e").verdict) == ([(4, 3)], "applied")
    assert tale.replays(4, 3).receipt("e").repeats == 1


def test_an_event_id_used_for_something_else_while_its_event_waits() -> None:
    """The first in the log has the id."""
    tale = Tale().announced().reports(COURIER, "TAKEN_BY_COURIER").fails()
    tale.reports(KITCHEN, "READY", event_id="e").reports(KITCHEN, "COOKING", event_id="e").replays(1)
    assert tale.trail()[-2:] == ["late", "rejected event_id_reused"]


# --- replays ----------------------------------------------------------------------------------------------------------


def test_a_replay_that_fails_again_puts_it_back_and_the_rest_waits_on() -> None:
    """Under the replay's offset, as a dead letter of its own; the old one is replayed."""
    tale = Tale().announced().reports(KITCHEN, "COOKING").fails().reports(COURIER, "DELIVERED").replays(1).fails(1)
    assert (tale.still_open(), tale.waiting()) == ([(3, 1)], {2: "parked"})
    assert tale.replays(1).trail() == ["applied >NEW"]
    assert tale.replays(3, 1).last() == "applied TAKEN_BY_COURIER>DELIVERED"


def test_a_released_event_that_fails_parks_the_rest_again() -> None:
    """What came before it in the log is decided."""
    tale = Tale().announced().reports(KITCHEN, "ACCEPTED_BY_RESTAURANT").fails()
    tale.reports(KITCHEN, "COOKING").reports(KITCHEN, "READY").reports(COURIER, "DELIVERED").replays(1).fails(3)
    assert tale.last() == "applied ACCEPTED_BY_RESTAURANT>COOKING"
    assert (tale.still_open(), tale.waiting()) == ([(5, 3)], {4: "parked"})
    assert tale.replays(5, 3).waiting() == {}


def test_the_same_replay_twice_does_nothing_the_second_time() -> None:
    """Nor does one of a pair that never was, or of another order's."""
    tale = Tale().announced().reports(KITCHEN, "COOKING").fails()
    tale.replays(1, order="B").discards(1, order="B").discards(0).replays(7, 1)
    assert tale.still_open() == [(1, 1)]
    rows = len(tale.replays(1).rows())
    assert len(tale.replays(1).discards(1).rows()) == rows


def test_a_replayed_event_is_decided_with_its_first_log_time() -> None:
    """A kitchen's step of before the cancellation is late, not closed: it waited with us."""
    tale = Tale().announced().reports(KITCHEN, "READY").fails().wait(HOUR).reports(MARKETPLACE, "CANCELLED")
    tale.wait(HOUR).replays(1)
    assert tale.trail()[-1] == "applied READY>CANCELLED"
    assert [row.received_ms - START_MS for row in tale.rows()][-2:] == [0, HOUR]
    assert [row.previous_received_ms for row in tale.rows()][-1] == START_MS


def test_two_dead_letters_of_one_order_are_released_one_by_one() -> None:
    """The stranger's events wait for both, the others for the order's alone."""
    tale = Tale().announced().reports(STRANGER, "DELIVERED").fails().reports(KITCHEN, "COOKING").fails()
    tale.reports(STRANGER, "DELIVERED").reports(COURIER, "DELIVERED").replays(1)
    assert tale.waiting() == {1: "parked", 3: "parked", 4: "parked"}
    tale.replays(2)
    assert (tale.waiting(), tale.last()) == ({1: "foreign", 3: "foreign"}, "applied TAKEN_BY_COURIER>DELIVERED")


def test_a_stranger_whose_order_it_became_is_replayed_as_a_party() -> None:
    """The amendment that named it came while its event was set aside."""
    tale = Tale().announced().reports(STRANGER, "TAKEN_BY_COURIER").fails().amends(MARKETPLACE, courier="C9")
    tale.reports(STRANGER, "DELIVERED")
    assert tale.waiting() == {3: "parked"}
    assert tale.replays(1).trail()[-2:] == ["applied READY>TAKEN_BY_COURIER", "applied TAKEN_BY_COURIER>DELIVERED"]


def test_parked_events_take_no_room_and_are_not_refused_for_want_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """That they had to come again is our fault; a new event of the source finds no room, though."""
    monkeypatch.setattr("consumers.deciding.HOLDS_PER_SOURCE", 2)
    tale = Tale(limits=Limits(holds_per_source=2)).announced().reports(KITCHEN, "COOKING").fails()
    for _ in range(3):
        tale.reports(STRANGER, "DELIVERED")
    for order in ("X", "Y"):
        tale.reports(STRANGER, "DELIVERED", order=order)
    assert tale.replays(1).waiting() == dict.fromkeys(range(2, 7), "foreign")
    assert tale.reports(STRANGER, "DELIVERED", order="Z").last() == "? rejected order_not_found"


# --- discards ---------------------------------------------------------------------------------------------------------


def test_a_discarded_event_is_rejected_and_its_waiting_copies_are_duplicates() -> None:
    """Then the others are released. The same event id later is a new attempt."""
    tale = Tale().announced().reports(KITCHEN, "COOKING", event_id="e").fails()
    tale.reports(KITCHEN, "COOKING", event_id="e").reports(KITCHEN, "ACCEPTED_BY_RESTAURANT").discards(1)
    assert tale.trail()[1:] == ["rejected discarded", "applied NEW>ACCEPTED_BY_RESTAURANT"]
    receipt = tale.receipt("e")
    assert (receipt.state, receipt.reason, receipt.repeats) == (ReceiptState.FINAL, "discarded", 1)
    assert tale.reports(KITCHEN, "COOKING", event_id="e").last() == "applied ACCEPTED_BY_RESTAURANT>COOKING"


def test_a_discarded_copy_says_nothing_of_the_event_it_copies() -> None:
    """Its own row stands in the trail, the receipt stays as it was."""
    tale = Tale().announced().reports(KITCHEN, "COOKING", event_id="e").reports(KITCHEN, "COOKING", event_id="e")
    tale.fails().discards(2)
    assert (tale.last(), tale.receipt("e").verdict) == ("rejected discarded", "applied")


def test_a_discarded_announcement_leaves_the_order_unknown() -> None:
    """Who waited for it waits on, with a deadline again."""
    tale = Tale().announced().fails().reports(COURIER, "DELIVERED").discards(0)
    assert (tale.trail(), tale.waiting()) == (["? rejected discarded"], {1: "foreign"})
