"""How much one record may set off: so many events behind one order's dead letters, so many holds that end at once."""

from __future__ import annotations

import pytest

from schemas.verdicts import ReceiptState
from tests.support.oracle import Limits
from tests.support.received import source
from tests.support.tale import (
    COURIER,
    HOUR,
    KITCHEN,
    MARKETPLACE,
    OPERATOR,
    OTHER_COURIER,
    PLATFORM,
    SECOND,
    Tale,
)

STRANGER = source("courier", "C9", hold_ms=SECOND)
OTHER_STRANGER = source("restaurant", "R9")
FEW = Limits(parked_per_source=2, expiries_per_record=2)


@pytest.fixture(autouse=True)
def few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a short tale meets."""
    monkeypatch.setattr("consumers.waiting.PARKED_PER_SOURCE", FEW.parked_per_source)
    monkeypatch.setattr("consumers.fold.EXPIRIES_PER_RECORD", FEW.expiries_per_record)


def parked_order() -> Tale:
    """The order is known, and waits for a person."""
    return Tale(limits=FEW).announced().reports(KITCHEN, "COOKING").fails()


# --- events behind a dead letter --------------------------------------------------------------------------------------


def test_a_source_may_have_so_many_events_parked_behind_one_order() -> None:
    """One more is rejected at once, in the order's own history. Other sources and orders have room of their own."""
    tale = parked_order()
    for _ in range(3):
        tale.reports(KITCHEN, "READY", event_id=f"e{tale.here}")
    assert tale.last() == "rejected too_large"
    assert tale.receipt("e3").state is ReceiptState.FINAL
    tale.reports(COURIER, "DELIVERED").reports(OPERATOR, "READY")
    tale.announced(order="B").reports(KITCHEN, "COOKING", order="B").fails().reports(KITCHEN, "READY", order="B")
    assert sorted(tale.waiting()) == [2, 3, 5, 6, 9]


def test_copies_take_room_as_well() -> None:
    """Nobody can tell them before they are released. One that finds no room is a repeat as always, and no row."""
    tale = parked_order()
    for _ in range(3):
        tale.reports(KITCHEN, "READY", event_id="e")
    assert (tale.waiting(), tale.trail()) == ({2: "parked", 3: "parked"}, ["applied >NEW"])
    assert (tale.receipt("e").state, tale.receipt("e").repeats) == (ReceiptState.HELD, 1)
    assert tale.replays(1).last() == "applied COOKING>READY"
    assert tale.receipt("e").repeats == 2


def test_another_content_under_an_id_that_waits_is_told_from_a_copy() -> None:
    """Row 1 speaks first where there is no room either."""
    tale = parked_order().reports(KITCHEN, "READY", event_id="e").reports(KITCHEN, "READY")
    assert tale.reports(KITCHEN, "DELIVERED", event_id="e").last() == "rejected event_id_reused"


def test_strangers_have_one_room_together_and_cannot_take_an_owners() -> None:
    """They are told what they would be told of an unknown order; those whose order it is, or was, still find room."""
    tale = parked_order().reports(STRANGER, "DELIVERED").reports(OTHER_STRANGER, "READY")
    assert tale.reports(STRANGER, "DELIVERED", event_id="e").last() == "? rejected not_your_order"
    assert tale.reports(OTHER_STRANGER, "NEW").last() == "? rejected role_not_permitted"
    receipt = tale.receipt("e")
    assert (receipt.foreign, receipt.from_status, receipt.to_status) == (True, None, None)
    tale.reports(KITCHEN, "READY").reports(COURIER, "DELIVERED").reports(PLATFORM, "READY").amends(MARKETPLACE)
    assert sorted(tale.waiting()) == [2, 3, 6, 7, 8, 9]


def test_a_former_party_has_room_of_its_own() -> None:
    """The order was its own once; strangers do not count against it."""
    tale = Tale(limits=FEW).announced().amends(MARKETPLACE, courier="C2").reports(KITCHEN, "COOKING").fails()
    tale.reports(STRANGER, "DELIVERED").reports(STRANGER, "DELIVERED")
    for by in (COURIER, OTHER_COURIER, COURIER, COURIER):
        tale.reports(by, "DELIVERED")
    assert (sorted(tale.waiting()), tale.last()) == ([3, 4, 5, 6, 7], "rejected too_large")


def test_of_an_unknown_order_those_who_may_announce_it_are_no_strangers() -> None:
    """A marketplace's failed announcement parks the order; kitchens have the strangers' room until it is known."""
    tale = Tale(limits=FEW).announced(MARKETPLACE).fails()
    for by in (KITCHEN, KITCHEN, KITCHEN):
        tale.reports(by, "COOKING")
    assert tale.last() == "? rejected order_not_found"
    for by in (PLATFORM, PLATFORM, PLATFORM, OPERATOR):
        tale.reports(by, "READY")
    assert (sorted(tale.waiting()), tale.last()) == ([1, 2, 4, 5, 7], "? rejected too_large")


def test_a_strangers_own_dead_letter_has_the_same_room() -> None:
    """Nobody else waits behind it, and the order goes on."""
    tale = Tale(limits=FEW).announced().reports(STRANGER, "DELIVERED").fails()
    for _ in range(3):
        tale.reports(STRANGER, "DELIVERED")
    assert tale.last() == "? rejected not_your_order"
    assert tale.reports(KITCHEN, "COOKING").last() == "applied ACCEPTED_BY_RESTAURANT>COOKING"


def test_room_comes_back_when_the_order_goes_on() -> None:
    """What a replay lets go makes place for as many again, should the order be parked once more."""
    tale = parked_order().reports(KITCHEN, "READY").reports(KITCHEN, "READY").replays(1).fails(3)
    assert tale.waiting() == {}
    assert tale.reports(KITCHEN, "READY").reports(KITCHEN, "READY").waiting() == {5: "parked", 6: "parked"}
    assert tale.reports(KITCHEN, "READY").last() == "rejected too_large"


def test_what_waits_already_is_parked_and_released_whatever_the_room() -> None:
    """Only what comes new is turned away."""
    tale = Tale(limits=FEW).reports(KITCHEN, "COOKING")
    for _ in range(3):
        tale.reports(KITCHEN, "READY")
    tale.announced(MARKETPLACE, restaurant="R1").fails()
    assert tale.waiting() == dict.fromkeys(range(4), "parked")
    assert tale.replays(4).waiting() == {}
    assert tale.last() == "repeated"


# --- holds that end ---------------------------------------------------------------------------------------------------


def test_so_many_holds_end_under_one_record() -> None:
    """The earliest deadlines first; the rest is due and ends under the next records, each as it comes."""
    tale = Tale(limits=FEW)
    for order in "ABCDE":
        tale.reports(STRANGER, "DELIVERED", order=order)
    tale.wait(HOUR).tick()
    assert [row.offset for row in tale.rows()] == [0, 1]
    tale.announced(order="F")
    assert [row.offset for row in tale.rows()] == [0, 1, 2, 3, 6]
    assert [row.offset for row in tale.tick().rows()] == [0, 1, 2, 3, 6, 4]
    assert tale.waiting() == {}


def test_a_due_hold_that_has_not_ended_is_still_released() -> None:
    """It waits until it ends: an announcement in hand finds it there."""
    tale = Tale(limits=FEW)
    for order in ("A", "A", "B"):
        tale.reports(KITCHEN, "COOKING", order=order)
    tale.wait(25 * HOUR).announced(order="B")
    assert [row.offset for row in tale.rows() if not row.inferred] == [0, 1, 3, 2]
    assert tale.last() == "applied ACCEPTED_BY_RESTAURANT>COOKING"


def test_a_hold_that_fails_at_its_deadline_counts_as_one_that_ended() -> None:
    """Those that it parks lose their deadline, and others come to their turn."""
    tale = Tale(limits=FEW)
    for order in ("A", "A", "B", "C"):
        tale.reports(STRANGER, "DELIVERED", order=order)
    tale.wait(HOUR).tick().fails(0)
    assert (tale.waiting(), [row.offset for row in tale.rows()]) == ({1: "parked", 3: "foreign"}, [2])


# --- acts that name what nobody can have seen -------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["replays", "discards"])
def test_an_act_on_what_is_set_aside_under_itself_does_nothing(act: str) -> None:
    """A hold ends, and fails, under the very record that names it: the pair stays open, and numbers have no gap."""
    tale = Tale(limits=FEW).reports(STRANGER, "DELIVERED").wait(HOUR)
    getattr(tale, act)(1, 0)
    tale.fails(0)
    assert (tale.still_open(), tale.applied().dead_seq) == ([(1, 0)], 1)
    assert tale.discards(1, 0).last() == "? rejected discarded"
